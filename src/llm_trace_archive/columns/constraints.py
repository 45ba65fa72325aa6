"""What each constraint of a Table Schema means for an Arrow array; null breaks none but `required`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .arrays import is_list, lists_with, to_mask

BOUNDS: dict[str, Callable[[pa.Array, Any], pa.Array]] = {
    "minimum": pc.greater_equal,
    "maximum": pc.less_equal,
    "exclusiveMinimum": pc.greater,
    "exclusiveMaximum": pc.less,
}
# Whether values keep a constraint, given as a Python value or scalar; an enum may be an array of the values' type.
KEEPS: dict[str, Callable[[pa.Array, Any], pa.Array]] = {
    **BOUNDS,
    "enum": lambda values, allowed: pc.is_in(
        values, allowed if isinstance(allowed, pa.Array) else pa.array(allowed, values.type)
    ),
    "pattern": lambda values, regex: pc.match_substring_regex(values, f"^(?:{regex})$"),
    "minLength": lambda values, length: pc.greater_equal(_lengths(values), length),
    "maxLength": lambda values, length: pc.less_equal(_lengths(values), length),
}
_EXPECTED = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "exclusiveMinimum": "more than {:,}",
    "exclusiveMaximum": "less than {:,}",
    "pattern": "text like {}",
    "minLength": "{} {unit} or more",
    "maxLength": "{} {unit} or less",
}


def breaks(name: str, values: pa.Array, limit: Any) -> pa.Array:
    """Return which values break a constraint; NaN breaks every bound."""
    return pc.and_kleene(pc.invert(KEEPS[name](values, limit)), pc.is_valid(values))


def violations(table_schema: Mapping[str, Any], batch: pa.RecordBatch) -> Iterator[tuple[str, str, pa.Array]]:
    """Yield each constraint of each column: the column, what is expected, and which rows of the batch break it."""
    for field in table_schema["fields"]:
        name, constraints, column = field["name"], field.get("constraints", {}), batch.column(field["name"])
        if constraints.get("required"):
            yield name, "a value", column.is_null()
        if column.null_count == len(column):
            continue
        values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for key, limit in constraints.items():
            if key in KEEPS:
                yield name, _expected(key, values, limit), breaks(key, values, limit)
        for key, limit in field.get("arrayItem", {}).get("constraints", {}).items():
            if key in KEEPS:
                items = pc.list_flatten(column)
                mask = lists_with(column, to_mask(breaks(key, items, limit)))
                yield name, f"{_expected(key, items, limit)} in every item", pa.array(mask)


def _expected(name: str, values: pa.Array, limit: Any) -> str:
    if name == "enum":
        return f"one of {', '.join(map(str, limit))}"
    return _EXPECTED[name].format(limit, unit="items" if is_list(values.type) else "characters")


def _lengths(values: pa.Array) -> pa.Array:
    return pc.list_value_length(values) if is_list(values.type) else pc.utf8_length(values)
