"""Workloads that no lock has: `datalad get` builds them from pinned bytes; `llm-traces lock` gives them their place.

Run with the git-annex on PATH, and with an old one too where LLM_TRACES_OLD_ANNEX names the folder that holds it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_trace_archive.annex import setup as annex
from llm_trace_archive.annex.messages import SAME_REASONS
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from support.programs import OLD_ANNEX, git, llm_traces, run
from support.servers import Site, failing, plain, site
from support.small_archive import are_right, publish

NAMES = [f"n{number:02}" for number in range(20)]


@pytest.fixture(scope="module", params=["current", "old"])
def git_annex(request: pytest.FixtureRequest) -> Iterator[str]:
    """git-annex as it is installed with this package, and the oldest we support."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "old":
            if not OLD_ANNEX:
                pytest.skip("an old git-annex: LLM_TRACES_OLD_ANNEX is not set")
            patch.setenv("PATH", OLD_ANNEX, prepend=os.pathsep)
        yield request.param


@pytest.fixture(scope="module")
def upstream() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, upstream: Site) -> Path:
    """`few` is locked, `many` and `huge` have only recipes, as BurstGPT has where its upstream never was."""
    home = tmp_path_factory.mktemp("unbuilt")
    rows = {"few": 3, "many": 4000, "huge": 9000}
    workloads = {name: (f"{name}.csv", count) for name, count in rows.items()}
    _, files = publish(home, upstream.url, workloads, unbuilt=("many", "huge"))
    upstream.scripts |= {f"/{name}": plain(content) for name, content in files.items()}
    return home


