"""Several processes at the same workloads at once: all succeed, and each upstream file is fetched once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import LOCK
from llm_trace_archive.upstream.cache import Cache
from support import servers
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
