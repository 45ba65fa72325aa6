"""`datalad get` in every kind of clone that people have, the programs for real."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from support.programs import BIN, git, llm_traces, run, with_us
from support.servers import plain, site
from support.small_archive import are_right, publish

WORKLOADS = {"one": ("one.csv", 3), "two": ("two.csv", 30), "three": ("both.csv", 300), "four": ("both.csv", 300)}
EVERY = tuple(f"demo/{name}" for name in WORKLOADS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything is locked but `two`; `three` and `four` are of one upstream file. The upstream's server is gone."""
    home = tmp_path_factory.mktemp("clones")
    publish(home, "http://127.0.0.1:9", WORKLOADS, unbuilt=("two",))
    return home


@pytest.fixture(autouse=True)
def _environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(home / "mirror"))


@pytest.fixture
def clone(home: Path, tmp_path: Path) -> Path:
    """As a user gets it: main only, not set up."""
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", "clone", cwd=tmp_path)
    return tmp_path / "clone"


def has_all(root: Path) -> bool:
    archive = Archive(root)
    return are_right(root) and all(archive.is_present(each) for each in archive.select())


def test_four_at_a_time_then_dropped_and_back(clone: Path) -> None:
    llm_traces("setup", cwd=clone, check=True)
    for _ in range(2):
        run("datalad", "get", "-J4", "data", cwd=clone)
        assert has_all(clone)
        git("annex", "fsck", "--quiet", cwd=clone)
        run("datalad", "drop", "data", cwd=clone)
        assert not any(Archive(clone).is_present(each) for each in Archive(clone).select())
    assert git("status", "--short", cwd=clone) == ""


def test_a_mirror_by_http_is_asked_once_for_a_file_of_two_workloads(
    clone: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site() as served:
        for path in (home / "mirror/demo").iterdir():
            served.scripts[f"/up/demo/{path.name}"] = plain(path.read_bytes())
        monkeypatch.setenv("LLM_TRACES_MIRROR", f"{served.url}/up")
        llm_traces("get", *EVERY, cwd=clone, check=True)
        assert has_all(clone)
        assert served.requests == {"/up/demo/one.csv": 1, "/up/demo/two.csv": 1, "/up/demo/both.csv": 1}


def test_datalad_clone_of_a_clone_that_was_set_up(clone: Path, tmp_path: Path) -> None:
    llm_traces("setup", cwd=clone, check=True)
    before = git("rev-parse", "git-annex", cwd=clone)
    run("datalad", "clone", str(clone), "second", cwd=tmp_path)
    second = tmp_path / "second"
    llm_traces("setup", cwd=second, check=True)
    run("datalad", "get", "data", cwd=second)
    assert has_all(second)
    assert "nothing to do" in llm_traces("setup", cwd=second).stdout
    assert git("rev-parse", "git-annex", cwd=clone) == before


def test_our_program_comes_after_the_clone(clone: Path, tmp_path: Path, without_us: None) -> None:
    with with_us():
        llm_traces("setup", cwd=clone, check=True)
    run("datalad", "clone", str(clone), "second", cwd=tmp_path)
    second = tmp_path / "second"
    assert run("datalad", "get", "data/demo/one.parquet", cwd=second, good=False).returncode
    refused = llm_traces("get", "demo/one", cwd=second)
    assert refused.returncode == 2 and "git-annex-remote-llm-traces: not found on PATH" in refused.stderr
    with with_us():
        llm_traces("get", *EVERY, cwd=second, check=True)
    assert has_all(second)


def test_a_worktree(clone: Path, tmp_path: Path) -> None:
    llm_traces("setup", cwd=clone, check=True)
    git("worktree", "add", "--quiet", str(tmp_path / "tree"), cwd=clone)
    llm_traces("get", *EVERY, cwd=tmp_path / "tree", check=True)
    assert has_all(tmp_path / "tree")
    assert has_all(clone), "a worktree shares its content"


def test_a_folder_below(clone: Path) -> None:
    llm_traces("setup", cwd=clone / "data", check=True)
    run("datalad", "get", "one.parquet", cwd=clone / "data/demo")
    llm_traces("get", "demo/two", cwd=clone / "recipes", check=True)
    assert {each.name for each in Archive(clone).select() if Archive(clone).is_present(each)} == {"one", "two"}


def test_a_subdataset_of_another_dataset(home: Path, tmp_path: Path) -> None:
    run("datalad", "create", "super", cwd=tmp_path)
    run("datalad", "clone", "-d", ".", f"{home}/published", "inputs/traces", cwd=tmp_path / "super")
    traces = tmp_path / "super/inputs/traces"
    llm_traces("setup", cwd=traces, check=True)
    run("datalad", "get", "inputs/traces/data", cwd=tmp_path / "super")
    assert has_all(traces)
    assert git("status", "--short", cwd=tmp_path / "super") == ""


def test_a_submodule_of_plain_git(home: Path, tmp_path: Path) -> None:
    git("init", "--quiet", "super", cwd=tmp_path)
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "--quiet", "add", f"{home}/published", "traces", cwd=tmp_path / "super")
    llm_traces("get", *EVERY, cwd=tmp_path / "super/traces", check=True)
    assert has_all(tmp_path / "super/traces")


def test_a_bare_repository_passes_it_on(clone: Path, tmp_path: Path) -> None:
    llm_traces("get", "demo/one", cwd=clone, check=True)
    git("clone", "--quiet", "--bare", str(clone), "bare", cwd=tmp_path)
    git("annex", "init", "--quiet", "--no-autoenable", cwd=tmp_path / "bare")
    run("datalad", "clone", str(tmp_path / "bare"), "second", cwd=tmp_path)
    second = tmp_path / "second"
    llm_traces("get", *EVERY, cwd=second, check=True)
    assert has_all(second)
    refused = llm_traces("setup", cwd=tmp_path / "bare")
    assert refused.returncode == 2 and "not inside an archive" in refused.stderr


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_clone_that_can_not_be_written(clone: Path, tmp_path: Path) -> None:
    """Its files can be read and checked; what needs writing says so, and nothing is half done."""
    llm_traces("get", "demo/one", cwd=clone, check=True)
    for path in (clone, *clone.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    # Root writes in spite of modes unless it gives that power up.
    powerless = (
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if not os.getuid() else []
    )
    try:
        assert run(*powerless, BIN / "llm-traces", "validate", "demo/one", cwd=clone).returncode == 0
        for command in (["get", "demo/three"], ["setup"]):
            ran = run(*powerless, BIN / "llm-traces", *command, cwd=clone, good=False)
            assert ran.returncode == 2, ran.stdout + ran.stderr
            assert "Permission denied" in ran.stderr and "Traceback" not in ran.stderr
    finally:
        for path in (clone, *clone.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IWUSR)
    llm_traces("get", "demo/three", cwd=clone, check=True)
