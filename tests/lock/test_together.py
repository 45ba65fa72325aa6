"""Several processes at the same workloads at once: all succeed, and each upstream file is fetched once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.lock.build import build
from llm_trace_archive.lock.describe import describe
from llm_trace_archive.upstream.cache import Cache
from llm_trace_archive.upstream.sources import Sources
from support import servers
from support.chance import FACTOR
from support.programs import BIN, git, llm_traces
from support.small_archive import are_right, leftovers, publish

WORKLOADS = {"few": ("few.csv", 50), "many": ("many.csv", 20_000), "again": ("many.csv", 20_000)}


@pytest.fixture
def published(tmp_path: Path) -> Iterator[tuple[Path, servers.Site]]:
    """An archive with two workloads of one upstream file, which takes half a second to arrive."""
    with servers.site() as site:
        archive, files = publish(tmp_path / "home", site.url, WORKLOADS)
        for name, content in files.items():
            site.scripts[f"/{name}"] = servers.slow(content, len(content) // 10 + 1, 0.05)
        yield archive.root, site


def start(*arguments: str, cwd: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "llm-traces", *arguments],
        cwd=cwd, env=os.environ | {"LLM_TRACES_CACHE": str(cache)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


RACE = """
import sys
from pathlib import Path
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.build import build
from llm_trace_archive.lock.describe import describe
from llm_trace_archive.upstream.sources import Sources
root, mirror, cache, rounds, *names = sys.argv[1:]
for _ in range(int(rounds)):
    archive = Archive(Path(root))
    describe(archive, [build(archive, each, Sources(Path(cache), mirror)) for each in archive.select(names)])
"""


@pytest.mark.faults
@pytest.mark.parametrize("is_git", [True, False], ids=["in a clone", "in a plain folder"])
def test_builds_race_with_caches_of_their_own(tmp_path: Path, is_git: bool) -> None:
    """Users of one clone: some build the same workload, some another, and each writes the lock."""
    archive, _ = publish(tmp_path / "home", "http://127.0.0.1:9", WORKLOADS)
    if not is_git:
        shutil.rmtree(archive.root / ".git")
    (archive.root / LOCK).unlink()
    mirror, rounds = tmp_path / "home" / "mirror", str(3 * FACTOR)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, archive.root, mirror, tmp_path / user, rounds, name],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) for user, name in zip("abc", ("demo/few", "demo/few", "demo/again"), strict=True)
    ]  # fmt: skip
    output = [process.communicate()[0] for process in running]
    assert not any(output) and not any(process.returncode for process in running), output
    assert set(Archive(archive.root).locked) == {"demo/few", "demo/again"}
    assert are_right(archive.root)
    assert not [path for path in (archive.root / "data").rglob(".*") if path.is_file()]


def test_a_build_keeps_what_another_one_locked_meanwhile(tmp_path: Path) -> None:
    archive, _ = publish(tmp_path / "home", "http://127.0.0.1:9", WORKLOADS)
    (archive.root / LOCK).unlink()
    users = Archive(archive.root), Archive(archive.root)
    assert [user.locked for user in users] == [{}, {}], "both read it before either built"
    for user, name in zip(users, ("demo/few", "demo/again"), strict=True):
        sources = Sources(tmp_path / name, str(tmp_path / "home/mirror"))
        describe(user, [build(user, *user.select([name]), sources)])
    assert set(Archive(archive.root).locked) == {"demo/few", "demo/again"}


@pytest.mark.parametrize("clones", [1, 2], ids=["in one clone", "in two clones with one cache"])
def test_processes_build_the_same_workloads(published: tuple[Path, servers.Site], tmp_path: Path, clones: int) -> None:
    root, site = published
    for number in range(clones):
        git("clone", "--quiet", "--single-branch", root, str(number), cwd=tmp_path)
        (tmp_path / str(number) / LOCK).unlink()  # each process writes it
    cache = tmp_path / "cache"
    places = [tmp_path / str(number % clones) for number in range(3)]
    running = [start("build", "demo", "--jobs", "2", cwd=place, cache=cache) for place in places]
    output = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], output
    assert site.requests == {"/few.csv": 1, "/many.csv": 1}
    for place in places:
        assert are_right(place) and leftovers(place) == []
    assert [entry.kind for entry in Cache(cache).entries()] == ["sha256", "sha256"]


def test_git_annex_gets_workloads_of_one_upstream_file(
    published: tuple[Path, servers.Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, site = published
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    git("clone", "--quiet", "--single-branch", root, "clone", cwd=tmp_path)
    llm_traces("setup", cwd=tmp_path / "clone", check=True)
    site.requests.clear()
    git("annex", "get", "--quiet", "-J4", "data", cwd=tmp_path / "clone")
    assert are_right(tmp_path / "clone") and leftovers(tmp_path / "clone") == []
    assert site.requests == {"/few.csv": 1, "/many.csv": 1}
    git("annex", "fsck", "--quiet", cwd=tmp_path / "clone")


def test_a_build_beside_a_prune(published: tuple[Path, servers.Site], tmp_path: Path) -> None:
    root, _ = published
    git("clone", "--quiet", "--single-branch", root, "clone", cwd=tmp_path)
    cache = tmp_path / "cache"
    building = start("build", "demo", cwd=tmp_path / "clone", cache=cache)
    while building.poll() is None:
        done = llm_traces("cache", "prune", "--all", cwd=tmp_path / "clone", LLM_TRACES_CACHE=str(cache))
        assert done.returncode == 0, done.stderr
    assert building.returncode == 0, building.communicate()[0]
    assert are_right(tmp_path / "clone")
