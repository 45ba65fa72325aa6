"""Workloads that are not locked: `datalad get` builds them from pinned bytes, and `llm-traces lock` locks them.

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

from llm_trace_archive.annex.messages import SAME_REASONS
from llm_trace_archive.annex.setup import REMOTE, setup
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from support.command import run_here
from support.programs import OLD_ANNEX, git, run
from support.servers import Site, failing, plain, site
from support.small_archive import are_right, publish

NAMES = [f"n{number:02}" for number in range(20)]
MANY = "data/demo/many.parquet"


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
    """The folder of `published`: `few` is locked; `many` and `huge` only have recipes, as they were never built."""
    home = tmp_path_factory.mktemp("unbuilt")
    rows = {"few": 3, "many": 4000, "huge": 9000}
    workloads = {name: (f"{name}.csv", count) for name, count in rows.items()}
    _, files = publish(home, upstream.url, workloads, unbuilt=("many", "huge"))
    upstream.scripts |= {f"/{name}": plain(content) for name, content in files.items()}
    return home


@pytest.fixture(scope="module")
def prepared(home: Path, git_annex: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that is set up; don't change it."""
    folder = tmp_path_factory.mktemp("prepared") / "clone"
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", folder, cwd=home)
    done = setup(Archive(folder))
    assert "recorded 3 files as available from llm-traces" in done
    assert any("knows no VURL keys" in line for line in done) == (git_annex == "old")
    return folder


