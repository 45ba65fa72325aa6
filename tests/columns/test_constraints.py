"""Every constraint of a Table Schema, on the rows that break it and on no others."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from llm_trace_archive.columns.constraints import breaks, violations

TEXTS = pa.array(["a", None, "abc", ""])
NUMBERS = pa.array([1, None, 5, -2], pa.int32())
FLOATS = pa.array([1.0, None, float("nan"), -0.5])
LISTS = pa.array([[1], None, [], [2, -1, 7]], pa.list_(pa.int64()))


@pytest.mark.parametrize(
    ("column", "field", "broken"),
    [
        (TEXTS, {"constraints": {"required": True}}, [1]),
        (TEXTS, {"constraints": {"minLength": 1}}, [3]),
        (TEXTS, {"constraints": {"maxLength": 2}}, [2]),
        (TEXTS, {"constraints": {"pattern": "a|b"}}, [2, 3]),
        (TEXTS, {"constraints": {"enum": ["a", ""]}}, [2]),
        (TEXTS.dictionary_encode(), {"constraints": {"enum": ["a", ""]}}, [2]),
        (NUMBERS, {"constraints": {"minimum": 1}}, [3]),
        (NUMBERS, {"constraints": {"maximum": 4}}, [2]),
        (NUMBERS, {"constraints": {"exclusiveMinimum": 1}}, [0, 3]),
        (NUMBERS, {"constraints": {"exclusiveMaximum": 5}}, [2]),
        (FLOATS, {"constraints": {"minimum": 0}}, [2, 3]),
        (FLOATS, {"constraints": {"exclusiveMaximum": 1}}, [0, 2]),
        (NUMBERS, {"constraints": {"enum": [1, 5]}}, [3]),
        (LISTS, {"constraints": {"required": True}}, [1]),
        (LISTS, {"constraints": {"minLength": 1}}, [2]),
        (LISTS, {"constraints": {"maxLength": 2}}, [3]),
        (LISTS, {"arrayItem": {"constraints": {"minimum": 0}}}, [3]),
        (LISTS, {"arrayItem": {"constraints": {"maximum": 1}}}, [3]),
    ],
)
@pytest.mark.parametrize("start", [0, 1])
def test_rows_that_break_a_constraint(column: pa.Array, field: dict[str, Any], broken: list[int], start: int) -> None:
    """Also in a batch that begins within its buffers."""
    batch = pa.record_batch({"x": column.slice(start)})
    ((name, expected, mask),) = violations({"fields": [{"name": "x", **field}]}, batch)
    assert name == "x" and expected
    assert [row + start for row, wrong in enumerate(mask.to_pylist()) if wrong] == [n for n in broken if n >= start]


def test_an_enum_may_be_an_array() -> None:
    assert breaks("enum", TEXTS, pa.array(["a"])).to_pylist() == [False, False, True, True]
