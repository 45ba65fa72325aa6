"""Plots: their rows are the numbers that other functions return, and their charts are valid Vega-Lite."""

from __future__ import annotations

import math
import re
from pathlib import Path

import altair
import pytest

import llm_trace_archive as lta
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.workload.open import open_requests
from llm_trace_archive.workload.plots.draw import PLOTS, draw, draw_all
from llm_trace_archive.workload.plots.study import WHOLE, Plot
from llm_trace_archive.workload.requests import Requests
from support.command import run_here
from support.programs import ROOT, Samples


@pytest.fixture(autouse=True)
def _in_samples(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)


def opened(name: str) -> Requests:
    table = lta.open(name)
    assert isinstance(table, Requests)
    return table


# Between them, these have all that a table can have.
NAMES = ["azure-2024/code", "burstgpt/2", "mooncake/conversation", "weka-claude-code/requests", "ragpulse/requests"]


@pytest.fixture(scope="module", params=NAMES)
def drawn(request: pytest.FixtureRequest, samples: Samples) -> tuple[Requests, dict[str, Plot | str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(samples.root)
        table = opened(request.param)
        return table, dict(zip(PLOTS, (plot for _, plot in draw_all(table)), strict=True))


def test_every_plot_is_a_valid_chart_with_rows_or_says_why_not(drawn: tuple[Requests, dict[str, Plot | str]]) -> None:
    for name, plot in drawn[1].items():
        if isinstance(plot, str):
            assert re.fullmatch(r"[A-Z0-9].{10,}\.", plot), name
            continue
        altair.Chart.from_dict(plot.full_spec)  # raises for what the schema of Vega-Lite does not know
        assert plot.rows
        assert plot.summary.endswith(".")
        assert plot.as_csv().count("\n") == len(plot.rows) + 1
        assert not any(
            isinstance(value, float) and not math.isfinite(value) for row in plot.rows for value in row.values()
        )


def test_all_plots_are_drawn_for_one_workload_or_another() -> None:
    tables = [opened(name) for name in (*NAMES[1:4], "qwen-bailian/chat")]
    tables.append(
        opened("azure-2023/code").derive("SELECT * REPLACE (output_tokens * 500000 AS latency_us) FROM rows", "")
    )
    found = {title for table in tables for title, plot in draw_all(table) if isinstance(plot, Plot)}
    assert found == {title for title, _ in PLOTS.values()}


def test_the_requests_over_time_are_all_of_them(drawn: tuple[Requests, dict[str, Plot | str]]) -> None:
    table, plots = drawn
    rate, profile = plots["rate"], table.profile()
    if isinstance(rate, str):
        assert profile.arrivals is None
        return
    assert sum(row["requests"] for row in rate.rows if row["window"] == WHOLE) == profile.rows
    busiest = [row["requests"] for row in rate.rows if row["window"] == "busiest minute"]
    if busiest and len({row["series"] for row in rate.rows}) == 1:
        assert profile.arrivals
        assert sum(busiest) == profile.arrivals.busiest_minute.requests


def test_the_lengths_are_the_percentiles_of_the_profile(drawn: tuple[Requests, dict[str, Plot | str]]) -> None:
    table, plots = drawn
    lengths, profile = plots["lengths"], table.profile()
    assert isinstance(lengths, Plot)
    assert profile.input_tokens
    found = {row["share"]: row["tokens"] for row in lengths.rows if row["series"] == "input"}
    assert found == table.percentiles("input_tokens", list(found))
    assert (found[0.5], found[0.9], found[0.99], found[1.0]) == (
        profile.input_tokens.p50, profile.input_tokens.p90, profile.input_tokens.p99, profile.input_tokens.max,
    )  # fmt: skip


def test_bins_count_every_request_once(drawn: tuple[Requests, dict[str, Plot | str]]) -> None:
    table, plots = drawn
    histogram, density = plots["histogram"], plots["density"]
    assert isinstance(histogram, Plot)
    assert isinstance(density, Plot)
    ((positive, both),) = table.fetch(
        "SELECT count(*) FILTER (input_tokens > 0), count(*) FILTER (input_tokens > 0 AND output_tokens > 0) FROM rows"
    )
    assert sum(row["requests"] for row in histogram.rows if row["series"] == "input") == positive
    assert sum(row["requests"] for row in density.rows) == both


def test_the_hit_ratios_are_those_of_hit_ratio() -> None:
    table = opened("mooncake/conversation")
    plot = draw(table, "hit-ratio")
    found = table.hit_ratio(blocks=[100, 1000])
    assert found
    drawn = {row["capacity_blocks"]: row["hit_ratio"] for row in plot.rows if row["series"] == "measured"}
    assert [drawn[point.capacity] for point in found.points] == [point.hit_ratio for point in found.points]


def test_published_hit_ratios_stand_beside_the_found_ones(mirror: Path, empty_archive: Archive) -> None:
    built = run_here("build", "mooncake/conversation", "--mirror", mirror, cwd=empty_archive.root)
    assert built.returncode == 0, built.stderr
    table = open_requests(Archive(empty_archive.root), "mooncake/conversation")
    rows = draw(table, "hit-ratio").rows
    published = [row for row in rows if row["series"].startswith("published: independent analysis")]
    assert [row["hit_ratio"] for row in published] == [0.052, 0.195, 0.278, 0.353, 0.363]
    found = table.hit_ratio(blocks=[row["capacity_blocks"] for row in published])
    assert found
    assert [point.hit_ratio for point in found.points] == pytest.approx([0.052, 0.195, 0.278, 0.353, 0.363], abs=0.0006)
    assert not any(row["series"].startswith("published") for row in draw(table.filter("true"), "hit-ratio").rows)


def test_requests_in_flight_are_counted_as_a_loop_counts_them() -> None:
    served = opened("azure-2023/code").derive("SELECT * REPLACE (output_tokens * 500000 AS latency_us) FROM rows", "")
    rows = draw(served, "concurrency").rows
    spans = served.fetch("SELECT arrival_us // 1, arrival_us + latency_us FROM rows")
    width = rows[1]["start_us"] - rows[0]["start_us"]
    assert max(row["in_flight"] for row in rows) > 2
    for row in rows:
        end = row["start_us"] + width
        assert row["in_flight"] == sum(start < end <= stop for start, stop in spans)


def test_failures_are_those_of_the_profile() -> None:
    table = opened("burstgpt/2")
    plot, failures = draw(table, "failures"), table.profile().failures
    assert failures
    assert (sum(r["requests"] for r in plot.rows), sum(r["failed"] for r in plot.rows)) == (
        failures.recorded, failures.failed,
    )  # fmt: skip


def test_a_notebook_shows_the_same_chart() -> None:
    table = opened("azure-2023/code")
    shown = table.plot("lengths")
    assert isinstance(shown, altair.LayerChart)
    assert shown.to_dict()["title"] == "Lengths of prompts and answers"
    assert len(shown._repr_mimebundle_()) == 2 or shown.to_html()


def test_what_the_rows_do_not_have_is_refused_with_the_reason() -> None:
    with pytest.raises(lta.Problem, match="azure-2023/code: can't draw turns: The upstream does not record sessions"):
        opened("azure-2023/code").plot("turns")
    with pytest.raises(lta.Problem, match="there is no plot 'rates'"):
        opened("azure-2023/code").plot("rates")


def test_every_plot_is_in_the_docs() -> None:
    page = (ROOT / "docs/report.md").read_text()
    for name, (title, _) in PLOTS.items():
        assert re.search(rf"^\| `{name}` \| {re.escape(title)} \|", page, re.MULTILINE), name
