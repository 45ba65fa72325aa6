"""Shaping: which requests are left, and when they arrive."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_trace_archive as lta
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.workload.records import database
from support.tables import MakeRequests, requests_in, seconds

S = 1_000_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeRequests:
    return requests_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """A test that expects a warning says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", lta.ShapeWarning)
        yield


def column(requests: lta.Requests, name: str) -> list[Any]:
    return requests.arrow().column(name).to_pylist()


# -- which requests ----------------------------------------------------------------------------------------------------


def test_a_filter_is_an_sql_condition(make: MakeRequests) -> None:
    table = make(output_tokens=[0, 5, None, 7], arrival_us=[0, 1, 2, 3])
    assert column(table.filter("output_tokens > 0 -- not failed"), "request_id") == [1, 3]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("outputs > 0", 'column "outputs" not found(.|\n)*nearest .*output_tokens'),
        ("output_tokens >", "syntax error"),
        ("model > 1", "convert|compare|cast"),
        ("1) UNION (SELECT 1", "is no condition"),
    ],
)
def test_a_wrong_filter_is_refused_at_once(make: MakeRequests, expression: str, message: str) -> None:
    with pytest.raises(BadUse, match=message):
        make(model=["x"]).filter(expression).arrow()


def test_a_window_is_half_open_and_starts_at_the_first_arrival(make: MakeRequests) -> None:
    table = make(arrival_us=[100 * S, 101 * S, 102 * S, 103 * S, 104 * S])
    assert column(table.window(1, 3), "request_id") == [1, 2]
    assert column(table.window("1s", duration="2000ms"), "request_id") == [1, 2]


def test_a_window_by_date_counts_from_the_epoch(make: MakeRequests) -> None:
    table = make("azure-2023/code", arrival_us=[18 * 3600 * S, (18 * 3600 + 60) * S, (18 * 3600 + 120) * S])
    assert column(table.window("2023-11-16 18:01", duration="1min"), "request_id") == [1]
    with pytest.raises(BadUse, match="is a date, but the arrivals have none"):
        table.rebase().window("2023-11-16 18:01", duration="1min")


def test_a_window_keeps_sessions_whole_or_cuts_them_and_says_how_many_requests_lie_outside(make: MakeRequests) -> None:
    table = make(
        arrival_us=[0, 10 * S, 11 * S, 12 * S, 19 * S, 25 * S, 30 * S, 40 * S],
        session_id=["a", "b", "a", None, "c", "b", "a", None],
    )
    with pytest.warns(lta.ShapeWarning, match="1 request of its sessions after its end are kept; 1 request in it"):
        whole = table.window(10, 20)
    assert column(whole, "request_id") == [1, 3, 4, 5]
    with pytest.warns(lta.ShapeWarning, match="1 request before it and 2 after it are left out"):
        cut = table.window(10, 20, sessions="cut")
    assert column(cut, "request_id") == [1, 2, 3, 4]


def test_a_window_goes_by_the_clock_of_each_segment(make: MakeRequests) -> None:
    table = make(arrival_us=[0, 5 * S, 9 * S, 100 * S, 105 * S, 109 * S], segment=[0, 0, 0, 1, 1, 1])
    assert column(table.window(4, 6), "request_id") == [1, 4]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((100, 200), "holds no request(.|\n)*3 within 4s of the first"),
        ((3, 1), "ends before it starts"),
        ((-1, 1), "must be at least 0"),
        (("five", 6), "'five' is no length of time"),
        ((0, None), "needs either an end or a duration"),
    ],
)
def test_windows_outside_the_trace_are_refused(make: MakeRequests, window: Any, message: str) -> None:
    with pytest.raises(BadUse, match=message):
        make(arrival_us=[0, 2 * S, 4 * S]).window(*window)


