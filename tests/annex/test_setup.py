"""`llm-traces setup` in clones of a small archive: what it does, and what it refuses to touch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from llm_trace_archive.annex.get import get
from llm_trace_archive.annex.lock import lock
from llm_trace_archive.annex.setup import REMOTE, REMOTE_UUID, setup
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.upstream.sources import Sources
from support.programs import BIN, git, run
from support.small_archive import names_here, store


def refs(root: Path) -> str:
    return git("for-each-ref", cwd=root) + git("status", "--short", cwd=root)


def test_a_second_setup_changes_nothing(ready: Path) -> None:
    config = ready / ".git" / "config"
    before = refs(ready), config.read_bytes()
    assert setup(Archive(ready)) == []
    assert (refs(ready), config.read_bytes()) == before


def test_several_at_once_succeed(clone: Path) -> None:
    running = [
        subprocess.Popen([BIN / "llm-traces", "setup"], cwd=clone, text=True, stdout=PIPE, stderr=STDOUT)
        for _ in range(4)
    ]
    output = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, output
    assert output.count("nothing to do: the clone is ready\n") == 3


def test_a_remote_that_is_known_but_not_enabled_is_enabled(ready: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", ready, "second", cwd=tmp_path)
    second = tmp_path / "second"
    git("annex", "init", "--quiet", "--no-autoenable", cwd=second)
    assert setup(Archive(second))[0] == "enabled the special remote llm-traces"
    git("annex", "get", "--quiet", "data/demo/one.parquet", cwd=second)
    assert names_here(second) == {"one"}


def test_two_clones_that_were_set_up_independently_share_one_remote(ready: Path, clone: Path) -> None:
    setup(Archive(clone))
    git("remote", "add", "two", ready, cwd=clone)
    git("fetch", "--quiet", "two", "git-annex", cwd=clone)
    git("annex", "merge", "--quiet", cwd=clone)
    assert setup(Archive(clone)) == []
    git("annex", "get", "--quiet", "data/demo/one.parquet", cwd=clone)
    assert names_here(clone) == {"one"}


def test_without_setup_datalad_gets_nothing_and_prints_nothing(clone: Path) -> None:
    assert run("datalad", "get", "data/demo", cwd=clone).stdout == ""
    assert names_here(clone) == set()


def test_content_that_was_stored_before_setup_is_recorded(clone: Path, home: Path) -> None:
    archive = Archive(clone)
    store(archive, "demo/one", (home / "published/data/demo/one.parquet").read_bytes())
    assert setup(archive)[-1] == "recorded 1 file as present here"
    assert "fixing location log" not in git("annex", "fsck", "data/demo/one.parquet", cwd=clone)
    assert setup(archive) == []


def test_another_special_remote_of_the_name_is_refused(clone: Path, tmp_path: Path) -> None:
    git("annex", "init", "--quiet", cwd=clone)
    config = ("type=directory", f"directory={tmp_path}", "encryption=none")
    git("annex", "initremote", "--quiet", REMOTE, *config, cwd=clone)
    before = refs(clone)
    with pytest.raises(BadUse, match="another remote has the name") as caught:
        setup(Archive(clone))
    assert "git clone --single-branch" in caught.value.details["next"]
    assert refs(clone) == before
    # Another clone would enable it by itself.
    git("clone", "--quiet", clone, "second", cwd=tmp_path)
    with pytest.raises(BadUse, match=r"type=directory, in the git-annex branch"):
        setup(Archive(tmp_path / "second"))


def test_a_git_remote_of_the_name_is_refused_until_it_is_renamed(clone: Path, tmp_path: Path) -> None:
    git("init", "--quiet", "elsewhere", cwd=tmp_path)
    git("remote", "add", REMOTE, tmp_path / "elsewhere", cwd=clone)
    with pytest.raises(BadUse, match="another remote has the name") as caught:
        setup(Archive(clone))
    command, last = caught.value.details["next"].replace("OTHER", "other").split("; ")
    assert last == "llm-traces setup"
    run(*command.split(), cwd=clone)
    assert "added the special remote llm-traces" in setup(Archive(clone))


def test_our_uuid_with_another_configuration_is_refused(clone: Path) -> None:
    git("annex", "init", "--quiet", cwd=clone)
    config = ("type=external", "externaltype=llm-traces", "encryption=shared", f"uuid={REMOTE_UUID}")
    git("annex", "initremote", "--quiet", REMOTE, *config, cwd=clone)
    with pytest.raises(BadUse, match="in the git-annex branch") as caught:
        setup(Archive(clone))
    assert "encryption=shared" in caught.value.details["got"]


def test_missing_and_old_programs_are_named(clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive, programs = Archive(clone), tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(BadUse, match=r"git-annex: not found on PATH\n.*\n.*pip install --upgrade git-annex"):
        setup(archive)
    (programs / "git-annex").write_text("#!/bin/sh\necho 8.20210223\n")
    (programs / "git-annex").chmod(0o755)
    with pytest.raises(BadUse, match=r"git-annex: is too old\n.*10.20230126 or newer\n.*8.20210223"):
        setup(archive)
    (programs / "git-annex").write_text("#!/bin/sh\necho 10.20230126\n")
    with pytest.raises(BadUse, match="git-annex-remote-llm-traces: not found on PATH"):
        setup(archive)
    monkeypatch.setitem(sys.modules, "annexremote", None)
    with pytest.raises(BadUse, match=r"annexremote: is not installed(.|\n)*llm-trace-archive\[build\]"):
        setup(archive)


def test_outside_a_git_repository_setup_and_lock_refuse(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "published", tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    with pytest.raises(BadUse, match="is not a git repository"):
        setup(Archive(tmp_path / "copy"))
    with pytest.raises(BadUse, match="is not a git repository"):
        lock(Archive(tmp_path / "copy"), [], Sources(cache=tmp_path))
    assert not (tmp_path / "copy" / ".git").exists()


def test_a_machine_without_an_identity(clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(empty))
    archive = Archive(clone)
    assert setup(archive)[-1].startswith("note: git has no user.name")
    assert setup(archive) == []
    get(archive, archive.select(["demo/one"]))
    assert names_here(clone) == {"one"}
    assert "user." not in git("config", "--local", "--list", cwd=clone)
    assert empty.read_text() == "[user]\n\tuseConfigOnly = true\n"
