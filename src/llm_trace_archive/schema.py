"""Table Schemas as Arrow schemas, and the constraints a column must keep."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .errors import BadUse
from .recipe import Workload

TYPES = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
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
        fields.append(pa.field(each["name"], TYPES[each["arrowType"]], nullable=not required))
    return pa.schema(fields)


def source_of(column: str, workloads: Sequence[Workload]) -> str:
    """Where a column comes from, over the workloads that share a schema: upstream fields, or what stands for them."""
    found: dict[str, None] = {}
    for workload in workloads:
        for file in workload.files:
            for rule in file.rules:
                if column not in (rule.column, rule.rest):
                    continue
                if rule.source is None:
                    found["constant of the file"] = None
                else:
                    how = rule.derive or (f"{rule.unit} to us" if rule.unit and rule.unit != "us" else "")
                    found[f"{' and '.join(rule.sources)} ({how})" if how else rule.source] = None
    if found:
        return "; ".join(found)
    return "the archive" if column in ("trace", "workload") or column.endswith("_id") else "not in the upstream"


def with_sources(
    schema: Mapping[str, Any], canonical: Mapping[str, Any], workloads: Sequence[Workload]
) -> dict[str, Any]:
    """A trace's Table Schema with the canonical fields as they stand now, and the source of every field."""
    meaning = {field["name"]: field for field in canonical["fields"]} if workloads[0].is_requests else {}
    fields = [
        {**meaning.get(field["name"], field), "source": source_of(field["name"], workloads)}
        for field in schema["fields"]
    ]
    return {**schema, "fields": fields}


def offences(table_schema: Mapping[str, Any], batch: pa.RecordBatch) -> Iterator[tuple[str, int, str, str]]:
    """What breaks a constraint in a batch: (column, index of the first such row, expected, got)."""
    for each in table_schema["fields"]:
        constraints = each.get("constraints", {})
        column = batch.column(each["name"])
        tests = []
        if constraints.get("required"):
            tests.append((column.is_null(), "a value"))
        if column.null_count == len(column):
            values = None
        elif pa.types.is_list(column.type):
            values, constraints = None, {}
        else:
            values = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if values is not None:
            if "minimum" in constraints:
                tests.append((pc.less(values, constraints["minimum"]), f"at least {constraints['minimum']:,}"))
            if "maximum" in constraints:
                tests.append((pc.greater(values, constraints["maximum"]), f"at most {constraints['maximum']:,}"))
            if "enum" in constraints:
                allowed = pa.array(constraints["enum"], values.type)
                outside = pc.and_(values.is_valid(), pc.invert(pc.is_in(values, allowed)))
                tests.append((outside, f"one of {', '.join(constraints['enum'])}"))
            if "pattern" in constraints:
                wrong = pc.invert(pc.match_substring_regex(values, f"^(?:{constraints['pattern']})$"))
                tests.append((wrong, f"text like {re.escape(constraints['pattern'])}"))
        for mask, expected in tests:
            index = pc.index(pc.fill_null(mask, False), True).as_py()
            if index >= 0:
                yield each["name"], index, expected, str(column[index].as_py())
                break