def test_a_window_that_is_nearly_empty_or_a_ramp_is_said(make: MakeRequests) -> None:
    table = make(arrival_us=sorted([*range(0, 1000 * S, 100 * S), *range(1000 * S, 1100 * S, S // 4)]))
    with pytest.warns(lta.ShapeWarning, match="nearly empty"):
        table.window(0, 500)
    with pytest.warns(lta.ShapeWarning, match="is a ramp: 0.01 requests/s in its first half, 4.01 in"):
        table.window(900, 1100)


def test_a_view_is_a_rule_of_the_recipe(make: MakeRequests) -> None:
    table = make(failed=[False, True, None, False])
    assert column(table.view("succeeded"), "request_id") == [0, 3]
    with pytest.raises(BadUse, match=r"there is no view 'good'(.|\n)*succeeded, busy"):
        table.view("good")


def test_views_decide_no_bytes(make: MakeRequests) -> None:
    from dataclasses import replace

    (workload,) = make(failed=[True]).source.workloads
    assert workload.views
    without = replace(workload, views=())
    assert (without.digest, without.facts()) == (workload.digest, workload.facts())


def test_a_context_is_dropped_or_clipped_to_whole_blocks(make: MakeRequests) -> None:
    table = make(
        input_tokens=[32, 100, 10, 40],
        output_tokens=[8, 10, 500, None],
        cached_tokens=[None, 90, 5, 3],
        hash_ids=[[1, 2], [1, 2, 3, 4, 5, 6, 7], None, [1, 2, 3]],
    )
    assert column(table.max_context(40), "request_id") == [0, 3]
    with pytest.warns(lta.ShapeWarning, match="2 requests of unknown length are kept"):
        assert column(make(input_tokens=[9, None, None]).max_context(8), "request_id") == [1, 2]
    clipped = table.max_context(45, "clip")
    assert column(clipped, "input_tokens") == [32, 32, 1, 40]
    assert column(clipped, "output_tokens") == [8, 10, 44, None]
    assert column(clipped, "cached_tokens") == [None, 32, 1, 3]
    assert column(clipped, "hash_ids") == [[1, 2], [1, 2], None, [1, 2, 3]]


def test_the_first_requests(make: MakeRequests) -> None:
    table = make(failed=[True, False, False, False]).filter("NOT failed")
    assert column(table.limit(2), "request_id") == [1, 2]
    assert column(table.limit(9), "request_id") == [1, 2, 3]


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 2), max_size=4)), min_size=1, max_size=60),
    st.integers(0, 3),
)
def test_a_sample_keeps_together_what_belongs_together(
    make: MakeRequests, rows: list[tuple[int, list[int]]], seed: int
) -> None:
    table = make(session_id=[f"s{session}" for session, _ in rows], hash_ids=[ids or None for _, ids in rows])
    everything = table.arrow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lta.ShapeWarning)
        for by, key in (("session", "session_id"), ("prefix", "hash_ids"), ("request", "request_id")):
            if by == "prefix" and not any(ids for _, ids in rows):
                continue
            assert table.thin(1, by=by, seed=seed).arrow().equals(everything)
            half = table.thin(0.5, by=by, seed=seed, depth=1 if by == "prefix" else None)
            again = table.thin(0.5, by=by, seed=seed, depth=1 if by == "prefix" else None)
            assert half.arrow().equals(again.arrow())
            kept = column(half, "request_id")
            assert kept == sorted(kept)
            values = everything.column(key).to_pylist()
            groups = [value[0] if by == "prefix" and value else value for value in values]
            inside = {groups[at] for at in kept if groups[at] is not None}
            assert all(at in kept for at, group in enumerate(groups) if group in inside)
            if by == "request":
                assert len(kept) == -(-len(rows) // 2)


def test_another_seed_gives_another_sample(make: MakeRequests) -> None:
    table = make(session_id=[str(at) for at in range(100)])
    samples = {tuple(column(table.thin(0.1, seed=seed), "request_id")) for seed in range(5)}
    assert len(samples) == 5
    assert {len(sample) for sample in samples} == {10}
    assert {len(column(table.thin(0.9, seed=seed), "request_id")) for seed in range(5)} == {90}


def test_the_depth_of_families_is_the_least_that_suits_the_share(make: MakeRequests) -> None:
    # All share the first two blocks, 100 families the third.
    table = make(hash_ids=[[1, 2, 3 + at % 100, 200 + at] for at in range(1000)])
    assert table.families_for(0.1).depth == 3
    sample = table.thin(0.1, by="prefix", seed=1)
    assert "depth=3" in sample.chain
    assert len({ids[2] for ids in column(sample, "hash_ids")}) == 10
    with pytest.warns(lta.ShapeWarning, match="the largest family has 100.0% of the requests"):
        make(hash_ids=[[1]] * 10).thin(0.1, by="prefix")


@pytest.mark.parametrize(
    ("step", "arguments", "message"),
    [
        ("thin", (0,), "above 0 and at most 1"),
        ("thin", (0.5, "user"), "there is no by 'user'"),
        ("thin", (0.5, "session"), "no request has one"),
        ("thin", (0.5, "prefix"), "no request has them"),
        ("limit", (0,), "at least 1"),
        ("max_context", (1,), "at least 2"),
        ("max_context", (100,), "needs input_tokens"),
        ("max_context", (100, "cut"), "there is no how 'cut'"),
        ("scale", (-1,), "must be above 0"),
        ("scale", (), "needs either rate or requests_per_s"),
        ("shift", ("-1min",), "before the epoch"),
        ("repeat", ("1h", ), "arrive at different times"),
        ("merge", (), "needs another table"),
    ],
)  # fmt: skip
def test_wrong_steps_are_refused(make: MakeRequests, step: str, arguments: Any, message: str) -> None:
    with pytest.raises(BadUse, match=message):
        getattr(make(arrival_us=[0, 0]), step)(*arguments)


@pytest.mark.parametrize("step", ["window", "scale", "rebase", "shift", "repeat"])
def test_steps_in_time_need_arrivals(make: MakeRequests, step: str) -> None:
    arguments = {"window": (0, 1), "scale": (2,), "shift": (1,), "repeat": (1,)}.get(step, ())
    with pytest.raises(BadUse, match="needs arrivals, and no request has one"):
        getattr(make(input_tokens=[1, 2]), step)(*arguments)
    with pytest.raises(BadUse, match="no request is left"):
        getattr(make(arrival_us=[1]).filter("false"), step)(*arguments)


# -- when they arrive --------------------------------------------------------------------------------------------------

arrivals = st.lists(st.integers(0, 10**13), min_size=1, max_size=30).map(sorted)
sessions = st.lists(st.none() | st.sampled_from("abc"), min_size=30, max_size=30)


@settings(max_examples=20)
@given(arrivals, sessions)
def test_twice_the_rate_halves_gaps(make: MakeRequests, times: list[int], ids: list[str | None]) -> None:
    table = make(arrival_us=times, session_id=ids[: len(times)])
    fast = table.scale(2)
    assert column(fast, "request_id") == list(range(len(times)))
    halves = [(time - times[0]) / 2 for time in times]
    assert [time - times[0] for time in column(fast, "arrival_us")] == pytest.approx(halves, abs=1)

    kept = table.scale(2, sessions="keep").arrow().to_pylist()
    assert [row["arrival_us"] for row in kept] == sorted(row["arrival_us"] for row in kept)
    assert [row["request_id"] for row in kept] == list(range(len(times)))
    for session in "abc":
        before = [time for time, each in zip(times, ids, strict=False) if each == session]
        after = [row["arrival_us"] for row in kept if row["session_id"] == session]
        assert [time - after[0] for time in after] == [time - before[0] for time in before]


def test_a_rate_can_be_given_in_requests_per_second(make: MakeRequests) -> None:
    assert seconds(make(arrival_us=[10 * S, 12 * S, 20 * S]).scale(requests_per_s=2)) == [10, 10.2, 11]


@settings(max_examples=20)
@given(arrivals, st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_window_at_its_own_time_keeps_gaps(make: MakeRequests, times: list[int], start: int, length: int) -> None:
    table = make(arrival_us=times)
    inside = [time for time in times if start * S <= time - times[0] < (start + length) * S]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lta.ShapeWarning)
        if not inside:
            with pytest.raises(BadUse, match="holds no request"):
                table.window(start, start + length)
            return
        shaped = table.window(start, start + length).rebase()
    assert column(shaped, "arrival_us") == [time - inside[0] for time in inside]


def test_a_shift_goes_both_ways(make: MakeRequests) -> None:
    table = make(arrival_us=[10 * S, 12 * S])
    assert seconds(table.shift("1min")) == [70, 72]
    assert seconds(table.shift("-10s")) == [0, 2]
    assert seconds(table.shift(-10)) == [0, 2]


def test_repetitions_follow_after_an_average_gap_and_share_nothing(make: MakeRequests) -> None:
    table = make(arrival_us=[S, 3 * S, 5 * S], session_id=["a", None, "a"], hash_ids=[[0], [0, 4], None])
    twice = table.repeat("8s")
    assert seconds(twice) == [1, 3, 5, 7]
    assert column(twice, "session_id") == ["a", None, "a", "a~1"]
    assert column(twice, "hash_ids") == [[0], [0, 4], None, [5]]
    assert column(twice, "request_id") == [0, 1, 2, 3]
    assert column(table.repeat(8, prefixes="same"), "hash_ids") == [[0], [0, 4], None, [0]]


@settings(max_examples=15)
@given(st.lists(arrivals, min_size=2, max_size=3))
def test_a_merge_keeps_all_rows_in_order_and_ids_apart(make: MakeRequests, times: list[list[int]]) -> None:
    first, *others = (
        make(arrival_us=each, session_id=["s"] * len(each), hash_ids=[[0, 3]] * len(each)) for each in times
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lta.ShapeWarning)
        merged = first.merge(*others)
    rows = merged.arrow().to_pylist()
    assert [row["arrival_us"] for row in rows] == sorted(time for each in times for time in each)
    assert [row["request_id"] for row in rows] == list(range(len(rows)))
    for number, each in enumerate(times):
        own = [row for row in rows if row["session_id"] == f"{number}:s"]
        assert [row["arrival_us"] for row in own] == each
        assert {tuple(row["hash_ids"]) for row in own} == {(4 * number, 4 * number + 3)}


def test_a_merge_of_clocks_that_do_not_overlap_is_said(make: MakeRequests) -> None:
    early, late = make(arrival_us=[0, S]), make("azure-2023/code", arrival_us=[9 * S, 10 * S])
    with pytest.warns(lta.ShapeWarning, match="do not overlap"):
        early.merge(late)
    merged = early.rebase().merge(late.rebase())
    assert column(merged, "workload") == ["1", "code", "1", "code"]
    assert merged.chain == "open('burstgpt/1').rebase().merge(open('azure-2023/code').rebase())"
    assert column(merged.limit(3).scale(2), "arrival_us") == [0, 0, S // 2]


def test_several_workloads_or_segments_have_no_common_clock(make: MakeRequests) -> None:
    one = make(arrival_us=[0, S])
    several = lta.Requests(type(one.source)(one.source.archive, one.source.workloads * 2), one.sql)
    for step in (several.rebase, lambda: several.limit(1), lambda: several.thin(0.5)):
        with pytest.raises(BadUse, match="each has a clock and an order of its own"):
            step()
    segments = make(arrival_us=[0, 0], segment=[0, 1])
    with pytest.raises(BadUse, match=r"filter\('segment = 0'\)"):
        segments.repeat("1h")
    with pytest.raises(BadUse, match=r"filter\('segment = 0'\)"):
        one.merge(segments)


def test_rows_are_the_same_whatever_the_threads(make: MakeRequests) -> None:
    times = [at * 977 % 1000 * S for at in range(3000)]
    table = make(
        arrival_us=sorted(times),
        session_id=[str(at % 70) for at in range(3000)],
        hash_ids=[[0, at % 90, at] for at in range(3000)],
    )
    results = []
    for threads in (1, 4):
        database().execute(f"SET threads = {threads}")
        chain = table.repeat("1h").thin(0.3, by="prefix", seed=3, depth=2).thin(0.5).scale(3, sessions="keep")
        results.append(chain.merge(table.thin(0.5, by="request")).arrow())
    database().execute("RESET threads")
    assert results[0].equals(results[1])


def test_samples_by_families_keep_the_hit_ratio_of_mooncake(mirror: Path, make: MakeRequests) -> None:
    import json
    from statistics import mean

    from llm_trace_archive.analysis.kv_cache import columns_for, hit_ratio

    lines = (mirror / "mooncake" / "conversation_trace.jsonl").read_text(encoding="utf-8").splitlines()
    table = make("mooncake/conversation", hash_ids=[json.loads(line)["hash_ids"] for line in lines])

    def ratio(requests: lta.Requests) -> float:
        found = hit_ratio(requests.select(f"SELECT {', '.join(columns_for())} FROM rows").to_arrow_reader())
        assert found
        return found.unlimited

    whole = ratio(table)
    samples = [table.thin(0.1, by="prefix", seed=seed) for seed in range(20)]
    assert all("depth=2" in sample.chain for sample in samples)
    assert mean(abs(ratio(sample) - whole) for sample in samples) <= 0.03
