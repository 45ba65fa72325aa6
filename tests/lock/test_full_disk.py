"""A disk that is full at random moments of get, build and setup: told, nothing half-written, and the next run is right.

Two ways: a limit on the size of files, which any system has, and a tmpfs filled up to a few bytes, where a user
namespace may mount one.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_trace_archive.upstream.cache import Cache
from support import servers
from support.chance import SEED, seeds
from support.programs import BIN, ROOT, git, llm_traces
from support.small_archive import are_right, leftovers, publish

# Read at import: the tests' environment has no LLM_TRACES_*.
COMMANDS = {"build": ["build", "demo"], "get": ["get", "demo"], "setup": ["setup"]}
LARGEST = 400_000  # bytes: more than any file that is written


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with servers.site() as site:
        workloads = {"few": ("few.csv", 50), "many": ("many.csv", 20_000)}
        archive, files = publish(tmp_path_factory.mktemp("full"), site.url, workloads)
        for name, content in files.items():
            site.scripts[f"/{name}"] = servers.plain(content)
        yield archive.root


def check(
    name: str, clone: Path, cache: Path, done: subprocess.CompletedProcess[str], mend: Callable[[], object]
) -> str:
    """What is wrong with how a run ended, or with the run that follows once there is room; nothing if all is right."""
    told = done.stdout + done.stderr
    if "Traceback" in told or done.returncode < 0 or (done.returncode and not done.stderr.strip()):
        return f"ended with {done.returncode}:\n{told}"
    mend()
    for command in [COMMANDS[name], COMMANDS["get"]] if name == "setup" else [COMMANDS[name]]:
        again = llm_traces(*command, cwd=clone, LLM_TRACES_CACHE=str(cache))
        if again.returncode:
            return f"the next run failed:\n{again.stdout}{again.stderr}\nafter:\n{told}"
    if not are_right(clone):
        return f"wrong bytes after:\n{told}"
    if left := leftovers(clone) + [str(entry) for entry in Cache(cache).entries() if entry.kind == "partial"]:
        return f"left: {left} after:\n{told}"
    return ""


def moments(published: Path, tmp_path: Path, run: Callable[[str, Path, Path, random.Random], tuple[int, str]]) -> str:
    """Run each moment in a clone and a cache of its own; says how they ended. Fails if one ended badly."""
    outcomes, wrong = Counter[str](), []
    for seed in seeds(3):
        rng, name = random.Random(seed), list(COMMANDS)[seed % len(COMMANDS)]
        folder = tmp_path / str(seed)
        folder.mkdir()
        code, fault = run(name, published, folder, rng)
        outcomes[f"{name}, exit code {code}"] += 1
        if fault:
            wrong.append(f"seed {seed}, {name}: {fault}")
    assert not wrong, f"{len(wrong)} of SEED={SEED}:\n" + "\n".join(wrong[:5])
    return f"{outcomes.total()} moments from seed {SEED}: {dict(outcomes)}"


def limited(name: str, published: Path, folder: Path, rng: random.Random) -> tuple[int, str]:
    """With no file longer than a random size."""
    git("clone", "--quiet", "--single-branch", published, folder / "clone", cwd=folder)
    most = rng.choice((0, rng.randrange(5000), rng.randrange(LARGEST)))
    done = subprocess.run(
        [BIN / "llm-traces", *COMMANDS[name]],
        cwd=folder / "clone",
        env=os.environ | {"LLM_TRACES_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    return done.returncode, check(name, folder / "clone", folder / "cache", done, lambda: None)


def filled(name: str, published: Path, folder: Path, rng: random.Random) -> tuple[int, str]:
    """On a tmpfs with a random number of bytes left, in a namespace of its own."""
    told = json.dumps([name, str(published), str(folder), rng.randrange(LARGEST * 2)])
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    ran = subprocess.run([*UNSHARE, sys.executable, __file__, told], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    code, fault = json.loads(ran.stdout.splitlines()[-1])
    return code, fault


UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def fill(name: str, published: str, place: str, room: int) -> None:
    """Run in the namespace: the answer goes to standard output."""
    folder = Path(place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    git("clone", "--quiet", "--single-branch", published, folder / "clone", cwd=folder)
    space = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * max(0, space.f_bavail * space.f_frsize - room))
    # git-annex would leave 100 MB free.
    os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "annex.diskreserve", "GIT_CONFIG_VALUE_0": "0"}
    done = llm_traces(*COMMANDS[name], cwd=folder / "clone", LLM_TRACES_CACHE=str(folder / "cache"), TMPDIR=place)
    fault = check(name, folder / "clone", folder / "cache", done, ballast.unlink)
    print(json.dumps([done.returncode, fault]))


@pytest.mark.faults
def test_files_that_may_not_grow(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = moments(published, tmp_path, limited)
    with capsys.disabled():
        print(f"\nfile size limit, {told}")


@pytest.mark.faults
def test_a_full_tmpfs(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if tried.returncode:
        pytest.skip(f"no user namespace with a tmpfs: {tried.stderr.strip()}")
    told = moments(published, tmp_path, filled)
    with capsys.disabled():
        print(f"\ntmpfs, {told}")


if __name__ == "__main__":
    fill(*json.loads(sys.argv[1]))
