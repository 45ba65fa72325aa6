"""Prefix-cache hit ratios, against a plain simulation of each cache."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace_archive.analysis import prefix
from llm_trace_archive.analysis.prefix import FOLDED, LEADING, PrefixReuse, hit_ratios

LISTS = pa.list_(pa.int64())
SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.3, 0.5, 0.75, 0.99, 1.0)


BLOCK_BYTES = 10


def naive(
    requests: Sequence[list[int] | None],
    shares: Sequence[float] = (),
    blocks: Sequence[int] = (),
    bytes: Sequence[int] = (),
    segments: Sequence[int] = (),
    definition: str = LEADING,
) -> PrefixReuse | None:
    """Compute the ratios as the definition says, one cache at a time."""
    if all(request is None for request in requests):
        return None
    runs: dict[int, list[Sequence[Hashable]]] = {}
    for request, segment in zip(requests, segments or [0] * len(requests), strict=True):
        ids = request or []
        folded = [tuple(ids[: at + 1]) for at in range(len(ids))]
        runs.setdefault(segment, []).append(folded if definition == FOLDED else ids)

    def reuse(runs: list[list[Sequence[Hashable]]]) -> PrefixReuse:
        count = sum(len(ids) for run in runs for ids in run)
        distinct = [len({block for ids in run for block in ids}) for run in runs]

        def ratio(capacities: list[int]) -> float:
            return sum(map(count_hits, runs, capacities)) / max(count, 1)

        return PrefixReuse(
            definition,
            count,
            sum(distinct),
            ratio(distinct),
            {share: ratio([math.floor(Fraction(str(share)) * each) for each in distinct]) for share in shares},
            {size: ratio([size for _ in runs]) for size in blocks},
            {size: ratio([size // BLOCK_BYTES for _ in runs]) for size in bytes},
        )

    total = reuse(list(runs.values()))
    parts = {segment: reuse([run]) for segment, run in runs.items()}
    return replace(total, segments=parts) if len(parts) > 1 else total


def count_hits(requests: list[Sequence[Hashable]], capacity: int) -> int:
    cached: OrderedDict[Hashable, None] = OrderedDict()
    hits = 0
    for request in requests:
        for block in request:
            if block not in cached:
                break
            hits += 1
        for block in request:
            cached[block] = None
            cached.move_to_end(block)
            if len(cached) > capacity:
                cached.popitem(last=False)
    return hits


def chunked(requests: Sequence[list[int] | None], cuts: list[int], kind: pa.DataType = LISTS) -> pa.ChunkedArray:
    """Return the requests as slices of one array, which has more on both sides."""
    whole = pa.array([[1, 2], *requests, [3]], kind)
    edges = [0, *sorted(min(cut, len(requests)) for cut in cuts), len(requests)]
    return pa.chunked_array([whole[1 + a : 1 + b] for a, b in pairwise(edges)], kind)


few = st.integers(0, 12)
ids = few | st.integers(-(2**63), 2**63 - 1)
# Prefixes of a few sequences, as in conversations, besides random blocks.
growing = st.tuples(st.integers(0, 3), st.integers(0, 8)).map(lambda run: list(range(run[0] * 6, run[0] * 6 + run[1])))
requests_of_traces = st.lists(st.none() | growing | st.lists(few, max_size=8) | st.lists(ids, max_size=8), max_size=30)


@settings(max_examples=200)
@given(
    requests_of_traces,
    st.lists(st.integers(0, 30), max_size=4),
    st.lists(st.sampled_from(SHARES) | st.floats(0, 1), max_size=6).map(tuple),
    st.lists(st.integers(0, 40), max_size=4),
    st.lists(st.integers(0, 400), max_size=4),
    st.integers(1, 3),
    st.sampled_from([LEADING, FOLDED]),
    st.sampled_from([LISTS, pa.large_list(pa.int64())]),
)
def test_ratios_are_as_defined(requests, cuts, shares, blocks, bytes, runs, definition, kind):
    trace = chunked(requests, cuts, kind)
    segments = [at * runs // len(requests) for at in range(len(requests))]
    expected = naive(requests, shares, blocks, bytes, segments, definition)
    numbers = pa.chunked_array([pa.array(segments, pa.int16())])
    wanted = {"blocks": blocks, "bytes": bytes, "block_bytes": BLOCK_BYTES, "definition": definition}
    assert hit_ratios(trace, shares, segments=numbers, **wanted) == expected
    ends = np.cumsum([0, *map(len, trace.chunks)])
    of_chunks = [numbers.slice(a, b - a).combine_chunks() for a, b in pairwise(ends)]
    assert hit_ratios(iter(trace.chunks), shares, segments=of_chunks, **wanted) == expected
    if runs == 1:
        assert hit_ratios(trace, shares, **wanted) == expected


@pytest.mark.parametrize("spread", [1, 2**40, 0x1E3779B97F4A7C15])
def test_ratios_are_as_defined_with_more_blocks_than_the_first_table_holds(monkeypatch, spread):
    monkeypatch.setattr(prefix, "_FIRST_SLOTS", 16)
    random = np.random.default_rng(7)
    starts = np.minimum(random.zipf(1.2, 2000), 5000) * 7
    runs = [start + np.arange(length) for start, length in zip(starts, random.integers(0, 60, 2000), strict=True)]
    requests = [(run.astype(np.int64) * spread).tolist() for run in runs]
    assert hit_ratios(chunked(requests, [3, 700]), SHARES) == naive(requests, SHARES)


def test_there_may_be_more_than_255_capacities():
    random = np.random.default_rng(7)
    requests = [random.integers(0, 500, length).tolist() for length in random.integers(0, 9, 400)]
    shares = tuple(at / 400 for at in range(401))
    assert hit_ratios(chunked(requests, []), shares) == naive(requests, shares)


def test_a_hit_must_be_in_the_cache_before_the_request():
    reuse = hit_ratios(chunked([[5, 5, 5], [5, 5, 6, 5]], []), (0.5, 1.0))
    assert reuse == PrefixReuse(LEADING, blocks=7, distinct=2, unlimited=2 / 7, by_share={0.5: 2 / 7, 1.0: 2 / 7})


def test_an_id_after_two_predecessors_is_two_blocks_if_folded():
    requests = chunked([[1, 9], [2, 9], [1, 9]], [])
    assert hit_ratios(requests, blocks=[2]).by_blocks == {2: 0.0}
    assert hit_ratios(requests, definition=FOLDED).distinct == 4
    assert hit_ratios(requests).distinct == 3


def test_each_segment_starts_with_an_empty_cache():
    reuse = hit_ratios(chunked([[1, 2], [1, 2], [1, 2]], []), segments=pa.chunked_array([[0, 0, 1]]))
    assert reuse.unlimited == 2 / 6
    assert {segment: part.unlimited for segment, part in reuse.segments.items()} == {0: 2 / 4, 1: 0.0}


def test_a_request_longer_than_the_capacity_evicts_its_own_front():
    reuse = hit_ratios(chunked([[1, 2, 3, 4], [1, 2, 3, 4], [4]], []), (0.5, 0.75, 1.0))
    assert reuse.by_share == {0.5: 1 / 9, 0.75: 1 / 9, 1.0: 5 / 9}


def test_values_under_a_null_list_do_not_count():
    values = pa.array([1, 2, 1, 2], pa.int64())
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 4], pa.int32()), values, mask=pa.array([True, False]))
    assert hit_ratios([lists]) == PrefixReuse(LEADING, blocks=2, distinct=2, unlimited=0.0)


def test_a_share_is_the_decimal_number_as_written():
    requests = [[block] for block in range(29)] * 2 + [list(range(100, 171))]
    # 0.29 of 100 blocks are 29, but math.floor(0.29 * 100) is 28.
    assert hit_ratios(chunked(requests, []), (0.28, 0.29)).by_share == {0.28: 0.0, 0.29: 29 / 129}


@pytest.mark.parametrize("chunks", [[], [pa.array([], LISTS)], [pa.array([None, None], LISTS)]])
def test_a_trace_without_ids_has_no_ratio(chunks):
    assert hit_ratios(pa.chunked_array(chunks, LISTS), (0.0, 0.5, 1.0)) is None


def test_requests_without_a_whole_block_have_ratios_of_0():
    reuse = hit_ratios(pa.chunked_array([pa.array([None, []], LISTS)]), (0.0, 1.0))
    assert reuse == PrefixReuse(LEADING, blocks=0, distinct=0, unlimited=0.0, by_share={0.0: 0.0, 1.0: 0.0})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": [-1]}, "at least 0, not -1"),
        ({"bytes": [5]}, "need block_bytes"),
        ({"definition": "by id"}, "'leading' or 'folded', not 'by id'"),
    ],
)
def test_capacities_and_definitions_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        hit_ratios([], **wrong)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan, math.inf])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        hit_ratios([], (share,))


def test_a_null_inside_a_list_is_refused():
    with pytest.raises(ValueError, match="holds a null"):
        hit_ratios(chunked([[1, None]], []))  # type: ignore[list-item]


@pytest.mark.parametrize("chunk", [pa.array([1]), pa.array([["a"]]), pa.array([[1]], pa.list_(pa.int32())), [1]])
def test_other_types_are_refused(chunk):
    with pytest.raises(TypeError, match="expected arrays of list<int64>"):
        hit_ratios([chunk])


def test_more_blocks_than_can_be_numbered_are_refused(monkeypatch):
    monkeypatch.setattr(prefix, "_MOST_DISTINCT", 5)
    assert hit_ratios(chunked([[0, 1, 2, 3, 4]], [])).distinct == 5
    with pytest.raises(OverflowError, match="more than 5"):
        hit_ratios(chunked([[0, 1, 2, 3, 4, 5]], []))


def test_the_import_does_not_load_numba():
    code = "import sys, llm_trace_archive.analysis.prefix; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mooncake_has_the_published_ratios(mirror):
    lines = (mirror / "mooncake" / "conversation_trace.jsonl").read_text(encoding="utf-8").splitlines()
    trace = pa.chunked_array([[json.loads(line)["hash_ids"] for line in lines]], LISTS)
    reuse = hit_ratios(trace, (0.01, 0.05, 0.1, 0.25, 0.5))
    assert round(reuse.unlimited, 3) == 0.366
    rounded = {share: round(ratio, 3) for share, ratio in reuse.by_share.items()}
    assert rounded == {0.01: 0.052, 0.05: 0.195, 0.1: 0.278, 0.25: 0.353, 0.5: 0.363}
