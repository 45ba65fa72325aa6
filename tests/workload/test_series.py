"""Requests and tokens per bin of time."""

from __future__ import annotations

import pandas as pd
import pytest

import llm_trace_archive as lta
from support.command import run_here
from support.programs import Samples


@pytest.fixture(autouse=True)
def _in_samples(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)


@pytest.mark.parametrize("name", ["azure-2023/code", "ragpulse/requests", "azure-2023"])
def test_every_bin_from_the_first_arrival_to_the_last_is_there(name: str, samples: Samples) -> None:
    opened = lta.open(name)
    found = opened.rate("10min").pandas()  # type: ignore[attr-defined]
    run = ["trace", "workload", "segment"]
    rows = opened.pandas()
    rows["start_us"] = rows.arrival_us // 600_000_000 * 600_000_000
    expected = rows.groupby([*run, "start_us"], observed=True).agg(
        requests=("arrival_us", "size"), input_tokens=("input_tokens", "sum"), output_tokens=("output_tokens", "sum")
    )
    full = found.set_index([*run, "start_us"])
    counted = full[full.requests > 0]
    pd.testing.assert_frame_equal(
        counted.sort_index().astype("int64"), expected.sort_index().astype("int64"), check_index_type=False
    )
    assert (full[full.requests == 0][["input_tokens", "output_tokens"]] == 0).all(axis=None)
    for _, part in found.groupby(run, observed=True):
        assert part.start_us.diff().dropna().unique().tolist() in ([600_000_000], [])


def test_tokens_that_are_not_counted_for_every_request_are_null() -> None:
    some = lta.open("azure-2023/code").derive(
        "SELECT * REPLACE (CASE WHEN request_id > 0 THEN input_tokens END AS input_tokens) FROM rows", "some"
    )
    first, *others = some.rate("1min").arrow()["input_tokens"].to_pylist()  # type: ignore[attr-defined]
    assert first is None
    assert None not in others


def test_requests_without_arrivals_have_no_rate() -> None:
    with pytest.raises(lta.Problem, match="kavier/prefill: can't answer rate: requests have no arrival"):
        lta.open("kavier/prefill").rate("1s")  # type: ignore[attr-defined]


def test_requests_of_which_some_have_no_arrival_have_no_rate_until_they_are_left_out() -> None:
    some = lta.open("azure-2023/code").derive(
        "SELECT * REPLACE (CASE WHEN request_id > 9 THEN arrival_us END AS arrival_us) FROM rows", "some"
    )
    with pytest.raises(lta.Problem, match="10 of 182 have none"):
        some.rate("1min")  # type: ignore[attr-defined]
    rest = some.filter("arrival_us IS NOT NULL").rate("1min")  # type: ignore[attr-defined]
    assert sum(rest.arrow()["requests"].to_pylist()) == 172


@pytest.mark.parametrize("per", ["0s", "soon", "-1s", "1us"])
def test_a_width_that_makes_no_sense_is_refused(per: str) -> None:
    with pytest.raises(lta.Problem):
        lta.open("ragpulse").rate(per)  # type: ignore[attr-defined]


def test_the_command_prints_the_bins(samples: Samples) -> None:
    ran = run_here("rate", "azure-2023/code", "--per", "1h", "--format", "csv", cwd=samples.root)
    assert ran.returncode == 0, ran.stderr
    head, *rows = ran.stdout.splitlines()
    assert head == '"trace","workload","segment","start_us","requests","input_tokens","output_tokens"'
    assert sum(int(row.split(",")[4]) for row in rows) == lta.open("azure-2023/code").arrow().num_rows


def test_another_kind_of_table_has_no_rate(samples: Samples) -> None:
    ran = run_here("rate", "kavier/utilisation", cwd=samples.root)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        2,
        "kavier/utilisation: a table of telemetry, not of requests",
    )
