"""What servers, upstream files and recipes say is printed as text: no terminal obeys it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.annex.messages import to_line
from llm_trace_archive.cli.terminal import print_table
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.core.text import echo
from support import servers
from support.command import run_here
from support.programs import ROOT
from support.small_archive import publish

# As TOML writes it: a title of the window, a colour, reversed text, a line end.
EVIL = r"\u001b]0;mine\u0007", r"\u009b31m", r"\u202Etxt.exe", r"\u2028"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@given(st.text())
def test_no_text_reaches_the_terminal_raw(text: str) -> None:
    problem = Problem(text, text, got=text, **{text or "label": text})
    assert not OBEYED.search(str(problem))
    assert not OBEYED.search(to_line(problem)) and "\n" not in to_line(BadUse("subject", "message", got=text))


def test_a_line_of_a_message_has_an_end() -> None:
    assert max(map(len, str(Problem("x" * 10**6, "y", got="z" * 10**6)).splitlines())) < 5000


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_a_cell_of_a_table_stays_in_its_row(cells: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda text, **_: lines.append(text))
        print_table(("a", "b"), [cells, ("c", "d")])
        echo(cells[0], err=True)
    assert len(lines) == 4 and not any(OBEYED.search(line) for line in lines)
    assert not any("\n" in line for line in lines[:3])


@pytest.mark.parametrize("evil", EVIL)
def test_a_recipe_with_control_characters_is_refused_and_they_are_spelled_out(
    empty_archive: Archive, evil: str
) -> None:
    recipe = empty_archive.root / "recipes" / "kavier.toml"
    recipe.write_text(re.sub('(?m)^title = "', lambda found: found[0] + evil, recipe.read_text(), count=1))
    for command in ("info", "kavier"), ("list",), ("list", "--json"), ("validate",), ("describe",):
        done = run_here(*command, cwd=empty_archive.root)
        assert done.returncode == 2 and "has the control character" in done.stderr
        assert not OBEYED.search(done.stdout + done.stderr), repr(done.stdout + done.stderr)


def test_what_a_server_says_is_printed_as_text(tmp_path: Path) -> None:
    with servers.site() as site:
        archive, _ = publish(tmp_path, site.url, {"log": ("log.csv", 3)})
        site.scripts["/log.csv"] = servers.raw(b"HTTP/1.1 503 \x1b[2J\x1b]0;mine\x07\r\nContent-Length: 0\r\n\r\n")
        for command in "build", "pin", "get":
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            done = run_here(
                command, "demo", cwd=archive.root, LLM_TRACES_CACHE=str(tmp_path / "cache"), LLM_TRACES_TIMEOUT="1"
            )
            if command != "get":  # the content is here
                assert "HTTP 503 \\x1b[2J" in done.stderr
            assert not OBEYED.search(done.stdout + done.stderr)


def test_commands_print_in_one_place() -> None:
    """All output goes through `echo`, so that none can be forgotten; rows go through `write_to`."""
    folder = ROOT / "src" / "llm_trace_archive" / "cli"
    calls = {
        (path.name, line.strip())
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"(?<![\w.])print\(|typer\.(echo|secho)|\.write\(", line)
    }
    assert [name for name, _ in calls] == ["interrupt.py"], calls
