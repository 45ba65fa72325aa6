"""`llm-traces get`: what it reports when content is not available."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from llm_trace_archive.annex.get import get
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse, Problem
from support.programs import git, run
from support.servers import site, slow
from support.small_archive import names_here


def test_get_reports_what_is_not_available_why_and_what_to_do_next(ready: Path, unreachable: Path) -> None:
    archive = Archive(ready)
    with pytest.raises(Problem) as caught:
        get(archive, archive.select(["demo/one"]))
    text = str(caught.value)
    assert text.startswith("demo/one: content is not available\n")
    assert "demo: one.csv is not available" in text
    assert f"mirror {unreachable}: no such folder" in text
    assert f"put the file at {unreachable}/demo/one.csv" in text
    assert text.splitlines()[-1].endswith("llm-traces get demo/one")
    assert caught.value.exit_code != 0


@pytest.mark.parametrize("command", [("datalad", "get"), ("git", "annex", "get")])
def test_the_reason_reaches_the_user_of_datalad_and_git_annex(
    ready: Path, unreachable: Path, command: tuple[str, ...]
) -> None:
    ran = run(*command, "data/demo/one.parquet", cwd=ready, good=False)
    assert ran.returncode != 0
    (line,) = [line for line in (ran.stdout + ran.stderr).splitlines() if "demo: one.csv is not available" in line]
    assert "tried: cache: not found; mirror " in line
    assert " | next: put the file at " in line
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_workload_that_is_neither_locked_nor_pinned_is_refused(clone: Path) -> None:
    recipe = clone / "recipes" / "demo.toml"
    recipe.write_text(re.sub(r'(?<=name = "two.csv"), sha256 = "\w+"', "", recipe.read_text()))
    archive = Archive(clone)
    with pytest.raises(BadUse, match=r"demo/two: neither in datapackage.json nor pinned(.|\n)*llm-traces pin demo"):
        get(archive, archive.select(["demo/two"]))


def test_a_workload_without_a_link_is_refused(clone: Path) -> None:
    (clone / "data/demo/one.parquet").unlink()
    archive = Archive(clone)
    with pytest.raises(BadUse, match=r"the link to the content is missing(.|\n)*git checkout -- data/demo/one.parquet"):
        get(archive, archive.select(["demo/one"]))


def test_a_pointer_that_covers_content_is_reported_with_the_command_that_helps(ready: Path) -> None:
    archive, path = Archive(ready), "data/demo/one.parquet"
    git("annex", "adjust", "--quiet", "--unlock", cwd=ready)
    get(archive, archive.select(["demo/one"]))
    (ready / path).unlink()
    (ready / path).write_text(git("show", f":{path}", cwd=ready))
    with pytest.raises(Problem, match=f"git-annex has the content, which git checkout -- {path}"):
        get(archive, archive.select(["demo/one"]))
    git("checkout", "--", path, cwd=ready)
    assert names_here(ready) == {"one"}


def test_the_second_of_two_gets_waits_for_the_first(ready: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (home / "mirror/demo/one.csv").read_bytes()
    with site() as served:
        served.scripts["/demo/one.csv"] = slow(content, len(content) // 20 + 1, 0.2)
        monkeypatch.setenv("LLM_TRACES_MIRROR", served.url)
        first = subprocess.Popen(["git", "annex", "get", "--quiet", "data/demo/one.parquet"], cwd=ready)
        while not served.requests:
            time.sleep(0.05)
        lines: list[str] = []
        get(Archive(ready), Archive(ready).select(["demo/one"]), lines.append)
        assert first.wait() == 0 and names_here(ready) == {"one"}
        assert lines == ["waiting for another process that is getting the same content"]
        assert served.requests == {"/demo/one.csv": 1}
