"""Sessions as chains of chats: the root of every chain, whatever the batches."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.convert.transforms.base import BadValue
from llm_trace_archive.convert.transforms.select import make_transform
from llm_trace_archive.core.recipe import Rule

RULE = Rule("session_id", "chat_id", derive="chain_root", parent="parent_chat_id")


def roots(ids: list[int], parents: list[int], size: int) -> list[str]:
    transform = make_transform(RULE, pa.string(), {})
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


def test_a_long_chain_over_many_batches() -> None:
    ids = list(range(5000))
    assert set(roots(ids, [-1, *ids[:-1]], 7)) == {"0"}


def test_a_parent_outside_the_file_stands_for_the_root() -> None:
    assert roots([10, 11, 12], [7, 10, -1], 2) == ["7", "7", "12"]


def test_a_chain_without_end_is_refused() -> None:
    for length in range(2, 9):
        ids = list(range(length))
        with pytest.raises(BadValue, match="circle of parents"):
            roots([*ids, 99], [*ids[1:], 0, -1], 5)
