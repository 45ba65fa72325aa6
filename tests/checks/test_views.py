"""Clean views of recipes: the rows that each removes are checked, and a wrong recipe is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llm_trace_archive.checks.figures import check_figures
from llm_trace_archive.checks.result import Result
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.recipe import View
from llm_trace_archive.core.table import Table
from support.tables import requests_in


def results(folder: Path, *views: View) -> list[Result]:
    made = requests_in(folder)(failed=[True, False, None, False])
    (workload,) = made.source.workloads
    with Table(folder / "0.parquet") as table:
        return list(check_figures(replace(workload, published=(), expect={}, views=views), table))


@pytest.mark.parametrize(("removes", "tolerance", "holds"), [(2, 0, True), (1, 0, False), (1, 1, True), (4, 1, False)])
def test_the_rows_that_a_view_removes_are_checked(tmp_path: Path, removes: int, tolerance: float, holds: bool) -> None:
    (found,) = results(tmp_path, View("succeeded", "those", "NOT failed", "a source", removes, tolerance))
    assert (found.found, found.holds, found.source) == (2, holds, "a source")


def test_a_rule_that_is_no_sql_is_a_finding(tmp_path: Path) -> None:
    (found,) = results(tmp_path, View("wrong", "those", "fails > 1", "a source", 0))
    assert not found.holds
    assert 'column "fails" not found' in str(found.found)


def test_a_view_without_a_known_number_is_not_checked(tmp_path: Path) -> None:
    assert results(tmp_path, View("some", "those", "failed", "a source")) == []


def test_ragpulse_has_13_requests_that_look_like_tests(mirror: Path, tmp_path: Path) -> None:
    lines = (mirror / "ragpulse" / "0_trace.jsonl").read_text(encoding="utf-8").split("\n")
    ids = [json.loads(line)["session_id"] for line in lines if line]
    table = requests_in(tmp_path)("ragpulse/requests", session_id=ids)
    (view,) = table.source.workloads[0].views
    assert len(ids) - table.view(view.name).arrow().num_rows == view.removes == 13


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("removes = { requests = 13 }", "removes = { request = 13 }", "there is no workload 'request'"),
        ('only = ["requests"]', 'only = ["week"]', "there is no workload 'week'"),
        ("removes = { requests = 13 }", "removes = { requests = -1 }", "-1 is less than the minimum"),
        ('title = "Requests without', 'titel = "Requests without', "unknown key"),
    ],
)
def test_a_wrong_view_is_refused_with_its_line(empty_archive: Archive, old: str, new: str, fault: str) -> None:
    path = empty_archive.root / "recipes" / "ragpulse.toml"
    text = path.read_text()
    path.write_text(text.replace(old, new))
    with pytest.raises(BadUse, match=fault) as caught:
        _ = empty_archive.recipes
    first = text[: text.index("[[views]]")].count("\n") + 1
    assert any(f"line {line}: views" in str(caught.value) for line in range(first, first + 7)), str(caught.value)
