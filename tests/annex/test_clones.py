"""`datalad get` in every kind of clone that people have, with the real programs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_trace_archive.annex.get import get
from llm_trace_archive.annex.setup import setup
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from support.command import run_here
from support.programs import BIN, git, llm_traces, run, with_package
from support.servers import plain, site
from support.small_archive import names_here, store

EVERY = {"one", "two", "three", "four"}


def test_datalad_gets_four_at_a_time_drops_and_gets_again(clone: Path) -> None:
    assert setup(Archive(clone)) == [
        "initialised git-annex in this clone",
        "added the special remote llm-traces",
        "recorded 4 files as available from llm-traces",
    ]
    assert names_here(clone) == set()
    run("datalad", "get", "-J4", "data", cwd=clone)
    assert names_here(clone) == EVERY
    git("annex", "fsck", "--quiet", cwd=clone)
    run("datalad", "drop", "data", cwd=clone)
    assert names_here(clone) == set()
    run("datalad", "get", "data/demo/one.parquet", cwd=clone)
    assert names_here(clone) == {"one"}
    assert "llm-traces build demo/one from http://127.0.0.1:9/one.csv" in git("annex", "whereis", "data", cwd=clone)
    assert git("status", "--short", cwd=clone) == ""


def test_a_mirror_url_is_requested_once_for_a_file_of_two_workloads(
    ready: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site() as served:
        served.scripts["/up/demo/both.csv"] = plain((home / "mirror/demo/both.csv").read_bytes())
        done = run_here("get", "demo/three", "demo/four", "--mirror", f"{served.url}/up", cwd=ready)
        assert (done.returncode, done.stdout) == (0, "2 workloads are here\n"), done.stderr
        assert names_here(ready) == {"three", "four"}
        assert served.requests == {"/up/demo/both.csv": 1}


def test_a_clone_of_a_set_up_clone_only_needs_its_remote_verified(ready: Path, tmp_path: Path) -> None:
    before = git("rev-parse", "git-annex", cwd=ready)
    git("clone", "--quiet", ready, "by-git", cwd=tmp_path)
    run("datalad", "clone", ready, "by-datalad", cwd=tmp_path)
    for name, initialised in (("by-git", ["initialised git-annex in this clone"]), ("by-datalad", [])):
        clone = tmp_path / name
        done = setup(Archive(clone))
        assert [line for line in done if "verified" not in line] == initialised
        assert setup(Archive(clone)) == []
        git("annex", "get", "--quiet", "data/demo/one.parquet", cwd=clone)
        assert names_here(clone) == {"one"}
    assert git("rev-parse", "git-annex", cwd=ready) == before


def test_the_package_is_installed_after_the_clone(ready: Path, tmp_path: Path, without_package: None) -> None:
    run("datalad", "clone", ready, "second", cwd=tmp_path)
    second = tmp_path / "second"
    assert run("datalad", "get", "data/demo/one.parquet", cwd=second, good=False).returncode
    refused = llm_traces("get", "demo/one", cwd=second)
    assert refused.returncode == 2 and "git-annex-remote-llm-traces: not found on PATH" in refused.stderr
    with with_package():
        llm_traces("get", "demo/one", cwd=second, check=True)
    assert names_here(second) == {"one"}


def test_a_worktree_shares_content_once_it_is_set_up(clone: Path, home: Path, tmp_path: Path) -> None:
    git("worktree", "add", "--quiet", tmp_path / "tree", cwd=clone)
    tree = Archive(tmp_path / "tree")
    content = (home / "published/data/demo/one.parquet").read_bytes()
    with pytest.raises(BadUse, match=r"data/demo/one.parquet: can't be stored(.|\n)*llm-traces setup"):
        store(tree, "demo/one", content)
    get(tree, tree.select(["demo/two"]))
    store(tree, "demo/one", content)
    assert names_here(tree.root) == names_here(clone) == {"one", "two"}
    assert git("status", "--short", cwd=tree.root) == ""


def test_setup_and_get_work_in_a_subfolder(clone: Path) -> None:
    assert run_here("setup", cwd=clone / "data").returncode == 0
    run("datalad", "get", "one.parquet", cwd=clone / "data/demo")
    assert run_here("get", "demo/two", cwd=clone / "data/demo").returncode == 0
    assert names_here(clone) == {"one", "two"}


def test_a_subdataset_of_another_dataset(home: Path, environment: None, tmp_path: Path) -> None:
    run("datalad", "create", "super", cwd=tmp_path)
    run("datalad", "clone", "-d", ".", f"{home}/published", "inputs/traces", cwd=tmp_path / "super")
    traces = tmp_path / "super/inputs/traces"
    setup(Archive(traces))
    run("datalad", "get", "inputs/traces/data/demo/one.parquet", cwd=tmp_path / "super")
    assert names_here(traces) == {"one"}
    assert git("status", "--short", cwd=tmp_path / "super") == ""


def test_a_submodule_of_plain_git(home: Path, environment: None, tmp_path: Path) -> None:
    git("init", "--quiet", "super", cwd=tmp_path)
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "--quiet", "add", f"{home}/published", "traces", cwd=tmp_path / "super")
    archive = Archive(tmp_path / "super/traces")
    for _ in range(2):
        get(archive, archive.select(["demo/one"]))
        assert names_here(archive.root) == {"one"}


def test_a_bare_repository_hands_the_records_on(ready: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", "--bare", ready, "bare", cwd=tmp_path)
    git("annex", "init", "--quiet", "--no-autoenable", cwd=tmp_path / "bare")
    run("datalad", "clone", tmp_path / "bare", "second", cwd=tmp_path)
    second = Archive(tmp_path / "second")
    get(second, second.select(["demo/one", "demo/two"]))
    assert names_here(second.root) == {"one", "two"}
    refused = run_here("setup", cwd=tmp_path / "bare")
    assert refused.returncode == 2 and "not inside an archive" in refused.stderr


def _adjust(clone: Path) -> None:
    setup(Archive(clone))
    git("annex", "adjust", "--quiet", "--unlock", cwd=clone)


def _unlock_and_drop(clone: Path) -> None:
    get(Archive(clone), Archive(clone).select())
    git("annex", "unlock", "--quiet", "data", cwd=clone)
    git("annex", "drop", "--quiet", "data", cwd=clone)


def _without_symlinks(clone: Path) -> None:
    git("config", "core.symlinks", "false", cwd=clone)
    shutil.rmtree(clone / "data")
    git("checkout", "--", "data", cwd=clone)


@pytest.mark.parametrize("prepare", [_adjust, _unlock_and_drop, _without_symlinks])
def test_a_pointer_of_git_annex_is_no_content(clone: Path, prepare: Callable[[Path], None]) -> None:
    prepare(clone)
    paths = [clone / "data/demo" / f"{name}.parquet" for name in EVERY]
    assert all(path.is_file() and not path.is_symlink() and path.stat().st_size < 300 for path in paths)
    setup(Archive(clone))
    assert names_here(clone) == set() and not (clone / ".huggingface.yaml").exists()
    assert "4 of 4 are not here" in run_here("list", cwd=clone).stdout
    assert run_here("validate", "demo/one", cwd=clone).returncode == 1
    restored = run_here("restore", "demo/one", "-o", clone.parent / "one.csv", cwd=clone)
    assert restored.returncode == 2 and "its content is missing" in restored.stderr
    done = run_here("get", "demo/one", "demo/two", cwd=clone)
    assert (done.returncode, done.stdout) == (0, "2 workloads are here\n"), done.stderr
    assert names_here(clone) == {"one", "two"} and pq.read_metadata(clone / "data/demo/one.parquet").num_rows == 3
    assert "split: one" in (clone / ".huggingface.yaml").read_text()
    assert run_here("validate", "demo/one", cwd=clone).returncode == 0
    assert run_here("restore", "demo/one", "-o", clone.parent / "one.csv", cwd=clone).returncode == 0
    git("annex", "drop", "--quiet", "data", cwd=clone)
    assert names_here(clone) == set()


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_read_only_clone_can_be_read_and_refuses_the_rest(ready: Path, home: Path) -> None:
    store(Archive(ready), "demo/one", (home / "published/data/demo/one.parquet").read_bytes())
    for path in (ready, *ready.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    # Root writes in spite of modes unless it gives up that power.
    powerless = (
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if not os.getuid() else []
    )
    try:
        assert run(*powerless, BIN / "llm-traces", "validate", "demo/one", cwd=ready).returncode == 0
        for command in (["get", "demo/three"], ["setup"]):
            ran = run(*powerless, BIN / "llm-traces", *command, cwd=ready, good=False)
            assert ran.returncode == 2, ran.stdout + ran.stderr
            assert "Permission denied" in ran.stderr and "Traceback" not in ran.stderr
    finally:
        for path in (ready, *ready.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IWUSR)
    git("annex", "get", "--quiet", "data/demo/three.parquet", cwd=ready)
    assert names_here(ready) == {"one", "three"}
