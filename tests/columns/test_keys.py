"""The engine of keys: whatever the type and however small the shares, it finds what a plain search finds."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.columns import keys
from llm_trace_archive.columns.keys import Keys, look_up, number_rows, repeated_rows, rises

DAY = dt.date(2000, 1, 1)
COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [0, 1, -1, 5]),
    (pa.uint64(), [0, 1, 2**63, 2**64 - 1]),
    (pa.bool_(), [True, False]),
    (pa.date32(), [DAY, DAY.replace(year=1950)]),
    (pa.float64(), [0.0, 0.5, -0.5]),
    (pa.string(), ["", "a", "b"]),
    (pa.dictionary(pa.int8(), pa.string()), ["", "a", "b"]),
    (pa.timestamp("us"), [dt.datetime(2000, 1, 1), dt.datetime(2000, 1, 2)]),
    (pa.list_(pa.int8()), [[], [1]]),
]


@given(st.data())
def test_repeats_and_matches_are_those_of_a_plain_search(data: Any) -> None:
    """With null, over batches that begin within their buffers; lists can't be hashed and stand in no key."""
    chosen = data.draw(st.lists(st.sampled_from(COLUMNS[:-1]), min_size=1, max_size=2))
    rows = st.tuples(*(st.none() | st.sampled_from(values) for _, values in chosen))
    own, other = (data.draw(st.lists(rows, max_size=20)) for _ in range(2))
    cut = data.draw(st.integers(0, len(own)))

    def source(rows: list[tuple[Any, ...]], cut: int) -> Any:
        columns = [pa.array([row[place] for row in rows], kind) for place, (kind, _) in enumerate(chosen)]
        parts = [(0, cut), (cut, len(rows))]
        return lambda: (number_rows(start, [column[start:end] for column in columns]) for start, end in parts)

    has_value = [any(value is not None for value in row) for row in own]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "KEYS_AT_ONCE", data.draw(st.sampled_from([1, 3, 100])))
        repeats = [int(row) for part in repeated_rows(source(own, cut), len(own)) for row in part]
        matches = {
            int(row): int(match)
            for references, found in look_up(source(other, 0), source(own, cut), max(len(own), len(other)))
            for row, match in zip(references.rows, found.rows, strict=True)
        }
    assert sorted(repeats) == [row for row, key in enumerate(own) if has_value[row] and key in own[:row]]
    expected = {row: other.index(key) if key in other else -1 for row, key in enumerate(own) if has_value[row]}
    assert matches == expected


def test_nested_columns_are_refused_unless_their_values_can_be_hashed() -> None:
    kind, values = COLUMNS[-1]
    with pytest.raises(TypeError, match="unhashable"):
        number_rows(0, [pa.array(values, kind)])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[1, 2], [], [3]], True),
        ([[-5, 0], [0]], False),
        ([[1, 1]], False),
        ([[1, None]], False),
        ([[2**64 - 1]], True),
        ([["a"]], False),
        ([], True),
    ],
)
def test_rising_integers(columns: list[list[Any]], expected: bool) -> None:
    kind = pa.uint64() if columns == [[2**64 - 1]] else None
    arrays = [pa.array(values, kind or (pa.int64() if not values else None)) for values in columns]
    assert rises(arrays) is expected


def test_no_more_than_a_share_of_the_keys_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS_AT_ONCE", 100)
    held: list[int] = []
    sort = keys._sorted
    monkeypatch.setattr(keys, "_sorted", lambda parts: held.append(len((every := sort(parts)).rows)) or every)
    numbers = np.arange(1000)

    def source() -> Any:
        return itertools.chain(
            number_rows(start, [pa.array(numbers[start : start + 10])]) for start in range(0, 1000, 10)
        )

    assert sum(len(references.rows) for references, _ in look_up(source, source, 1000)) == 1000
    assert max(held) < 200 and not list(itertools.chain(*repeated_rows(source, 1000)))
    assert isinstance(next(iter(source())), Keys)
