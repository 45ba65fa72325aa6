"""The Table Schema of a kind of table, from the canonical schema of requests and a recipe's own columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .recipe import Column, Kind, Workload

PROFILE = "https://datapackage.org/profiles/2.0/tableschema.json"
TYPES = {
    "bool": "boolean",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "integer",
    "float64": "number",
    "string": "string",
    "dictionary<string>": "string",
}
IDENTITY = ("trace", "workload")  # the first columns of every table


def table_schema(trace: str, kind: Kind, canonical: Mapping[str, Any], workloads: Sequence[Workload]) -> dict[str, Any]:
    """Return the Table Schema of a kind of table, with the source of every column that has one.

    canonical  the schema of requests, schemas/request.json
    workloads  those of this kind
    """
    own = [_field(column) for column in kind.columns]
    if kind.name == "request":
        name, first, key = trace, canonical["fields"], canonical["primaryKey"]
    else:
        name = f"{trace}-{kind.name}"
        first = [field for field in canonical["fields"] if field["name"] in IDENTITY]
        key = [kind.key or next(column.name for column in kind.columns if column.is_row)]
    fields = []
    for field in (*first, *own):
        source = source_of(field["name"], kind, workloads)
        fields.append(field | {"source": source} if source else dict(field))
    return {
        "$schema": PROFILE,
        "name": name,
        "title": kind.title,
        "description": kind.description,
        "fields": fields,
        "primaryKey": key,
    }


def source_of(column: str, kind: Kind, workloads: Iterable[Workload]) -> str:
    """Return where a column's values come from: upstream fields, or what stands for them; empty if nothing does."""
    if column in IDENTITY or column == "request_id" or any(c.is_row for c in kind.columns if c.name == column):
        return "the archive"
    sources: dict[str, None] = {}
    for file in (file for workload in workloads for file in workload.files):
        if column in file.named:
            sources["name of the member"] = None
        for rule in file.rules:
            if column not in rule.columns:
                continue
            if rule.source is None:
                sources["constant of the file"] = None
            else:
                how = rule.derive or (f"{rule.unit} to us" if rule.unit and rule.unit != "us" else "")
                sources[f"{' and '.join(rule.sources)} ({how})" if how else rule.source] = None
    return "; ".join(sources)


def _field(column: Column) -> dict[str, Any]:
    item = column.type.removeprefix("list<").removesuffix(">")
    is_list = item != column.type and column.type.startswith("list<")
    kind = TYPES[item if is_list else column.type]
    bounds: dict[str, Any] = {}
    if kind in ("integer", "number"):
        bounds["minimum"] = 0 if column.min is None else column.min
        if column.max is not None:
            bounds["maximum"] = column.max
    constraints: dict[str, Any] = {"required": True} if column.required else {}
    if column.enum:
        constraints |= {"enum": list(column.enum)}
    field: dict[str, Any] = {
        "name": column.name,
        "type": "array" if is_list else kind,
        "title": column.title,
        "description": column.meaning,
        "arrowType": column.type,
    }
    if column.unit:
        field["unit"] = column.unit
    if is_list:
        field["arrayItem"] = {"type": kind} | ({"constraints": bounds} if bounds else {})
    else:
        constraints |= bounds
    return field | ({"constraints": constraints} if constraints else {})
