"""git-annex and DataLad for real, in throwaway clones of a small archive."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_trace_archive.annex import setup as annex
from llm_trace_archive.annex.get import get
from llm_trace_archive.annex.remote import Remote
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse, Problem
from support.programs import git, run
from support.small_archive import are_right, publish

# The discard port: refused at once, and no name has to be looked up.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache and a mirror of our own. The global git config must stay as it is."""
    home = tmp_path_factory.mktemp("annex")
    config = Path(os.environ["GIT_CONFIG_GLOBAL"])
    before = config.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        patch.setenv("LLM_TRACES_MIRROR", str(home / "mirror"))
        yield home
    assert config.read_bytes() == before
    assert not (Path(os.environ["HOME"]) / ".config" / "git").exists()


@pytest.fixture(scope="module")
def published(home: Path) -> Path:
    """An archive as it is published: recipes, schemas, lock and links, the main branch only. No git-annex was run."""
    archive, _ = publish(home, NOWHERE, {"few": ("few.csv", 3), "many": ("many.csv", 5000)})
    return archive.root


@pytest.fixture
def clone(published: Path, tmp_path: Path) -> Archive:
    """A user's clone, not set up."""
    git("clone", "--quiet", "--single-branch", published, tmp_path / "clone", cwd=tmp_path)
    return Archive(tmp_path / "clone")


@pytest.fixture
def ready(clone: Archive) -> Archive:
    annex.setup(clone)
    return clone


