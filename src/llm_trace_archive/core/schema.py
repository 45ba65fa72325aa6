"""Table Schemas as Arrow schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

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
    "list<float64>": pa.list_(pa.float64()),
    "list<string>": pa.list_(pa.string()),
    "dictionary<string>": pa.dictionary(pa.int32(), pa.string()),
}


def arrow_schema(table_schema: Mapping[str, Any]) -> pa.Schema:
    """Return the Arrow schema of a Table Schema, from each field's `arrowType`. Raises BadUse for an unknown type."""
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