@pytest.fixture
def clone(home: Path, git_annex: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that was set up, with a cache of its own; there is internet, and no mirror."""
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    git("clone", "--quiet", "--single-branch", str(home / "published"), "clone", cwd=tmp_path)
    done = llm_traces("setup", cwd=tmp_path / "clone", check=True).stdout
    assert "recorded 3 files as available from llm-traces" in done
    assert ("knows no VURL keys" in done) == (git_annex == "old")
    return tmp_path / "clone"


def test_datalad_get_builds_what_was_never_built(clone: Path) -> None:
    run("datalad", "get", "data/demo", cwd=clone)
    assert are_right(clone)
    many = clone / "data/demo/many.parquet"
    assert pq.read_metadata(many).num_rows == 4000
    assert many.readlink().name == links.unbuilt_key(Archive(clone).select(["demo/many"])[0])
    assert git("status", "--short", cwd=clone) == ""
    git("annex", "fsck", "--quiet", cwd=clone)
    assert "split: many" in (clone / ".huggingface.yaml").read_text()
    git("annex", "drop", "--quiet", "data", cwd=clone)
    assert not many.exists()


def test_the_same_bytes_wherever_they_are_built(clone: Path) -> None:
    llm_traces("get", "demo/many", cwd=clone, check=True)
    first = (clone / "data/demo/many.parquet").read_bytes()
    git("annex", "drop", "--quiet", "data/demo/many.parquet", cwd=clone)
    llm_traces("build", "demo/many", cwd=clone, check=True)
    assert (clone / "data/demo/many.parquet").read_bytes() == first


def test_lock_commits_links_and_lock_and_nothing_else(clone: Path) -> None:
    llm_traces("get", "demo/many", cwd=clone, check=True)
    (clone / "own.txt").write_text("mine")
    git("add", "own.txt", cwd=clone)
    done = llm_traces("lock", "demo/many", cwd=clone)
    assert (done.returncode, done.stdout) == (0, "committed: demo/many\n"), done.stderr
    told = git("show", "--name-only", "--format=%s", cwd=clone).split()
    assert told == ["Lock", "demo/many", "README.md", "data/demo/many.parquet", "datapackage.json"]
    assert git("status", "--short", cwd=clone) == "A  own.txt\n"
    locked = Archive(clone).locked["demo/many"]
    assert (clone / "data/demo/many.parquet").readlink().name.startswith(f"SHA256-s{locked['bytes']}--")
    assert are_right(clone, ("demo/many",))
    assert "VURL" not in git("annex", "unused", cwd=clone)
    git("annex", "fsck", "--quiet", "data/demo/many.parquet", cwd=clone)
    again = llm_traces("lock", "demo/many", cwd=clone)
    assert again.stdout == "nothing to do: all are locked and committed\n"
    git("annex", "drop", "--quiet", "data/demo/many.parquet", cwd=clone)
    run("datalad", "get", "data/demo/many.parquet", cwd=clone)
    assert are_right(clone, ("demo/many",))


def test_lock_needs_no_upstream_where_the_table_is_here(clone: Path, tmp_path: Path) -> None:
    llm_traces("get", "demo/many", cwd=clone, check=True)
    shutil.rmtree(tmp_path / "cache")
    done = llm_traces("lock", "demo/many", "--offline", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert are_right(clone, ("demo/many",))
    refused = llm_traces("lock", "demo/huge", "--offline", cwd=clone)
    assert refused.returncode == 1 and "huge.csv " in refused.stderr
    assert git("log", "--format=%s", cwd=clone) == "Lock demo/many\nPublish\n"


def test_wrong_upstream_bytes_never_arrive(clone: Path, upstream: Site, tmp_path: Path) -> None:
    good = upstream.scripts["/many.csv"]
    try:
        upstream.scripts["/many.csv"] = plain(b"at,in\n0,0\n")
        ran = run("datalad", "get", "data/demo/many.parquet", cwd=clone, good=False)
        assert ran.returncode and "many.csv does not match recipes/demo.toml" in ran.stdout + ran.stderr
        assert not (clone / "data/demo/many.parquet").exists()
        assert [each.suffix for each in sorted((tmp_path / "cache/quarantine").iterdir())] == [".csv", ".txt"]
    finally:
        upstream.scripts["/many.csv"] = good
    run("datalad", "get", "data/demo/many.parquet", cwd=clone)


def test_what_can_not_be_built_again_is_not_dropped(
    clone: Path, upstream: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("datalad", "get", "data/demo/many.parquet", cwd=clone)
    path = "data/demo/many.parquet"
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("LLM_TRACES_OFFLINE", "1")
    assert run("git", "annex", "drop", path, cwd=clone, good=False).returncode
    monkeypatch.delenv("LLM_TRACES_OFFLINE")
    good = upstream.scripts["/many.csv"]
    try:
        upstream.scripts["/many.csv"] = failing(404, 99, good)
        key = (clone / path).readlink().name
        told = run("git", "annex", "checkpresentkey", key, annex.REMOTE, cwd=clone, good=False)
        assert told.returncode == 1  # not there, which is more than "nobody can tell": that is 100
        assert run("git", "annex", "drop", path, cwd=clone, good=False).returncode
    finally:
        upstream.scripts["/many.csv"] = good
    assert (clone / path).exists()
    run("git", "annex", "drop", path, cwd=clone)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty workloads that were never built, their upstream at the discard port: refused at once."""
    home = tmp_path_factory.mktemp("twenty")
    publish(home, "http://127.0.0.1:9", {name: (f"{name}.csv", 5) for name in NAMES}, unbuilt=NAMES)
    return home / "published"


@pytest.mark.parametrize("command", [("datalad", "get", "data/demo"), ("llm-traces", "get", "demo")])
def test_offline_one_block_says_what_is_missing_what_was_tried_and_how_to_point_at_a_mirror(
    twenty: Path, git_annex: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    git("clone", "--quiet", "--single-branch", str(twenty), "clone", cwd=tmp_path)
    llm_traces("setup", cwd=tmp_path / "clone", check=True)
    start = time.monotonic()
    ran = run(*command, cwd=tmp_path / "clone", good=False)
    assert time.monotonic() - start < 10  # seconds: what users were promised
    said = ran.stdout + ran.stderr
    assert ran.returncode == 1 and "Traceback" not in said
    assert said.count("connection refused") == 1
    assert said.count("put the file at DIR/demo/") == 1 and "--mirror DIR" in said
    assert said.count(SAME_REASONS) == (19 if command[0] == "datalad" else 0)
    assert all(f"{name}.csv " in said for name in NAMES)


def test_validate_checks_what_no_lock_has(clone: Path) -> None:
    llm_traces("get", "demo/many", cwd=clone, check=True)
    done = llm_traces("validate", "--deep", "demo/many", cwd=clone)
    assert done.returncode == 0, done.stdout
    assert "rows: expected 4,000, found 4,000" in done.stdout and "rebuilt from the upstream" in done.stdout
    assert (
        "many" in llm_traces("list", cwd=clone).stdout
        and "here, not in the lock" in llm_traces("list", cwd=clone).stdout
    )
    path = (clone / "data/demo/many.parquet").resolve()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    found = llm_traces("validate", "demo/many", cwd=clone)
    assert found.returncode == 1 and "pages of " in found.stdout
