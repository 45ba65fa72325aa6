"""Derived columns, whatever the batches: roots of chains, segments, numbers unique across files, block ids."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.convert.transforms.base import BadValue
from llm_trace_archive.convert.transforms.block_ids import BlockNumbering
from llm_trace_archive.convert.transforms.select import make_transform
from llm_trace_archive.core.recipe import Rule
from support.block_ids import naive_block_ids

CHAIN = Rule("session_id", "chat_id", derive="chain_root", parent="parent_chat_id")


def roots(ids: list[int], parents: list[int], size: int) -> list[str]:
    transform = make_transform(CHAIN, pa.string(), {})
    found: list[str] = []
    for start in range(0, len(ids), size):
        batch = [pa.array(column[start : start + size], pa.int64()) for column in (ids, parents)]
        found += transform.read(*batch)["session_id"].to_pylist()
    return found


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=31), st.integers(1, 8), st.randoms())
def test_every_chat_has_the_root_of_its_chain(offsets: list[int], size: int, random) -> None:  # type: ignore[no-untyped-def]
    """Parents precede; a naive walk up the chain gives the same."""
    ids = random.sample(range(10_000), len(offsets))
    parents = [-1 if offset < 0 or n == 0 else ids[offset % n] for n, offset in enumerate(offsets)]
    known = dict(zip(ids, parents, strict=True))

    def walk(chat: int) -> int:
        return chat if known[chat] == -1 else walk(known[chat])

    assert roots(ids, parents, size) == [str(walk(chat)) for chat in ids]


def test_a_long_chain_over_many_batches_has_one_root() -> None:
    ids = list(range(5000))
    assert set(roots(ids, [-1, *ids[:-1]], 70)) == {"0"}


def test_a_parent_outside_the_file_is_the_root() -> None:
    assert roots([10, 11, 12], [7, 10, -1], 2) == ["7", "7", "12"]


def test_a_chain_without_end_is_refused() -> None:
    for length in range(2, 9):
        ids = list(range(length))
        with pytest.raises(BadValue, match="circle of parents"):
            roots([*ids, 99], [*ids[1:], 0, -1], 5)


SEGMENT = Rule("segment", "x", derive="segment")


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 5), st.booleans())
def test_segments_count_resets_across_batches_and_files(values: list[int], size: int, is_file_each: bool) -> None:
    transform = make_transform(SEGMENT, pa.int32(), {})
    found: list[int] = []
    for start in range(0, len(values), size):
        batch = pa.array([str(value) for value in values[start : start + size]])
        found += transform.read(batch)["segment"].to_pylist()
        assert transform.read(batch[:0])["segment"].to_pylist() == []
        if is_file_each:
            previous, transform = transform, make_transform(SEGMENT, pa.int32(), {})
            transform.follow(previous)
    resets = [sum(values[n] < values[n - 1] for n in range(1, end + 1)) for end in range(len(values))]
    assert found == resets


# -- prefix-block ids -------------------------------------------------------------------------------------------------

PROMPTS = st.lists(st.lists(st.integers(0, 2) | st.integers(0, 2**31 - 1), max_size=12), max_size=12)


@given(PROMPTS, st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_block_ids_are_equal_exactly_where_leading_blocks_are(
    prompts: list[list[int]], block: int, size: int, key: int
) -> None:
    """And they reveal no token: other tokens, one for one, give the same ids."""
    other = [[token ^ key for token in prompt] for prompt in prompts]
    for tokens in (prompts, other):
        number = BlockNumbering(block)
        found: list[list[int]] = []
        for start in range(0, len(prompts), size):
            # A slice of an array, as batches are.
            part = pa.array([[7], *tokens[start : start + size]], pa.list_(pa.int64())).slice(1)
            found += number(part).to_pylist()
        assert found == naive_block_ids(prompts, block)


def test_a_million_blocks_have_different_ids() -> None:
    tokens = pa.array(range(1_000_000), pa.int32())
    prompts = pa.ListArray.from_arrays(pa.array(range(1_000_001), pa.int32()), tokens)
    assert BlockNumbering(16)(prompts).flatten().equals(pa.array(range(1_000_000), pa.int64()))
