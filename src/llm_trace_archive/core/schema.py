"""Table Schemas as Arrow schemas, and the constraints a column must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .errors import BadUse

TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "list<int32>": pa.list_(pa.int32()),
    "list<int64>": pa.list_(pa.int64()),
    "list<string>": pa.list_(pa.string()),
    "dictionary<string>": pa.dictionary(pa.int32(), pa.string()),
}


def arrow_schema(table_schema: Mapping[str, Any]) -> pa.Schema:
    """The Arrow schema of a Table Schema, from each field's `arrowType`. Raises BadUse for an unknown type."""
    fields = []
    for each in table_schema["fields"]:
        if each.get("arrowType") not in TYPES:
            raise BadUse(
                f"schemas/{table_schema.get('name')}.json",
                f"field '{each.get('name')}' has an unknown arrowType",
                expected=", ".join(TYPES),
                got=str(each.get("arrowType")),
            )
        required = each.get("constraints", {}).get("required", False)
        metadata = {"unit": each["unit"]} if "unit" in each else None
        fields.append(pa.field(each["name"], TYPES[each["arrowType"]], nullable=not required, metadata=metadata))
    return pa.schema(fields)


def violations(table_schema: Mapping[str, Any], batch: pa.RecordBatch) -> Iterator[tuple[str, str, pa.Array]]:
    """Every constraint of every column, tested on a batch: (column, expected, which rows break it)."""
    for each in table_schema["fields"]:
        name, constraints, column = each["name"], each.get("constraints", {}), batch.column(each["name"])
        if constraints.get("required"):
            yield name, "a value", column.is_null()
        if column.null_count == len(column):
            continue
        values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for key, limit in constraints.items():
            if key in CONSTRAINTS:
                expected, mask = CONSTRAINTS[key](values, limit)
                yield name, expected, pc.fill_null(mask, False)
        for key, limit in each.get("arrayItem", {}).get("constraints", {}).items():
            if key in CONSTRAINTS:
                expected, items = CONSTRAINTS[key](pc.list_flatten(column), limit)
                mask = np.zeros(len(column), bool)
                mask[pc.list_parent_indices(column).filter(pc.fill_null(items, False)).to_numpy()] = True
                yield name, f"{expected} in every item", pa.array(mask)


CONSTRAINTS: dict[str, Callable[[pa.Array, Any], tuple[str, pa.Array]]] = {
    "minimum": lambda values, limit: (f"at least {limit:,}", pc.less(values, limit)),
    "maximum": lambda values, limit: (f"at most {limit:,}", pc.greater(values, limit)),
    "enum": lambda values, allowed: (
        f"one of {', '.join(map(str, allowed))}",
        pc.and_(values.is_valid(), pc.invert(pc.is_in(values, pa.array(allowed, values.type)))),
    ),
    "pattern": lambda values, regex: (
        f"text like {regex}",
        pc.invert(pc.match_substring_regex(values, f"^(?:{regex})$")),
    ),
    "minLength": lambda values, length: (f"{length} {_unit(values)} or more", pc.less(_lengths(values), length)),
    "maxLength": lambda values, length: (f"{length} {_unit(values)} or less", pc.greater(_lengths(values), length)),
}


def _unit(values: pa.Array) -> str:
    return "items" if pa.types.is_list(values.type) else "characters"


def _lengths(values: pa.Array) -> pa.Array:
    return pc.list_value_length(values) if pa.types.is_list(values.type) else pc.utf8_length(values)
