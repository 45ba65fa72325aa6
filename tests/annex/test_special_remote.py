"""The special remote, as git-annex runs it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from annexremote import RemoteError

from llm_trace_archive.annex.remote import Remote
from llm_trace_archive.annex.setup import REMOTE, REMOTE_UUID, setup
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from support.programs import git, run
from support.servers import HTML, plain, site
from support.small_archive import names_here

PROGRAM = "git-annex-remote-llm-traces"


def test_a_foreign_key_and_storing_are_refused(ready: Path) -> None:
    (ready / "data" / "own").write_text("mine")
    git("annex", "add", "--quiet", "data/own", cwd=ready)
    ran = run("git", "annex", "copy", "data/own", "--to", REMOTE, cwd=ready, good=False)
    assert "llm-traces is read-only: its files are built from pinned upstream bytes" in ran.stdout + ran.stderr
    key = git("annex", "lookupkey", "data/own", cwd=ready).strip()
    git("annex", "drop", "--quiet", "--force", "data/own", cwd=ready)
    git("annex", "setpresentkey", key, REMOTE_UUID, "1", cwd=ready)
    ran = run("git", "annex", "get", "data/own", cwd=ready, good=False)
    assert f"{key}: is not a key of datapackage.json in this checkout" in ran.stdout + ran.stderr


def test_a_build_that_differs_from_the_lock_is_refused(clone: Path) -> None:
    lock = json.loads((clone / "datapackage.json").read_text())
    wrong = links.locked_key("0" * 64, 7)
    resource = lock["resources"][0]
    resource |= {"hash": f"sha256:{'0' * 64}", "bytes": 7}
    (clone / "datapackage.json").write_text(json.dumps(lock))
    path = clone / resource["path"]
    path.unlink()
    path.symlink_to(links.link_target(resource["path"], wrong))
    git("commit", "--quiet", "--all", "--message", "Wrong", cwd=clone)
    setup(Archive(clone))
    ran = run("git", "annex", "get", path, cwd=clone, good=False)
    assert f"demo/one: the built file differs from datapackage.json | expected: {wrong}" in ran.stderr
    assert not path.exists()
    assert not [each for each in (clone / ".git" / "annex" / "tmp").glob("*") if each.is_file()]


def _flip_a_byte(mirror: Path) -> str:
    path = mirror / "demo" / "one.csv"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    return "same size, other content"


def _forget_the_recipe(mirror: Path) -> str:
    recipe = mirror.parent / "ready" / "recipes" / "demo.toml"
    recipe.write_text(recipe.read_text().replace('in = "s"', 'in = "ms"'))
    return "no build is sure to give the bytes of datapackage.json again"


@pytest.mark.parametrize("spoil", [_flip_a_byte, _forget_the_recipe])
def test_the_only_copy_is_not_dropped_if_a_source_can_not_give_it_back(
    ready: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], str]
) -> None:
    path = ready / "data/demo/one.parquet"
    git("annex", "get", "--quiet", path, cwd=ready)
    mirror = Path(shutil.copytree(home / "mirror", tmp_path / "mirror"))
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(mirror))
    before = git("annex", "checkpresentkey", path.resolve().name, REMOTE, cwd=ready)
    assert before == ""
    why = spoil(mirror)
    for command in (["annex", "drop", path], ["annex", "checkpresentkey", path.resolve().name, REMOTE]):
        ran = run("git", *command, cwd=ready, good=False)
        assert ran.returncode == (1 if "drop" in command else 100), "it is unknown whether it can be built"
        assert why in ran.stdout + ran.stderr
    assert names_here(ready) == {"one"}


def test_the_only_copy_is_not_dropped_for_a_web_page(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("annex", "get", "--quiet", "data/demo/one.parquet", cwd=ready)
    with site() as served:
        served.scripts["/demo/one.csv"] = plain(HTML)
        monkeypatch.setenv("LLM_TRACES_MIRROR", served.url)
        ran = run("git", "annex", "drop", "data/demo/one.parquet", cwd=ready, good=False)
    assert ran.returncode and "but 65 bytes" in ran.stdout + ran.stderr
    assert names_here(ready) == {"one"}


def test_run_by_hand_it_names_the_program_that_runs_it() -> None:
    ours, theirs = pty.openpty()
    ran = subprocess.run([PROGRAM], stdin=theirs, capture_output=True, text=True)
    os.close(ours)
    os.close(theirs)
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 1)
    assert "only git-annex can run this program" in ran.stderr
    assert ran.returncode != 0


def test_without_annexremote_it_prints_one_line_that_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "annexremote.py").write_text("raise ImportError\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([PROGRAM], input="", capture_output=True, text=True, env=environment)
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 1)
    assert "annexremote: is not installed" in ran.stderr and "llm-trace-archive[build]" in ran.stderr
    assert ran.returncode != 0


def test_it_survives_requests_that_it_can_not_answer(home: Path) -> None:
    requests = "PREPARE\nGETCOST\nGETAVAILABILITY\nNONSENSE\nCHECKPRESENT nokey\nWHEREIS nokey\nREMOVE nokey\n"
    ran = subprocess.run([PROGRAM], input=requests, cwd=home / "published/data", capture_output=True, text=True)
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


def test_outside_a_repository_it_answers_with_the_reason(tmp_path: Path) -> None:
    ran = subprocess.run([PROGRAM], input="CHECKPRESENT key\n", cwd=tmp_path, capture_output=True, text=True)
    assert "CHECKPRESENT-UNKNOWN key" in ran.stdout and "is not in the working tree of a git" in ran.stdout
    assert ran.stderr == ""


def test_a_bug_is_an_answer_that_asks_for_a_report(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(SimpleNamespace())
    remote.archive = Archive(home / "published")
    monkeypatch.setattr(links, "workloads_by_key", lambda archive: 1 / 0)
    with pytest.raises(
        RemoteError, match=r"key: llm-traces failed \| reason: ZeroDivisionError.* \| next: report this"
    ):
        remote.checkpresent("key")


def test_progress_is_the_share_of_upstream_bytes_reported_once_per_cent(home: Path) -> None:
    reported: list[int] = []
    remote = Remote(SimpleNamespace(progress=reported.append))
    remote.archive = Archive(home / "published")
    key = next(iter(links.workloads_by_key(remote.archive)))
    size = remote.archive.locked["demo/one"]["bytes"]
    workload = remote.workload(key)
    whole = workload.files[0].bytes or 0
    progress = remote._progress(workload)
    for done in (0, whole // 2, whole // 2, whole):
        progress("one.csv", done, None)
    assert reported == [size * (100 * (whole // 2) // whole) // 100, size]