@pytest.fixture
def unreachable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstream files are neither in the cache, nor in the mirror, nor on the net."""
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(home / "no-such-folder"))


def refs(archive: Archive) -> str:
    return git("for-each-ref", cwd=archive.root) + git("status", "--short", cwd=archive.root)


def is_here(archive: Archive) -> set[str]:
    return {workload.name for workload in archive.select() if archive.is_present(workload)}


def test_links_are_those_of_git_annex() -> None:
    keys = [links.locked_key(hashlib.sha256(bytes([n % 256])).hexdigest(), n**4) for n in range(1000)]
    ran = subprocess.run(
        ["git-annex", "examinekey", "--batch", "--format=${hashdirmixed}\\n"],
        input="".join(f"{key}\n" for key in keys), capture_output=True, text=True, check=True,
    )  # fmt: skip
    folders = ran.stdout.splitlines()
    assert len(folders) == len(keys)
    for key, folder in zip(keys, folders, strict=True):
        assert links.link_target("data/a/b.parquet", key) == f"../../.git/annex/objects/{folder}{key}/{key}"
    assert links.link_target("a", keys[0]).startswith(".git/")


def test_a_clone_is_set_up_and_datalad_gets_drops_and_gets_again(clone: Archive) -> None:
    assert is_here(clone) == set()
    assert annex.setup(clone) == [
        "initialised git-annex in this clone",
        "added the special remote llm-traces",
        "recorded 2 files as available from llm-traces",
    ]
    run("datalad", "get", "data/demo", cwd=clone.root)
    assert are_right(clone.root)
    git("annex", "drop", "--quiet", "data", cwd=clone.root)
    assert is_here(clone) == set()
    run("datalad", "get", "-J", "2", "data", cwd=clone.root)
    assert are_right(clone.root)
    assert "llm-traces build demo/few from http://127.0.0.1:9/few.csv" in git("annex", "whereis", cwd=clone.root)
    git("annex", "fsck", "--quiet", cwd=clone.root)
    assert git("status", "--short", cwd=clone.root) == ""


def test_a_second_setup_changes_nothing(ready: Archive) -> None:
    before = refs(ready), (ready.root / ".git" / "config").read_bytes()
    assert annex.setup(ready) == []
    assert (refs(ready), (ready.root / ".git" / "config").read_bytes()) == before


def test_a_clone_with_the_git_annex_branch_needs_its_remote_verified_and_no_more(
    ready: Archive, tmp_path: Path
) -> None:
    git("clone", "--quiet", ready.root, tmp_path / "second", cwd=tmp_path)
    second = Archive(tmp_path / "second")
    done = annex.setup(second)
    assert done[0] == "initialised git-annex in this clone"
    assert not any("recorded" in line or "added" in line for line in done)
    assert annex.setup(second) == []
    git("annex", "get", "--quiet", "data/demo/few.parquet", cwd=second.root)
    assert is_here(second) == {"few"}


def test_a_remote_known_but_not_enabled_is_enabled(ready: Archive, tmp_path: Path) -> None:
    git("clone", "--quiet", ready.root, tmp_path / "second", cwd=tmp_path)
    git("annex", "init", "--quiet", "--no-autoenable", cwd=tmp_path / "second")
    second = Archive(tmp_path / "second")
    assert annex.setup(second)[0] == "enabled the special remote llm-traces"
    git("annex", "get", "--quiet", "data/demo/few.parquet", cwd=second.root)
    assert is_here(second) == {"few"}


def test_two_clones_set_up_apart_agree_when_they_meet(published: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for each in (one, two):
        git("clone", "--quiet", "--single-branch", published, each, cwd=tmp_path)
        annex.setup(Archive(each))
    git("remote", "add", "two", two, cwd=one)
    git("fetch", "--quiet", "two", "git-annex", cwd=one)
    git("annex", "merge", "--quiet", cwd=one)
    assert annex.setup(Archive(one)) == []
    git("annex", "get", "--quiet", cwd=one)
    assert are_right(one)


def test_without_setup_datalad_gets_nothing_and_says_nothing(clone: Archive) -> None:
    ran = run("datalad", "get", "data/demo", cwd=clone.root)
    assert ran.stdout == ""
    assert is_here(clone) == set()


def test_get_sets_up_and_works_from_a_folder_below(clone: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.root / "data" / "demo")
    archive = Archive.find()
    get(archive, archive.select(["demo/few"]))
    assert is_here(archive) == {"few"}
    git("annex", "get", "--quiet", "many.parquet", cwd=Path.cwd())
    assert are_right(archive.root)
    get(archive, archive.select())


def test_get_says_what_is_not_here_why_and_what_next(clone: Archive, unreachable: None, home: Path) -> None:
    with pytest.raises(Problem) as caught:
        get(clone, clone.select(["demo/few"]))
    text = str(caught.value)
    assert text.startswith("demo/few: content is not available\n")
    assert "demo: few.csv " in text
    assert f"mirror {home}/no-such-folder: no such folder" in text
    assert f"put the file at {home}/no-such-folder/demo/few.csv" in text
    assert caught.value.exit_code != 0


def test_get_of_a_workload_that_was_never_built_and_has_no_pin(clone: Archive) -> None:
    lock = clone.lock
    lock["resources"] = lock["resources"][:1]
    (clone.root / "datapackage.json").write_text(json.dumps(lock))
    clone.reread()
    recipe = clone.root / "recipes" / "demo.toml"
    recipe.write_text(re.sub(r'(?<=name = "many.csv"), sha256 = "\w+"', "", recipe.read_text()))
    archive = Archive(clone.root)
    with pytest.raises(BadUse, match=r"demo/many: neither in datapackage.json nor pinned(.|\n)*llm-traces pin demo"):
        get(archive, archive.select(["demo/many"]))


def test_get_of_what_has_lost_its_link(clone: Archive) -> None:
    (clone.root / "data/demo/few.parquet").unlink()
    with pytest.raises(BadUse, match=r"the link to the content is missing(.|\n)*git checkout -- data/demo/few.parquet"):
        get(clone, clone.select(["demo/few"]))


@pytest.mark.parametrize("command", [("datalad", "get"), ("git", "annex", "get")])
def test_the_reason_reaches_the_user_of_datalad_and_git_annex(
    ready: Archive, unreachable: None, command: tuple[str, ...]
) -> None:
    ran = run(*command, "data/demo/few.parquet", cwd=ready.root, good=False)
    assert ran.returncode != 0
    told = [line for line in (ran.stdout + ran.stderr).splitlines() if "few.csv " in line]
    assert len(told) == 1
    assert "tried: cache: not there; mirror " in told[0]
    assert " | next: put the file at " in told[0]
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_key_that_is_not_in_the_lock_and_storing_are_refused(ready: Archive) -> None:
    (ready.root / "data" / "own").write_text("mine")
    git("annex", "add", "--quiet", "data/own", cwd=ready.root)
    ran = run("git", "annex", "copy", "data/own", "--to", annex.REMOTE, cwd=ready.root, good=False)
    assert "llm-traces is read-only: its files are built from pinned upstream bytes" in ran.stdout + ran.stderr
    key = git("annex", "lookupkey", "data/own", cwd=ready.root).strip()
    git("annex", "drop", "--quiet", "--force", "data/own", cwd=ready.root)
    git("annex", "setpresentkey", key, annex.REMOTE_UUID, "1", cwd=ready.root)
    ran = run("git", "annex", "get", "data/own", cwd=ready.root, good=False)
    assert f"{key}: is not a key of datapackage.json in this checkout" in ran.stdout + ran.stderr


def test_a_build_that_differs_from_the_lock_is_refused(clone: Archive) -> None:
    lock = clone.lock
    wrong = links.locked_key("0" * 64, 7)
    lock["resources"][0] |= {"hash": f"sha256:{'0' * 64}", "bytes": 7}
    (clone.root / "datapackage.json").write_text(json.dumps(lock))
    clone.reread()
    path = clone.root / lock["resources"][0]["path"]
    path.unlink()
    path.symlink_to(links.link_target(lock["resources"][0]["path"], wrong))
    git("commit", "--quiet", "--all", "--message", "Wrong", cwd=clone.root)
    annex.setup(clone)
    ran = run("git", "annex", "get", path, cwd=clone.root, good=False)
    assert f"demo/few: the built file differs from datapackage.json | expected: {wrong}" in ran.stderr
    assert not path.exists()
    assert not [each for each in (clone.root / ".git" / "annex" / "tmp").glob("*") if each.is_file()]


def test_a_foreign_special_remote_of_the_name_is_refused(clone: Archive, tmp_path: Path) -> None:
    git("annex", "init", "--quiet", cwd=clone.root)
    config = ("type=directory", f"directory={tmp_path}", "encryption=none")
    git("annex", "initremote", "--quiet", annex.REMOTE, *config, cwd=clone.root)
    before = refs(clone)
    with pytest.raises(BadUse, match="another remote has the name") as caught:
        annex.setup(clone)
    assert "git clone --single-branch" in caught.value.details["next"]
    assert refs(clone) == before
    # Seen by another clone, which would enable it by itself.
    git("clone", "--quiet", clone.root, tmp_path / "second", cwd=tmp_path)
    with pytest.raises(BadUse, match=r"type=directory, in the git-annex branch"):
        annex.setup(Archive(tmp_path / "second"))


def test_a_git_remote_of_the_name_is_refused_and_renaming_it_helps(clone: Archive, tmp_path: Path) -> None:
    git("init", "--quiet", tmp_path / "elsewhere", cwd=tmp_path)
    git("remote", "add", annex.REMOTE, tmp_path / "elsewhere", cwd=clone.root)
    with pytest.raises(BadUse, match="another remote has the name") as caught:
        annex.setup(clone)
    command, last = caught.value.details["next"].replace("OTHER", "other").split("; ")
    assert last == "llm-traces setup"
    run(*command.split(), cwd=clone.root)
    assert "added the special remote llm-traces" in annex.setup(clone)


def test_our_uuid_with_a_foreign_configuration_is_refused(clone: Archive) -> None:
    git("annex", "init", "--quiet", cwd=clone.root)
    config = ("type=external", "externaltype=llm-traces", "encryption=shared", f"uuid={annex.REMOTE_UUID}")
    git("annex", "initremote", "--quiet", annex.REMOTE, *config, cwd=clone.root)
    with pytest.raises(BadUse, match="in the git-annex branch") as caught:
        annex.setup(clone)
    assert "encryption=shared" in caught.value.details["got"]


def test_missing_and_old_programs_are_named(clone: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("git", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadUse, match=r"git-annex: not found on PATH\n.*\n.*pip install --upgrade git-annex"):
        annex.setup(clone)
    (tmp_path / "git-annex").write_text("#!/bin/sh\necho 8.20210223\n")
    (tmp_path / "git-annex").chmod(0o755)
    with pytest.raises(BadUse, match=r"git-annex: is too old\n.*10.20230126 or newer\n.*8.20210223"):
        annex.setup(clone)
    (tmp_path / "git-annex").write_text("#!/bin/sh\necho 10.20230126\n")
    with pytest.raises(BadUse, match="git-annex-remote-llm-traces: not found on PATH"):
        annex.setup(clone)


def test_outside_a_git_repository(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    with pytest.raises(BadUse, match="is not a git repository"):
        annex.setup(Archive(tmp_path / "copy"))
    file = tmp_path / "copy" / "made"
    file.write_text("made")
    links.store(tmp_path / "copy", "data/demo/few.parquet", file, "-", 4)
    assert (tmp_path / "copy" / "data" / "demo" / "few.parquet").read_text() == "made"
    assert not (tmp_path / "copy" / "data" / "demo" / "few.parquet").is_symlink()
    assert not (tmp_path / "copy" / ".git").exists()


def test_a_machine_without_an_identity(clone: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(empty))
    assert annex.setup(clone)[-1].startswith("note: git has no user.name")
    assert annex.setup(clone) == []
    get(clone, clone.select(["demo/few"]))
    assert is_here(clone) == {"few"}
    assert "user." not in git("config", "--local", "--list", cwd=clone.root)
    assert empty.read_text() == "[user]\n\tuseConfigOnly = true\n"


def stored(archive: Archive, name: str, content: bytes) -> Path:
    """Store the right bytes of a workload anew, and return its path."""
    workload = archive.recipe("demo").workload(name)
    locked = archive.locked[str(workload)]
    file = archive.root / "made.part"
    file.write_bytes(content)
    links.store(archive.root, workload.path, file, locked["hash"].removeprefix("sha256:"), locked["bytes"])
    assert not file.exists()
    return archive.root / workload.path


@pytest.mark.parametrize("before", ["dangling", "present", "plain", "unlocked", "absent"])
def test_store_replaces_what_stood_there(ready: Archive, published: Path, before: str) -> None:
    content = (published / "data" / "demo" / "few.parquet").read_bytes()
    path = ready.root / "data" / "demo" / "few.parquet"
    if before in ("present", "unlocked"):
        stored(ready, "few", content)
    if before == "unlocked":
        git("annex", "unlock", "--quiet", path, cwd=ready.root)
        assert not path.is_symlink()
    if before in ("plain", "absent"):
        path.unlink()
    if before == "plain":
        path.write_bytes(b"anything")
    path = stored(ready, "few", content)
    assert path.is_symlink()
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert stat.S_IMODE(path.resolve().parent.stat().st_mode) == 0o555
    git("add", path, cwd=ready.root)
    assert git("status", "--short", cwd=ready.root) == ""
    assert "fixing location log" not in git("annex", "fsck", path, cwd=ready.root)
    assert "here" in git("annex", "whereis", path, cwd=ready.root)


def test_what_was_stored_before_setup_is_recorded_by_it(clone: Archive, published: Path) -> None:
    stored(clone, "few", (published / "data" / "demo" / "few.parquet").read_bytes())
    assert annex.setup(clone)[-1] == "recorded 1 file as present here"
    assert "fixing location log" not in git("annex", "fsck", "data/demo/few.parquet", cwd=clone.root)
    assert annex.setup(clone) == []


def test_a_worktree_is_refused_until_it_is_set_up(clone: Archive, published: Path, tmp_path: Path) -> None:
    git("worktree", "add", "--quiet", tmp_path / "tree", cwd=clone.root)
    tree = Archive(tmp_path / "tree")
    content = (published / "data" / "demo" / "few.parquet").read_bytes()
    with pytest.raises(BadUse, match=r"data/demo/few.parquet: can't be stored(.|\n)*llm-traces setup"):
        stored(tree, "few", content)
    (tree.root / "made.part").unlink()
    annex.setup(tree)
    assert stored(tree, "few", content).read_bytes() == content
    assert is_here(clone) == {"few"}
    assert git("status", "--short", cwd=tree.root) == ""


def test_without_annexremote_setup_and_the_special_remote_name_the_extra(
    clone: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "annexremote", None)
    with pytest.raises(BadUse, match=r"annexremote: is not installed(.|\n)*llm-trace-archive\[build\]"):
        annex.setup(clone)
    (tmp_path / "annexremote.py").write_text("raise ImportError\n")
    ran = subprocess.run(
        ["git-annex-remote-llm-traces"], input="", capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 1)
    assert "annexremote: is not installed" in ran.stderr and "llm-trace-archive[build]" in ran.stderr
    assert ran.returncode != 0


def test_run_by_hand_the_special_remote_says_who_runs_it() -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    ran = subprocess.run(["git-annex-remote-llm-traces"], stdin=theirs, capture_output=True, text=True)
    os.close(ours)
    os.close(theirs)
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 1)
    assert "only git-annex can run this program" in ran.stderr
    assert ran.returncode != 0


def test_the_special_remote_survives_requests_it_can_not_answer(published: Path) -> None:
    told = "PREPARE\nGETCOST\nGETAVAILABILITY\nNONSENSE\nCHECKPRESENT nokey\nWHEREIS nokey\nREMOVE nokey\n"
    ran = subprocess.run(
        ["git-annex-remote-llm-traces"], input=told, cwd=published / "data", capture_output=True, text=True
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "VERSION 1",
        "PREPARE-SUCCESS",
        "COST 250",
        "AVAILABILITY GLOBAL",
        "UNSUPPORTED-REQUEST",
        "CHECKPRESENT-FAILURE nokey",
        "WHEREIS-FAILURE",
        "REMOVE-FAILURE nokey llm-traces is read-only: its files are built from pinned upstream bytes; "
        "git annex drop frees the local copy",
    ]


def test_progress_is_the_share_of_the_upstream_bytes_told_a_per_cent_at_a_time(published: Path) -> None:
    told: list[int] = []
    remote = Remote(SimpleNamespace(progress=told.append))
    remote.archive = Archive(published)
    key, _ = links.workloads_by_key(remote.archive)
    size = remote.archive.locked["demo/few"]["bytes"]
    workload = remote.workload(key)
    whole = workload.files[0].bytes or 0
    progress = remote._progress(workload)
    for done in (0, whole // 2, whole // 2, whole):
        progress("few.csv", done, None)
    assert told == [size * (100 * (whole // 2) // whole) // 100, size]
