"""`kill -9` at random moments of get, build and setup: nothing is half-written, and the next run succeeds."""

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

from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.upstream.cache import Cache
from support import servers
from support.chance import SEED, seeds
from support.programs import BIN, git, llm_traces
from support.small_archive import are_right, leftovers, publish

COMMANDS = {
    "get": ["get", "demo"],
    "build": ["build", "demo", "--jobs", "2"],
    "first build": ["build", "demo", "--jobs", "2"],  # without a lock
    "setup": ["setup"],
}
KILLS = {"get": 1, "build": 3, "first build": 3, "setup": 1}  # in a row; a build is quick
FSCK_EACH = 10


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive whose upstream takes a good part of a second to arrive."""
    with servers.site() as site:
        home = tmp_path_factory.mktemp("kills")
        workloads = {"few": ("few.csv", 50), "many": ("many.csv", 20_000), "again": ("many.csv", 20_000)}
        archive, files = publish(home, site.url, workloads)
        for name, content in files.items():
            site.scripts[f"/{name}"] = servers.slow(content, len(content) // 20 + 1, 0.02)
        yield archive.root


def find_session(leader: int) -> set[int]:
    """Return the live processes of a session: git-annex's children may have process groups of their own."""
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
    """Kill the whole session that the process leads, until none of it lives."""
    while alive := find_session(process.pid):
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    process.wait()


@pytest.mark.faults
def test_kills_at_random_moments(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    took = {"setup": 1.0, "get": 3.0, "build": 1.5, "first build": 1.5}  # seconds, updated by what runs take
    outcomes, faults = Counter[str](), []
    for seed in seeds(2):
        rng = random.Random(seed)
        name = list(COMMANDS)[seed % len(COMMANDS)]
        clone, cache = tmp_path / f"clone-{seed}", tmp_path / f"cache-{seed}"
        git("clone", "--quiet", "--single-branch", published, clone, cwd=tmp_path)
        if name == "first build":
            (clone / LOCK).unlink()
        environment = os.environ | {"LLM_TRACES_CACHE": str(cache)}
        fault = ""
        for _ in range(KILLS[name] + (rng.random() < 0.25)):
            process = subprocess.Popen(
                [BIN / "llm-traces", *COMMANDS[name]], cwd=clone, env=environment, start_new_session=True, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(rng.uniform(0.1, took[name]))
            outcomes[f"{name} {'killed' if process.poll() is None else 'ended before'}"] += 1
            kill(process)
            fault = fault or find_half_written(published, clone)
        start = time.monotonic()
        done = llm_traces(*COMMANDS[name], cwd=clone, LLM_TRACES_CACHE=str(cache))
        took[name] = 0.7 * took[name] + 0.3 * (time.monotonic() - start)
        fault = fault or find_fault(done, name, clone, cache, has_fsck=(seed - SEED) % FSCK_EACH == 0)
        if fault:
            faults.append(f"seed {seed}, {name}: {fault}")
        else:
            shutil.rmtree(cache, ignore_errors=True)
            subprocess.run(["chmod", "-R", "u+w", clone], check=True)
            shutil.rmtree(clone)
    with capsys.disabled():
        print(f"\n{outcomes.total()} kills from seed {SEED}: {dict(outcomes)}, {len(faults)} with a fault")
    assert not faults, "\n".join(faults)


def find_half_written(published: Path, clone: Path) -> str:
    """Return what a kill left half-written; empty if nothing."""
    lock = clone / LOCK
    if lock.exists() and lock.read_bytes() != (published / LOCK).read_bytes():
        return "the lock is half-written"
    present = tuple(name for name, each in Archive(published).locked.items() if (clone / each["path"]).exists())
    return "" if are_right(clone, present, published) else f"one of {present} is half-written"


def find_fault(done: subprocess.CompletedProcess[str], name: str, clone: Path, cache: Path, has_fsck: bool) -> str:
    """Return what is wrong after the plain run of the command that followed; empty if nothing."""
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
        if "build" in name:
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
def test_setup_completes_half_a_configuration(published: Path, tmp_path: Path, half: list[str]) -> None:
    """Kills leave both, one in a hundred."""
    git("clone", "--quiet", "--single-branch", published, tmp_path / "clone", cwd=tmp_path)
    for command in half:
        subprocess.run(command, shell=True, cwd=tmp_path / "clone", check=True)
    done = llm_traces("setup", cwd=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert llm_traces("setup", cwd=tmp_path / "clone").stdout == "nothing to do: the clone is ready\n"
