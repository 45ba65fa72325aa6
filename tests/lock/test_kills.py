"""`kill -9` at random moments of get, build and setup: the next run ends with the right bytes and leaves nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.upstream.cache import Cache
from support import servers
from support.chance import SEED, seeds
from support.programs import BIN, git, llm_traces
from support.small_archive import are_right, leftovers, publish

COMMANDS = {"get": ["get", "demo"], "build": ["build", "demo", "--jobs", "2"], "setup": ["setup"]}
FSCK_EACH = 10


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive whose upstream takes a good part of a second to come."""
    with servers.site() as site:
        home = tmp_path_factory.mktemp("kills")
        workloads = {"few": ("few.csv", 50), "many": ("many.csv", 20_000), "again": ("many.csv", 20_000)}
        archive, files = publish(home, site.url, workloads)
        for name, content in files.items():
            site.scripts[f"/{name}"] = servers.slow(content, len(content) // 20 + 1, 0.02)
        yield archive.root


def session(leader: int) -> set[int]:
    """The processes of the session that this process leads: git-annex's children may have groups of their own."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def kill(process: subprocess.Popen[str]) -> None:
    """Kill the whole session, until none of it lives."""
    while alive := session(process.pid):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait()


@pytest.mark.faults
def test_kills_at_random_moments(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    took = {"setup": 1.0, "get": 3.0, "build": 1.5}  # seconds, as it is found to be
    outcomes, wrong = Counter[str](), []
    for seed in seeds(6):
        rng = random.Random(seed)
        name = list(COMMANDS)[seed % len(COMMANDS)]
        clone, cache = tmp_path / f"clone-{seed}", tmp_path / f"cache-{seed}"
        git("clone", "--quiet", "--single-branch", published, clone, cwd=tmp_path)
        environment = os.environ | {"LLM_TRACES_CACHE": str(cache)}
        for _ in range(rng.choice((1, 1, 1, 2))):
            process = subprocess.Popen(
                [BIN / "llm-traces", *COMMANDS[name]], cwd=clone, env=environment, start_new_session=True, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(rng.uniform(0.1, took[name]))
            outcomes[f"{name} {'killed' if process.poll() is None else 'ended before'}"] += 1
            kill(process)
        began = time.monotonic()
        done = llm_traces(*COMMANDS[name], cwd=clone, LLM_TRACES_CACHE=str(cache))
        took[name] = 0.7 * took[name] + 0.3 * (time.monotonic() - began)
        told = fault_of(done, name, clone, cache, has_fsck=(seed - SEED) % FSCK_EACH == 0)
        if told:
            wrong.append(f"seed {seed}, {name}: {told}")
        else:
            shutil.rmtree(cache, ignore_errors=True)
            subprocess.run(["chmod", "-R", "u+w", clone], check=True)
            shutil.rmtree(clone)
    with capsys.disabled():
        print(f"\n{outcomes.total()} kills from seed {SEED}: {dict(outcomes)}, {len(wrong)} of them with a bad end")
    assert not wrong, "\n".join(wrong)


def fault_of(done: subprocess.CompletedProcess[str], name: str, clone: Path, cache: Path, has_fsck: bool) -> str:
    """What is wrong after the plain run of the command that followed; nothing if all is right."""
    if done.returncode:
        return f"the next run failed:\n{done.stdout}{done.stderr}"
    if name == "setup":
        done = llm_traces(*COMMANDS["get"], cwd=clone, LLM_TRACES_CACHE=str(cache))
        if done.returncode:
            return f"get after it failed:\n{done.stdout}{done.stderr}"
    if not are_right(clone):
        return "wrong bytes"
    if left := leftovers(clone):
        return f"left in the clone: {left}"
    if left := [str(entry) for entry in Cache(cache).entries() if entry.kind in ("partial", "quarantine")]:
        return f"left in the cache: {left}"
    if any(problem for _, problem in Cache(cache).verify({})):
        return "wrong content in the cache"
    if has_fsck:
        if name == "build":
            llm_traces("setup", cwd=clone, check=True)
        git("annex", "fsck", "--quiet", cwd=clone)
    return ""


@pytest.mark.parametrize(
    "half",
    [
        ["git config annex.uuid 24106ee6-2a67-4caf-a16f-761e541d8e8a"],
        ["git annex init --quiet a", "git config remote.llm-traces.annex-externaltype llm-traces"],
    ],
    ids=["within git annex init", "within git annex initremote"],
)
def test_setup_goes_on_where_a_kill_left_half_a_configuration(published: Path, tmp_path: Path, half: list[str]) -> None:
    """Both were left by kills of the test above, one in a hundred."""
    git("clone", "--quiet", "--single-branch", published, tmp_path / "clone", cwd=tmp_path)
    for command in half:
        subprocess.run(command, shell=True, cwd=tmp_path / "clone", check=True)
    done = llm_traces("setup", cwd=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert llm_traces("setup", cwd=tmp_path / "clone").stdout == "nothing to do: the clone is ready\n"