@pytest.fixture
def clone(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that is set up, with a cache of its own; the upstream can be reached, and there is no mirror."""
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(prepared, tmp_path / "clone", symlinks=True))


def annex(*arguments: str, cwd: Path) -> str:
    return git("annex", *arguments, cwd=cwd)


def test_datalad_get_builds_the_bytes_that_a_build_makes(clone: Path) -> None:
    run("datalad", "get", "data/demo/few.parquet", MANY, cwd=clone)
    assert are_right(clone)
    many = clone / MANY
    assert pq.read_metadata(many).num_rows == 4000
    assert many.readlink().name == links.unbuilt_key(Archive(clone).select(["demo/many"])[0])
    assert git("status", "--short", cwd=clone) == ""
    annex("fsck", "--quiet", cwd=clone)
    assert "split: many" in (clone / ".huggingface.yaml").read_text()
    content = many.read_bytes()
    annex("drop", "--quiet", "data", cwd=clone)
    assert not many.exists()
    assert run_here("build", "demo/many", cwd=clone).returncode == 0
    assert many.read_bytes() == content


def test_lock_commits_links_and_lock_and_nothing_else(clone: Path) -> None:
    annex("get", "--quiet", MANY, cwd=clone)
    (clone / "own.txt").write_text("mine")
    git("add", "own.txt", cwd=clone)
    done = run_here("lock", "demo/many", cwd=clone)
    assert (done.returncode, done.stdout) == (0, "committed: demo/many\n"), done.stderr
    committed = git("show", "--name-only", "--format=%s", cwd=clone).split()
    assert committed == ["Lock", "demo/many", "README.md", MANY, "datapackage.json"]
    assert git("status", "--short", cwd=clone) == "A  own.txt\n"
    locked = Archive(clone).locked["demo/many"]
    assert (clone / MANY).readlink().name.startswith(f"SHA256-s{locked['bytes']}--")
    assert are_right(clone, ["demo/many"])
    assert "VURL" not in annex("unused", cwd=clone)
    annex("fsck", "--quiet", MANY, cwd=clone)
    again = run_here("lock", "demo/many", cwd=clone)
    assert again.stdout == "nothing to do: all are locked and committed\n"
    annex("drop", "--quiet", MANY, cwd=clone)
    annex("get", "--quiet", MANY, cwd=clone)
    assert are_right(clone, ["demo/many"])


def test_lock_needs_no_upstream_where_the_table_is_here(clone: Path, tmp_path: Path) -> None:
    annex("get", "--quiet", MANY, cwd=clone)
    shutil.rmtree(tmp_path / "cache")
    done = run_here("lock", "demo/many", "--offline", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert are_right(clone, ["demo/many"])
    refused = run_here("lock", "demo/huge", "--offline", cwd=clone)
    assert refused.returncode == 1 and "demo: huge.csv is not available" in refused.stderr
    assert git("log", "--format=%s", cwd=clone) == "Lock demo/many\nPublish\n"


def test_wrong_upstream_bytes_never_arrive(clone: Path, upstream: Site, tmp_path: Path) -> None:
    good = upstream.scripts["/many.csv"]
    try:
        upstream.scripts["/many.csv"] = plain(b"at,in\n0,0\n")
        ran = run("datalad", "get", MANY, cwd=clone, good=False)
        assert ran.returncode and "many.csv does not match recipes/demo.toml" in ran.stdout + ran.stderr
        assert not (clone / MANY).exists()
        assert [each.suffix for each in sorted((tmp_path / "cache/quarantine").iterdir())] == [".csv", ".txt"]
    finally:
        upstream.scripts["/many.csv"] = good
    annex("get", "--quiet", MANY, cwd=clone)


def test_a_file_that_can_not_be_built_again_is_not_dropped(
    clone: Path, upstream: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annex("get", "--quiet", MANY, cwd=clone)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("LLM_TRACES_OFFLINE", "1")
    assert run("git", "annex", "drop", MANY, cwd=clone, good=False).returncode
    monkeypatch.delenv("LLM_TRACES_OFFLINE")
    good = upstream.scripts["/many.csv"]
    try:
        upstream.scripts["/many.csv"] = failing(404, 99, good)
        key = (clone / MANY).readlink().name
        checked = run("git", "annex", "checkpresentkey", key, REMOTE, cwd=clone, good=False)
        assert checked.returncode == 1  # absent for certain; 100 would mean that it could not be checked
        assert run("git", "annex", "drop", MANY, cwd=clone, good=False).returncode
    finally:
        upstream.scripts["/many.csv"] = good
    assert (clone / MANY).exists()
    annex("drop", "--quiet", MANY, cwd=clone)


@pytest.fixture(scope="module")
def twenty(git_annex: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, set up, of twenty workloads that were never built. Their upstream refuses at once: the discard port."""
    home = tmp_path_factory.mktemp("twenty")
    publish(home, "http://127.0.0.1:9", {name: (f"{name}.csv", 5) for name in NAMES}, unbuilt=NAMES)
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", "clone", cwd=home)
    setup(Archive(home / "clone"))
    return home / "clone"


@pytest.mark.parametrize("command", [("datalad", "get", "data/demo"), ("llm-traces", "get", "demo")])
def test_offline_the_reasons_are_printed_once_with_the_way_to_give_a_mirror(
    twenty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    ran = run(*command, cwd=twenty, good=False)
    assert time.monotonic() - start < 10  # seconds: what users were promised
    output = ran.stdout + ran.stderr
    assert ran.returncode == 1 and "Traceback" not in output
    assert output.count("connection refused") == 1
    assert output.count("put the file at DIR/demo/") == 1 and "--mirror DIR" in output
    assert output.count(SAME_REASONS) == (19 if command[0] == "datalad" else 0)
    assert all(f"{name}.csv is not available" in output for name in NAMES)


def test_validate_checks_what_is_not_locked(clone: Path) -> None:
    annex("get", "--quiet", MANY, cwd=clone)
    done = run_here("validate", "--deep", "demo/many", cwd=clone)
    assert done.returncode == 0, done.stdout
    assert "rows: expected 4,000, found 4,000" in done.stdout and "rebuilt from the upstream" in done.stdout
    (line,) = [line for line in run_here("list", cwd=clone).stdout.splitlines() if "many" in line]
    assert line.endswith("here, not in the lock")
    path = (clone / MANY).resolve()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    found = run_here("validate", "demo/many", cwd=clone)
    assert found.returncode == 1 and "pages of " in found.stdout
