"""A disk that fills up during get, build or setup: it is reported, nothing is half-written, and the next run succeeds.

Two ways to fill it: a limit on the size of files, which any system has, and a tmpfs with little space, where a user
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
from support.tmpfs import run_on_tmpfs

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


def find_fault(
    name: str, clone: Path, cache: Path, done: subprocess.CompletedProcess[str], free_space: Callable[[], object]
) -> str:
    """Return what is wrong with how a run ended, or with the next run once there is space; empty if nothing."""
    output = done.stdout + done.stderr
    if "Traceback" in output or done.returncode < 0 or (done.returncode and not done.stderr.strip()):
        return f"ended with {done.returncode}:\n{output}"
    free_space()
    for command in [COMMANDS[name], COMMANDS["get"]] if name == "setup" else [COMMANDS[name]]:
        again = llm_traces(*command, cwd=clone, LLM_TRACES_CACHE=str(cache))
        if again.returncode:
            return f"the next run failed:\n{again.stdout}{again.stderr}\nafter:\n{output}"
    if not are_right(clone):
        return f"wrong bytes after:\n{output}"
    if left := leftovers(clone) + [str(entry) for entry in Cache(cache).entries() if entry.kind == "partial"]:
        return f"left: {left} after:\n{output}"
    return ""


def run_with_limit(name: str, published: Path, folder: Path, rng: random.Random) -> tuple[int, str]:
    """Run with a random limit on the size of files; return exit code and fault."""
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
    return done.returncode, find_fault(name, folder / "clone", folder / "cache", done, lambda: None)


def run_with_little_space(name: str, published: Path, folder: Path, rng: random.Random) -> tuple[int, str]:
    """Run on a tmpfs with a random number of bytes left; return exit code and fault."""
    arguments = json.dumps([name, str(published), str(folder), rng.randrange(LARGEST * 2)])
    done = run_on_tmpfs(folder, "8m", sys.executable, __file__, arguments, PYTHONPATH=str(ROOT / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    code, fault = json.loads(done.stdout.splitlines()[-1])
    return code, fault


def run_inside(name: str, published: str, place: str, space: int) -> None:
    """Run on the tmpfs, in a process of its own, and print exit code and fault."""
    folder = Path(place)
    git("clone", "--quiet", "--single-branch", published, folder / "clone", cwd=folder)
    disk = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * max(0, disk.f_bavail * disk.f_frsize - space))
    # git-annex would leave 100 MB free.
    os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "annex.diskreserve", "GIT_CONFIG_VALUE_0": "0"}
    done = llm_traces(*COMMANDS[name], cwd=folder / "clone", LLM_TRACES_CACHE=str(folder / "cache"), TMPDIR=place)
    fault = find_fault(name, folder / "clone", folder / "cache", done, ballast.unlink)
    print(json.dumps([done.returncode, fault]))


@pytest.mark.faults
@pytest.mark.parametrize("run", [run_with_limit, run_with_little_space])
def test_random_moments(
    published: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: Callable[[str, Path, Path, random.Random], tuple[int, str]],
) -> None:
    outcomes, faults = Counter[str](), []
    for seed in seeds(1):
        rng, name = random.Random(seed), list(COMMANDS)[seed % len(COMMANDS)]
        folder = tmp_path / str(seed)
        folder.mkdir()
        code, fault = run(name, published, folder, rng)
        outcomes[f"{name}, exit code {code}"] += 1
        if fault:
            faults.append(f"seed {seed}, {name}: {fault}")
    with capsys.disabled():
        print(f"\n{run.__name__}, {outcomes.total()} moments from seed {SEED}: {dict(outcomes)}")
    assert not faults, f"{len(faults)} of SEED={SEED}:\n" + "\n".join(faults[:5])


def test_a_build_on_a_full_and_on_a_read_only_disk(published: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    build = f"{BIN}/llm-traces build demo --mirror {published.parent}/mirror; echo exit $?"
    script = f"""
        cp -r {published}/recipes {published}/schemas . && mkdir data
        dd if=/dev/zero of=ballast bs=1k count=9000 2>/dev/null; {build}; find . -name '*.part'; rm ballast
        mount -o remount,ro .; {build}
        mount -o remount,rw .; {build}; find . -name '*.part'"""
    done = run_on_tmpfs(tmp_path / "disk", "600k", "sh", "-c", f"cd {tmp_path}/disk; {script}")
    full, read_only, free = done.stdout.split("exit ")[:3]
    assert "0 built, 2 not built" in full and read_only.startswith("2\n") and free.startswith("2\n"), done
    assert "2 built, 0 not built" in free and done.stdout.endswith("exit 0\n") and ".part" not in done.stdout, done
    assert "No space left on device" in done.stderr and "Read-only file system" in done.stderr
    assert "free some space or fix the permissions" in done.stderr and "Traceback" not in done.stderr


if __name__ == "__main__":
    run_inside(*json.loads(sys.argv[1]))
