"""The Frictionless plugin against stock frictionless: the same verdicts, and the right ones where stock is wrong."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Checklist, Package, Report, Resource, system
from frictionless.resources import TableResource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FRICTIONLESS_ARROW_EXAMPLES", "300"))
PROFILE = "https://datapackage.org/profiles/2.0/dataresource.json"  # for exclusive bounds, fieldsMatch and lists
Draw = Callable[[Any], Any]


@contextmanager
def stock() -> Iterator[None]:
    """Frictionless as it is without the plugin."""
    os.environ["FRICTIONLESS_ARROW"] = "off"
    try:
        yield
    finally:
        del os.environ["FRICTIONLESS_ARROW"]


def told(report: Report) -> dict[str, Any]:
    """All that a report says, but for times and hashes."""
    if not report.tasks:
        return {"errors": [error.to_descriptor() for error in report.errors]}
    task = report.task
    return {
        "valid": report.valid,
        "labels": task.labels,
        "warnings": task.warnings,
        "rows": task.stats.get("rows"),
        "fields": task.stats.get("fields"),
        "errors": [error.to_descriptor() for error in task.errors],
    }


def kinds(report: Report) -> list[str]:
    """The types of the errors."""
    return [error[-1] for error in report.flatten()]


def by_rows(table: pa.Table, schema: dict[str, Any], **limits: Any) -> Report | None:
    """Stock frictionless on the same values as Python objects; None where it fails with a traceback."""
    columns = [[native(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    with stock():
        descriptor = {"$schema": PROFILE, "name": "t", "type": "table", "data": [], "schema": schema}
        resource = TableResource.from_descriptor(descriptor)
        resource.data = [table.column_names, *rows]
        return unless_it_fails(resource, **limits)


def unless_it_fails(resource: Resource, **limits: Any) -> Report | None:
    """Stock's report, or None where it fails with a traceback."""
    try:
        report: Report = resource.validate(**limits)
    except (TypeError, decimal.InvalidOperation):
        return None
    return report


def agree(report: Report, expected: Report | None, schema: dict[str, Any]) -> None:
    """Fail unless two reports say the same; where stock fails with a traceback, the plugin's ends in an error."""
    if expected is None:
        # Looking up references, stock reads rows past any limit, and fails there.
        assert kinds(report)[-1:] == ["source-error"] or "foreignKeys" in schema
    else:
        assert told(report) == told(expected)


def native(value: Any) -> Any:
    """pandas' subclass of datetime as the class itself."""
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def by_columns(path: Path, schema: dict[str, Any], kind: str = "table", **limits: Any) -> Report:
    """The plugin on the file."""
    descriptor = {
        "$schema": PROFILE,
        "name": "t",
        "type": kind,
        "path": path.name,
        "format": "parquet",
        "schema": schema,
    }
    resource = Resource.from_descriptor(descriptor, basepath=str(path.parent))
    assert type(resource).__module__ == "frictionless_arrow.resource"
    report: Report = resource.validate(**limits)
    return report


# Generated tables and schemas

SPELLINGS = "|a|b|ab|é|中文|-|NA|1|01| 2 |2.5|true|False|2024-01-02|12:30:00|2024-01-02T03:04:05Z|[1, 2]|1,2|a\n|nan"
TEXTS = st.sampled_from([*SPELLINGS.split("|"), '{"a": 1}', "a@b.org", "https://x.org", "2024-05", "1e3"])
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 1e300, 0.1, float("nan"), float("inf")]) | st.floats(width=32)
DATES = st.dates(dt.date(1999, 12, 30), dt.date(2000, 1, 3)) | st.dates()
TIMES = st.datetimes(dt.datetime(1999, 12, 31), dt.datetime(2000, 1, 1)) | st.datetimes(
    dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)
)
MIDNIGHTS = DATES.filter(lambda day: 1700 < day.year < 2200).map(lambda day: dt.datetime(day.year, day.month, day.day))
CLOCKS = st.sampled_from([dt.time(0), dt.time(12, 30), dt.time(12, 30, 1), dt.time(23, 59, 59)])
DECIMALS = st.decimals(-99, 99, places=2)


def small(low: int = -4, high: int = 4) -> Any:
    return st.integers(low, high)


def cut(values: Any, **parts: int) -> Any:
    return values.map(lambda value: value.replace(**parts))


def zoned(values: Any) -> Any:
    return values.map(lambda value: value.replace(tzinfo=dt.UTC))


ARROW: list[tuple[pa.DataType, Any]] = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.int8(), small()),
    (pa.int16(), small(-300, 300)),
    (pa.int32(), small() | st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), small() | st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), small(0, 5)),
    (pa.uint32(), small(0, 5)),
    (pa.uint64(), small(0, 4) | st.integers(0, 2**64 - 1)),
    (pa.float32(), FLOATS.filter(lambda number: abs(number) < 1e30 or number != number)),
    (pa.float64(), FLOATS),
    (pa.bool_(), st.booleans()),
    (pa.date32(), DATES),
    (pa.timestamp("s"), cut(TIMES, microsecond=0)),
    (pa.timestamp("ms"), cut(TIMES, microsecond=7000) | MIDNIGHTS),
    (pa.timestamp("us"), TIMES | MIDNIGHTS),
    (pa.timestamp("ns"), TIMES | MIDNIGHTS),
    (pa.timestamp("us", "UTC"), zoned(TIMES)),
    (pa.timestamp("ms", "Europe/Paris"), zoned(cut(TIMES, microsecond=0))),
    (pa.time32("s"), CLOCKS),
    (pa.time64("us"), CLOCKS),
    (pa.time64("ns"), CLOCKS),
    (pa.decimal128(9, 2), DECIMALS),
    (pa.list_(pa.int64()), st.lists(st.none() | small(), max_size=3)),
    (pa.list_(pa.string()), st.lists(TEXTS, max_size=3)),
    (pa.large_list(pa.float64()), st.lists(FLOATS, max_size=3)),
    (pa.list_(pa.list_(pa.int8())), st.lists(st.lists(small(), max_size=2), max_size=2)),
    (pa.struct({"a": pa.int64(), "b": pa.string()}), st.fixed_dictionaries({"a": small(), "b": TEXTS})),
    (pa.binary(), st.binary(max_size=3)),
    (pa.null(), st.none()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(0), dt.timedelta(9))),
]
FITTING = {
    "string": ["string"],
    "large_string": ["string"],
    "dictionary": ["string", "any"],
    "int": ["integer", "number", "year"],
    "uint": ["integer", "number"],
    "float": ["number", "integer"],
    "double": ["number", "integer"],
    "bool": ["boolean"],
    "date": ["date"],
    "timestamp": ["datetime", "date"],
    "time32": ["time"],
    "time64": ["time"],
    "decimal": ["number", "integer"],
    "list": ["array", "list"],
    "large_list": ["array", "list"],
    "struct": ["object"],
}
TYPES = ["string", "integer", "number", "boolean", "date", "datetime", "time", "any", "array", "list", "object"]
TYPES += ["year", "yearmonth", "duration", "geopoint", "geojson"]
MISSING = [
    ["", "-"],
    ["0", "1", "NA"],
    ["nan", "None", "True", "2.5", "-1"],
    ["2000-01-01", "[]", "0.0", "12:30:00"],
    [],
]
BOUNDS: dict[str, Any] = {
    "integer": small(-3, 3) | st.sampled_from([2**40, -(2**70), 2**70, "2"]),
    "number": st.sampled_from([0, 1, -1, 0.5, 2.5, 0.1, "0.10", 1e300, "1.00000000000000000001"]),
    "date": st.sampled_from(["2000-01-01", "1999-12-31"]),
    "datetime": st.sampled_from(["2000-01-01T00:00:00", "1999-12-31T12:00:00Z"]),
    "time": st.sampled_from(["12:30:00", "00:00:00"]),
    "year": small(0, 3),
}
ENUMS: dict[str, Any] = {
    "string": st.lists(TEXTS, min_size=1, max_size=4),
    "integer": st.lists(small() | st.just(2**64), min_size=1, max_size=4),
    "number": st.lists(small() | st.sampled_from([0.5, 2.5, "1.0"]), min_size=1, max_size=4),
    "boolean": st.just([True]),
    "date": st.just(["2000-01-01"]),
    "any": st.lists(small() | TEXTS, min_size=1, max_size=4),
    "array": st.just([[], [1, 2]]),
}
LENGTHS = ("string", "array", "object", "list")


@st.composite
def fields(draw: Draw, name: str, kind: pa.DataType) -> dict[str, Any]:
    """A field for a column: its type fits in most cases, its constraints may or may not hold."""
    stem = next((key for key in sorted(FITTING, key=len, reverse=True) if str(kind).startswith(key)), "")
    fitting = FITTING.get(stem, ["any"])
    type_ = draw(st.sampled_from(fitting if draw(st.integers(0, 3)) else TYPES))
    field: dict[str, Any] = {"name": name, "type": type_}
    constraints: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        constraints["required"] = draw(st.booleans())
    if draw(st.integers(0, 5)) == 0:
        constraints["unique"] = True
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if type_ in BOUNDS and draw(st.integers(0, 3)) == 0:
            constraints[bound] = draw(BOUNDS[type_])
    if type_ in ENUMS and draw(st.integers(0, 4)) == 0:
        constraints["enum"] = draw(ENUMS[type_])
    for length in ("minLength", "maxLength"):
        if type_ in LENGTHS and draw(st.integers(0, 4)) == 0:
            constraints[length] = draw(small(0, 3))
    if type_ == "string" and draw(st.integers(0, 3)) == 0:
        field["format"] = draw(st.sampled_from(["default", "email", "uri", "uuid", "binary"]))
        constraints["pattern"] = draw(st.sampled_from([r"[a-z]+", r"\w*", r"(?=a).+", r".*\d"]))
    if type_ == "array" and draw(st.booleans()):
        item = draw(st.sampled_from(["integer", "string", "number", "any"]))
        field["arrayItem"] = {
            "type": item,
            "constraints": draw(st.sampled_from([{}, {"required": True}, {"enum": [1]}])),
        }
        if item == "integer":
            field["arrayItem"]["constraints"] = draw(st.sampled_from([{}, {"minimum": 0}, {"required": True}]))
    if type_ == "list":
        field["itemType"] = draw(st.sampled_from(["string", "integer", "number", "boolean"]))
    if type_ == "number" and draw(st.integers(0, 4)) == 0:
        field["floatNumber"] = True
    if draw(st.integers(0, 7)) == 0:
        field["missingValues"] = draw(st.sampled_from(MISSING))
    return field | ({"constraints": constraints} if constraints else {})


@st.composite
def tables(
    draw: Draw, arrow: list[tuple[pa.DataType, Any]] = ARROW, nulls: bool = True
) -> tuple[pa.Table, dict[str, Any]]:
    """A table and a schema that is more or less its own."""
    rows = draw(st.integers(0, 12))
    columns: dict[str, pa.Array] = {}
    described = []
    for number in range(draw(st.integers(1, 4))):
        kind, values = draw(st.sampled_from(arrow))
        if nulls:
            values = st.none() | values
        name = f"c{number}"
        columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)
        described.append(draw(fields(name, kind)))
    schema: dict[str, Any] = {}
    names = [field["name"] for field in described]
    if draw(st.integers(0, 3)) == 0:
        schema["primaryKey"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    if draw(st.integers(0, 5)) == 0:
        own, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        schema["foreignKeys"] = [{"fields": [own], "reference": {"resource": "", "fields": [other]}}]
    if draw(st.integers(0, 4)) == 0:
        schema["missingValues"] = draw(st.sampled_from(MISSING))
    fault = draw(st.integers(0, 12))
    if fault == 0:
        described.append({"name": "more", "type": "string"})
    elif fault == 1 and len(described) > 1:
        described.pop()
    elif fault == 2:
        described.reverse()
    elif fault == 3:
        described[0]["name"] = "other"
    if fault in (2, 4, 5):
        schema["fieldsMatch"] = draw(st.sampled_from(["equal", "subset", "superset", "partial"]))
    if "foreignKeys" in schema:  # its reader changes the lists that the reference is then read from
        for field in described:
            field.pop("arrayItem", None)
        # Made of one object, NaN is in a set that has it; read from a file twice, it is not.
        if any(value != value for column in columns.values() for value in column.to_pylist()):
            del schema["foreignKeys"]
    known = [field["name"] for field in described]
    if not set(schema.get("primaryKey", [])) <= set(known):
        del schema["primaryKey"]
    if "foreignKeys" in schema and not {own, other} <= set(known):
        del schema["foreignKeys"]
    return pa.table(columns), schema | {"fields": described}


LIMITS = st.fixed_dictionaries({}, optional={"limit_rows": st.integers(1, 12), "limit_errors": st.integers(1, 6)})
PICKED = {"pick_errors": ["type-error", "#row"]}
CHECKLISTS = st.sampled_from([{}, {}, {}, PICKED, {"skip_errors": ["constraint-error"]}])
LAX = settings(
    max_examples=EXAMPLES, deadline=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck)
)


@LAX
@given(tables(), LIMITS, CHECKLISTS, st.integers(1, 12), st.sampled_from(["file", "table"]))
def test_reports_are_those_of_stock_on_the_same_values(
    made: tuple[pa.Table, dict[str, Any]], limits: dict[str, int], picked: dict[str, Any], group: int, kind: str
) -> None:
    table, schema = made
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        pq.write_table(table, path, row_group_size=group)
        expected = by_rows(table, schema, checklist=Checklist(**picked), **limits)
        report = by_columns(path, schema, kind, checklist=Checklist(**picked), **limits)
    agree(report, expected, schema)


# Tables that pandas gives back as they are: no nulls but in texts, no NaN, which it can't tell from null, no lists, and
# no rows of numbers alone, which it turns into floats.
FAITHFUL = [
    (kind, values.filter(lambda value: value == value))
    for kind, values in ARROW
    if str(kind) in ("string", "int64", "bool", "double", "date32[day]")
]


@settings(LAX, max_examples=EXAMPLES // 3)
@given(tables(FAITHFUL, nulls=False), LIMITS, st.booleans())
def test_reports_are_those_of_stock_on_the_same_file(
    made: tuple[pa.Table, dict[str, Any]], limits: dict[str, int], index: bool
) -> None:
    table, schema = made
    texts = pa.array(["x"] * table.num_rows, pa.string())
    table = table.append_column("text", texts)
    schema = schema | {"fields": [*schema["fields"], {"name": "text", "type": "string"}]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        if index:
            table.to_pandas().set_index("c0").to_parquet(path)
        else:
            pq.write_table(table, path)
        report = by_columns(path, schema, **limits)
        with stock():
            descriptor = {"$schema": PROFILE, "name": "t", "type": "table", "path": path.name, "schema": schema}
            expected = unless_it_fails(Resource.from_descriptor(descriptor, basepath=folder), **limits)
    agree(report, expected, schema)


DAY, NOON, MOMENT = dt.date(2000, 1, 1), dt.time(12), dt.datetime(2000, 1, 1, 12)
LONG_AGO = MOMENT.replace(year=1950)
INTEGERS = {"type": "integer"}
LISTS = pa.list_(pa.int64())
TEXT_CODES = pa.dictionary(pa.int8(), pa.string())


def limited(type_: str, **constraints: Any) -> dict[str, Any]:
    return {"type": type_, "constraints": constraints}


PLANTED: list[tuple[pa.DataType, Any, Any, dict[str, Any]]] = [
    (pa.string(), "abc", None, limited("string", required=True)),
    (pa.string(), "abc", "", limited("string", required=True)),
    (pa.string(), "abc", "NA", limited("string", required=True) | {"missingValues": ["NA"]}),
    (pa.string(), "abc", "a", limited("string", minLength=2)),
    (pa.string(), "abc", "abcde", limited("string", maxLength=4)),
    (pa.string(), "abc", "ABC", limited("string", pattern="[a-z]+")),
    (pa.string(), "abc", "b", limited("string", enum=["abc"])),
    (TEXT_CODES, "abc", "b", limited("string", enum=["abc"])),
    (pa.large_string(), "a@b.org", "b", {"type": "string", "format": "email"}),
    (pa.string(), "1", "x", INTEGERS),
    (pa.string(), "2000-01-01", "2000-13-01", {"type": "date"}),
    (pa.string(), "[1]", "{}", {"type": "array"}),
    (pa.int32(), 5, None, limited("integer", required=True)),
    (pa.int32(), 5, -1, limited("integer", required=True) | {"missingValues": ["-1"]}),
    (pa.int64(), 5, -1, limited("integer", minimum=0)),
    (pa.int64(), 5, 0, limited("integer", exclusiveMinimum=0)),
    (pa.uint8(), 5, 9, limited("integer", maximum=8)),
    (pa.uint64(), 5, 2**64 - 1, limited("integer", exclusiveMaximum=2**64 - 1)),
    (pa.int16(), 5, 6, limited("integer", enum=[5])),
    (pa.int16(), 5, 6, limited("number", maximum=5.5)),
    (pa.float64(), 5.0, 5.5, INTEGERS),
    (pa.float64(), 0.5, 0.25, limited("number", minimum=0.5)),
    (pa.float32(), 0.5, 0.75, limited("number", exclusiveMaximum=0.75)),
    (pa.float64(), 0.5, float("nan"), limited("number", minimum=0)),
    (pa.float64(), 0.5, 0.75, limited("number", enum=[0.5])),
    (pa.decimal128(5, 2), decimal.Decimal("1.50"), decimal.Decimal("1.51"), limited("number", maximum="1.5")),
    (pa.bool_(), True, False, limited("boolean", enum=[True])),
    (pa.bool_(), True, None, limited("boolean", required=True)),
    (pa.date32(), DAY, DAY.replace(year=1950), limited("date", minimum="1999-01-01")),
    (pa.timestamp("us"), MOMENT, LONG_AGO, limited("datetime", minimum="1999-01-01T00:00:00")),
    (pa.timestamp("ns"), MOMENT, LONG_AGO, limited("datetime", minimum="1999-01-01T00:00:00")),
    (pa.timestamp("ms", "UTC"), MOMENT, LONG_AGO, limited("datetime", minimum="1999-01-01T00:00:00Z")),
    (pa.timestamp("us"), dt.datetime(2000, 1, 1), MOMENT, {"type": "date"}),
    (pa.time64("us"), NOON, NOON.replace(hour=9), limited("time", minimum="10:00:00")),
    (LISTS, [1, 2], [], limited("array", minLength=1)),
    (LISTS, [1, 2], [1, 2, 3], limited("array", maxLength=2)),
    (LISTS, [1, 2], [1, -2], {"type": "array", "arrayItem": limited("integer", minimum=0)}),
    (LISTS, [1, 2], [1, None], {"type": "array", "arrayItem": limited("integer", required=True)}),
    (LISTS, [1, 2], [1, None], {"type": "list", "itemType": "integer"}),
    (pa.list_(pa.string()), ["1"], ["x"], {"type": "list", "itemType": "integer"}),
    (pa.struct({"a": pa.int8()}), {"a": 1}, None, limited("object", required=True)),
    (pa.struct({"a": pa.int8()}), {"a": 1}, {"a": 2}, limited("object", enum=[{"a": 1}])),
]


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize(("kind", "good", "bad", "field"), PLANTED, ids=lambda value: str(value)[:40])
def test_one_planted_fault_is_found(
    tmp_path: Path, kind: pa.DataType, good: Any, bad: Any, field: dict[str, Any], nulls: bool
) -> None:
    """With as many good values around that the row of the fault is not looked at by chance."""
    other = None if nulls and not field.get("constraints", {}).get("required") else good
    values = [good, other] * 20 + [bad] + [good, other] * 20
    table = pa.table({"id": range(81), "x": pa.array(values, kind)})
    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "x", **field}]}
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30)
    report = by_columns(tmp_path / "t.parquet", schema)
    assert report.flatten(["rowNumber", "fieldNumber"]) == [[42, 2]]
    agree(report, by_rows(table, schema), schema)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), TEXT_CODES, pa.float64(), pa.date32(), pa.uint8()])
@pytest.mark.parametrize("rule", ["unique", "primaryKey", "two", "null", "foreignKeys"])
def test_one_planted_fault_of_a_key_is_found(tmp_path: Path, kind: pa.DataType, rule: str) -> None:
    keys = pa.array([(number * 7) % 81 for number in range(81)])
    parents = pa.array([*range(80), 5])
    if rule in ("unique", "primaryKey"):
        keys = pa.concat_arrays([keys[:40], keys[:1], keys[41:]])
    elif rule == "null":
        keys = pa.concat_arrays([keys[:40], pa.nulls(1, keys.type), keys[41:]])
    elif rule == "two":
        keys = pa.concat_arrays([keys[:40], keys[3:4], keys[41:]])
        parents = pa.concat_arrays([parents[:40], parents[3:4], parents[41:]])
    else:
        parents = pa.concat_arrays([parents[:40], pa.array([200]), parents[41:]])

    def cast(array: pa.Array) -> pa.Array:
        if pa.types.is_date(kind):
            return array.cast(pa.int32()).cast(kind)
        return array.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)

    table = pa.table({"key": cast(keys), "parent": cast(parents), "text": ["x"] * 81})
    type_ = {"int64": "integer", "uint8": "integer", "double": "number", "date32[day]": "date"}.get(str(kind), "string")
    schema: dict[str, Any] = {
        "fields": [
            {"name": "key", "type": type_},
            {"name": "parent", "type": type_},
            {"name": "text", "type": "string"},
        ]
    }
    if rule == "unique":
        schema["fields"][0]["constraints"] = {"unique": True}
    elif rule == "foreignKeys":
        schema["foreignKeys"] = [{"fields": ["parent"], "reference": {"resource": "", "fields": ["key"]}}]
    else:
        schema["primaryKey"] = ["key", "parent"] if rule == "two" else ["key"]
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30)
    report = by_columns(tmp_path / "t.parquet", schema)
    assert report.flatten(["rowNumber"]) == [[42]]
    agree(report, by_rows(table, schema), schema)


def test_most_rows_are_never_made_into_python_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frictionless_arrow import judge

    made: list[int] = []
    cells = judge.cells
    monkeypatch.setattr(judge, "cells", lambda columns: made.append(len(columns[0])) or cells(columns))
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(300_000), "b": ["x"] * 299_999 + ["y"]}), path)
    schema = {
        "fields": [{"name": "a", "type": "integer"}, {"name": "b", "type": "string", "constraints": {"enum": ["x"]}}],
        "primaryKey": ["a"],
    }
    report = by_columns(path, schema)
    assert report.flatten(["rowNumber", "fieldNumber", "type"]) == [[300_001, 2, "constraint-error"]]
    assert made == [judge.SAMPLE_ROWS, 1, 1]  # to open the table, its first row, and the one that offends


# Keys


def test_keys_repeated_far_apart_and_over_several_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frictionless_arrow import keys

    monkeypatch.setattr(keys, "KEYS", 1000)
    numbers = [*range(200_000), 7, 150_000]
    table = pa.table({"n": numbers, "t": [f"t{number}" for number in numbers]})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    for key in (["n"], ["t"], ["n", "t"]):
        schema = {
            "fields": [
                {"name": "n", "type": "integer", "constraints": {"unique": key == ["t"]}},
                {"name": "t", "type": "string"},
            ],
            "primaryKey": key,
        }
        monkeypatch.setattr(keys, "KEYS", 50_000)
        report = by_columns(path, schema)
        errors = [(error.row_number, error.note) for error in report.task.errors if error.type == "primary-key"]
        assert errors == [
            (200_002, "the same as in the row at position 9"),
            (200_003, "the same as in the row at position 150002"),
        ]
        assert kinds(report).count("unique-error") == (2 if key == ["t"] else 0)


@pytest.mark.parametrize("kind", ["file", "table"])
@pytest.mark.parametrize("other", ["users.parquet", "users.csv"])
def test_references_to_another_resource(tmp_path: Path, kind: str, other: str) -> None:
    pq.write_table(pa.table({"user": [1, 2, None, 9], "item": ["a", "b", "c", "d"]}), tmp_path / "sales.parquet")
    if other.endswith("csv"):
        (tmp_path / other).write_text("id,name\n1,x\n2,y\n")
    else:
        pq.write_table(pa.table({"id": pa.array([1, 2], pa.int16()), "name": ["x", "y"]}), tmp_path / other)
    users = {"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}], "primaryKey": ["id"]}
    sales = {
        "fields": [{"name": "user", "type": "integer"}, {"name": "item", "type": "string"}],
        "foreignKeys": [{"fields": ["user"], "reference": {"resource": "users", "fields": ["id"]}}],
    }
    descriptor = {
        "name": "p",
        "resources": [
            {"name": "sales", "type": kind, "path": "sales.parquet", "schema": sales},
            {"name": "users", "type": "table", "path": other, "schema": users},
        ],
    }
    report = Package.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
    assert report.flatten(["taskNumber", "rowNumber", "type"]) == [[1, 5, "foreign-key"]]
    assert 'values "9" not found in the lookup table "users" as "id"' in report.tasks[0].errors[0].note


# Where stock is wrong on Parquet; the table is in docs/frictionless.md


@pytest.mark.parametrize(
    ("column", "field", "wrong"),
    [
        (pa.array([1, None]), {"type": "integer"}, ["type-error"]),
        (pa.array([1, None]), {"type": "integer", "constraints": {"required": True}}, ["type-error"]),
        (pa.array([1.5, None]), {"type": "number", "constraints": {"required": True}}, []),
        (pa.array([1.5, None]), {"type": "number", "constraints": {"minimum": 0}}, ["constraint-error"]),
        (pa.array([[1], [2]]), {"type": "array"}, ["type-error", "type-error"]),
        (pa.array([2**53 + 1, 1]), {"type": "integer", "constraints": {"maximum": 2**53}}, []),
    ],
)
def test_where_stock_is_wrong(tmp_path: Path, column: pa.Array, field: dict[str, Any], wrong: list[str]) -> None:
    schema = {"fields": [{"name": "a", **field}, {"name": "b", "type": "number"}]}
    table = pa.table({"a": column, "b": [0.5, 0.5]})
    pq.write_table(table, tmp_path / "t.parquet")
    report = by_columns(tmp_path / "t.parquet", schema)
    expected = by_rows(table, schema)
    assert expected is not None
    assert told(report) == told(expected)
    with stock():
        descriptor = {"name": "t", "type": "table", "path": "t.parquet", "schema": schema}
        assert kinds(Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()) == wrong != kinds(report)


def test_bytes_and_hash_of_a_table_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    base = {"name": "t", "type": "table", "path": path.name, "schema": {"fields": [{"name": "a", "type": "integer"}]}}
    wrong = base | {"hash": "sha256:" + "0" * 64, "bytes": 5}
    right = base | {"bytes": path.stat().st_size}

    def validate(descriptor: dict[str, Any]) -> list[str]:
        return kinds(Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate())

    assert validate(wrong) == ["hash-count", "byte-count"]
    assert validate(right) == []
    with stock():
        assert validate(wrong) == ["byte-count"]
        assert validate(right) == ["byte-count"]


@pytest.mark.parametrize("at", [100, -100])
def test_the_hash_of_a_file_that_cannot_be_read_is_checked_too(tmp_path: Path, at: int) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(1000)}), path)
    content = bytearray(path.read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)
    descriptor = {"name": "t", "type": "file", "path": path.name, "hash": f"sha256:{digest}"}
    descriptor["schema"] = {"fields": [{"name": "a", "type": "integer"}]}
    report = Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
    assert kinds(report) == ["source-error", "hash-count"]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.parquet")
    assert kinds(by_columns(tmp_path / "t.parquet", {"fields": [{"name": "a", "type": "integer"}]})) == ["source-error"]


def test_rows_and_fields_of_a_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), path)
    base = {"name": "t", "type": "file", "path": path.name, "schema": {"fields": [{"name": "a", "type": "integer"}]}}

    def validate(**counts: int) -> list[str]:
        return kinds(Resource.from_descriptor(base | counts, basepath=str(tmp_path)).validate())

    assert validate(rows=2, fields=1) == []
    assert validate(rows=3, fields=2) == ["field-count", "row-count"]
    with stock():
        assert validate(rows=2, fields=1) == ["field-count", "row-count"]


# What is left to stock


def test_other_resources_are_left_to_stock(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\nx\n")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "t.parquet")
    schema = {"fields": [{"name": "a", "type": "integer"}]}
    for extra in ({"path": "t.csv", "type": "table"}, {"path": "t.csv", "type": "file"}):
        descriptor = {"name": "t", "schema": schema, **extra}
        report = Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
        with stock():
            assert told(report) == told(Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate())
    bare = {"name": "t", "type": "file", "path": "t.parquet"}  # no schema: nothing but bytes to check
    assert Resource.from_descriptor(bare, basepath=str(tmp_path)).validate().valid


def test_checks_and_callbacks_see_every_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 1, 2]}), path)
    schema = {"fields": [{"name": "a", "type": "integer"}]}
    seen: list[int] = []
    by_columns(path, schema, on_row=lambda row: seen.append(row["a"]))
    assert seen == [1, 1, 2]
    checklist = Checklist.from_descriptor({"checks": [{"type": "duplicate-row"}]})
    assert kinds(by_columns(path, schema, checklist=checklist)) == ["duplicate-row"]


def test_schema_is_inferred_as_stock_does(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), tmp_path / "t.parquet")
    resource = Resource.from_descriptor({"name": "t", "type": "table", "path": "t.parquet"}, basepath=str(tmp_path))
    assert told(resource.validate())["rows"] == 2


# The command line


def command(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`frictionless validate` as a user runs it."""
    source = Path(sys.modules["frictionless_arrow"].__file__ or "").parents[1]
    environment = os.environ | {"PYTHONPATH": str(source), "COLUMNS": "200"} | (env or {})
    line = [sys.executable, "-m", "frictionless", "validate", *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a package of two Parquet resources, one of them wrong in two rows."""
    pq.write_table(pa.table({"a": [1, None, 3], "b": ["x"] * 3}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"a": [1, -1, -2], "b": ["x"] * 3}), tmp_path / "bad.parquet")
    schema = {
        "fields": [
            {"name": "a", "type": "integer", "constraints": {"minimum": 0}},
            {"name": "b", "type": "string", "constraints": {"enum": ["x"]}},
        ]
    }
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    resources = [
        {"name": name, "type": "file", "path": f"{name}.parquet", "format": "parquet", "schema": "schema.json"}
        for name in ("good", "bad")
    ]
    (tmp_path / "datapackage.json").write_text(json.dumps({"name": "p", "resources": resources}))
    return tmp_path


@pytest.mark.parametrize("how", [[], ["--parallel"], ["--name", "bad"], ["--limit-errors", "1"], ["--limit-rows", "2"]])
def test_the_command_line(package: Path, how: list[str]) -> None:
    run = command(package, "datapackage.json", "--json", *how)
    assert (run.returncode, run.stderr) == (1, "")
    report = json.loads(run.stdout)
    names = [task["name"] for task in report["tasks"] if not task["valid"]]
    assert names == ["bad"]
    warned = {"--limit-errors": ["bad"], "--limit-rows": ["good", "bad"]}.get("".join(how[:1]), [])
    assert [task["name"] for task in report["tasks"] if task["warnings"]] == warned
    assert report["stats"]["errors"] == (1 if warned else 2)
    plain = command(package, "datapackage.json", *how)
    assert plain.returncode == 1
    assert "INVALID" in plain.stdout


def test_one_resource_on_the_command_line(package: Path) -> None:
    run = command(package, "bad.parquet", "--schema", "schema.json", "--json")
    assert (run.returncode, json.loads(run.stdout)["stats"]["errors"]) == (1, 2)


def test_stock_passes_the_same_descriptor_and_the_plugin_can_be_turned_off(package: Path) -> None:
    assert command(package, "datapackage.json", env={"FRICTIONLESS_ARROW": "off"}).returncode == 0


def test_pandas_is_never_imported(package: Path) -> None:
    (package / "pandas.py").write_text("raise SystemExit('pandas was imported')")
    run = command(package, "datapackage.json", "--name", "good")
    assert run.returncode == 0, run.stdout + run.stderr


# Content that is not here


def annexed(folder: Path, **custom: Any) -> Package:
    """A package with a link into an annex whose object is absent."""
    (folder / "data").mkdir()
    (folder / "data" / "t.parquet").symlink_to("../.git/annex/objects/aa/bb/KEY/KEY")
    resource = {"name": "t", "type": "file", "path": "data/t.parquet", "format": "parquet", "bytes": 5, **custom}
    resource["schema"] = {"fields": [{"name": "a", "type": "integer"}]}
    (folder / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    return Package.from_descriptor(str(folder / "datapackage.json"))


def test_absent_content_of_ours_is_valid_and_said_aloud(tmp_path: Path) -> None:
    report = annexed(tmp_path, trace="burstgpt", workload="3").validate()
    assert report.valid
    assert "llm-traces get burstgpt/3" in report.task.warnings[0]
    run = command(tmp_path, "datapackage.json")
    assert run.returncode == 0
    assert "nothing was checked" in run.stderr
    assert "llm-traces get burstgpt/3" in run.stderr


def test_absent_content_of_others_is_an_error_as_in_stock(tmp_path: Path) -> None:
    package = annexed(tmp_path)
    assert kinds(package.validate()) == ["scheme-error"]
    (tmp_path / "data" / "t.parquet").unlink()
    (tmp_path / "data" / "t.parquet").symlink_to("nowhere")
    ours = Package.from_descriptor(
        {"resources": [package.resources[0].to_descriptor() | {"trace": "a", "workload": "b"}]}, basepath=str(tmp_path)
    )
    assert kinds(ours.validate()) == ["scheme-error"]  # a broken link, not an annexed file


def test_present_content_in_an_annex_is_checked(tmp_path: Path) -> None:
    package = annexed(tmp_path)
    target = tmp_path / ".git/annex/objects/aa/bb/KEY/KEY"
    target.parent.mkdir(parents=True)
    pq.write_table(pa.table({"a": ["x"]}), target)
    assert kinds(package.validate()) == ["type-error", "byte-count"]


# Bad input: a refusal, soon, in little memory, without a traceback


def refused(folder: Path, data: bytes, kind: str = "integer") -> str:
    """What the command says of a file, run with a bound on memory and time."""
    (folder / "x.parquet").write_bytes(data)
    schema = {"fields": [{"name": "x", "type": kind}]}
    resource = {"name": "x", "type": "file", "path": "x.parquet", "format": "parquet", "schema": schema}
    (folder / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "from pathlib import Path; from frictionless import Package;"
        "report = Package('datapackage.json').validate();"
        "status = Path('/proc/self/status');"  # ru_maxrss would count what the parent had
        "lines = status.read_text().splitlines() if status.exists() else ['VmHWM: 0 kB'];"
        "print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmHWM')));"
        "print(report.flatten(['type', 'message']))"
    )
    source = str(Path(sys.modules["frictionless_arrow"].__file__ or "").parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    peak, said = run.stdout.split("\n", 1)
    assert int(peak) < 400
    assert "source-error" in said or "encoding-error" in said
    return said


class Struct:
    """A struct in Thrift's compact protocol, to write footers that no library would."""

    def __init__(self) -> None:
        self.data = b""
        self.last = 0

    def add(self, field: int, kind: int, value: bytes) -> Struct:
        self.data += bytes([(field - self.last) << 4 | kind]) + value
        self.last = field
        return self

    def integers(self, **numbers: int) -> Struct:
        for name, number in numbers.items():
            self.add(int(name[1:]), 6, integer(number))
        return self

    def end(self) -> bytes:
        return self.data + b"\0"


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def integer(number: int) -> bytes:
    return varint((number << 1) ^ (number >> 63))


def listed(kind: int, items: list[bytes]) -> bytes:
    return bytes([0xF0 | kind]) + varint(len(items)) + b"".join(items)


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


def small_int(struct: Struct, field: int, number: int) -> Struct:
    return struct.add(field, 5, integer(number))


def column(name: bytes, kind: int, length: int = 0) -> bytes:
    struct = small_int(Struct(), 1, kind)
    if length:
        small_int(struct, 2, length)
    return small_int(struct, 3, 1).add(4, 8, text(name)).end()


def whole(footer: bytes, body: bytes = b"") -> bytes:
    return b"PAR1" + body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def crafted(rows: int, values: int, size: int, body: bytes, codec: int = 0, kind: int = 2, length: int = 0) -> bytes:
    """A Parquet file of one optional column in one page, which may lie about all of it."""
    inner = small_int(small_int(small_int(small_int(Struct(), 1, values), 2, 0), 3, 3), 4, 3)
    header = small_int(small_int(small_int(Struct(), 1, 0), 2, size), 3, len(body)).add(5, 12, inner.end()).end()
    meta = small_int(Struct(), 1, kind).add(2, 9, listed(5, [integer(0)])).add(3, 9, listed(8, [text(b"x")]))
    small_int(meta, 4, codec).integers(_5=values, _6=size, _7=len(header + body), _9=4)
    group = Struct().add(1, 9, listed(12, [Struct().integers(_2=4).add(3, 12, meta.end()).end()]))
    root = small_int(Struct().add(4, 8, text(b"s")), 5, 1).end()
    footer = small_int(Struct(), 1, 1).add(2, 9, listed(12, [root, column(b"x", kind, length)]))
    footer.integers(_3=rows).add(4, 9, listed(12, [group.integers(_2=size, _3=rows).end()]))
    return whole(footer.end(), header + body)


def nulls(count: int) -> bytes:
    """Definition levels of this many nulls."""
    run = varint(count << 1) + b"\0"
    return len(run).to_bytes(4, "little") + run


def nested(depth: int) -> bytes:
    group = small_int(small_int(Struct(), 3, 1).add(4, 8, text(b"a")), 5, 1).end()
    footer = small_int(Struct(), 1, 1).add(2, 9, listed(12, [group] * depth + [column(b"x", 1)]))
    return whole(footer.integers(_3=0).add(4, 9, listed(12, [])).end())


HUGE = 2**31 - 1
CRAFTED: dict[str, Callable[[], bytes]] = {
    "rows": lambda: crafted(HUGE, HUGE, 9, nulls(HUGE)),
    "more rows": lambda: crafted(2**60, HUGE, 9, nulls(HUGE)),
    "fewer than no rows": lambda: crafted(-5, 5, 9, nulls(5)),
    "fewer values than rows": lambda: crafted(100_000, 100_000, 9, nulls(5)),
    "page": lambda: crafted(100, 100, HUGE, b"(\xb5/\xfd" + bytes(40), codec=6),
    "page that is as big": lambda: crafted(
        2**26, 2**26, 2**29, pa.compress(bytes(2**29), "zstd", asbytes=True), codec=6
    ),
    "width": lambda: crafted(1000, 1000, 9, nulls(1000), kind=7, length=2**30),
    "widths together": lambda: crafted(100_000, 100_000, 9, nulls(100_000), kind=7, length=2**20),
    "depth": lambda: nested(100_000),
}


@pytest.mark.parametrize("claim", CRAFTED)
def test_crafted_claims_are_refused(tmp_path: Path, claim: str) -> None:
    refused(tmp_path, CRAFTED[claim](), "any")


def test_the_crafted_file_is_right_where_it_tells_the_truth(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(crafted(1000, 1000, 9, nulls(1000)))
    assert pq.read_table(tmp_path / "x.parquet")["x"].null_count == 1000


def test_broken_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(1000)}), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    refused(tmp_path, good[:-100])
    refused(tmp_path, good[: len(good) // 2] + good[-300:])
    refused(tmp_path, good[:-8] + HUGE.to_bytes(4, "little") + b"PAR1")
    refused(tmp_path, b"a,b\n1,2\n")
    refused(tmp_path, b"")


@settings(LAX, max_examples=EXAMPLES // 3)
@given(st.data())
def test_flipped_bytes_never_end_in_a_traceback(data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        pq.write_table(pa.table({"a": [1, None, 3] * 20, "b": ["x", "yy", None] * 20, "c": [[1], [], None] * 20}), path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        schema = {
            "fields": [
                {"name": "a", "type": "integer"},
                {"name": "b", "type": "string"},
                {"name": "c", "type": "array"},
            ]
        }
        by_columns(path, schema)


def test_text_that_is_not_utf8_is_an_encoding_error(tmp_path: Path) -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0")
    wrong = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ok\xff\xfe"))
    pq.write_table(pa.table({"x": wrong}), tmp_path / "b.parquet")
    assert "encoding-error" in refused(tmp_path, (tmp_path / "b.parquet").read_bytes(), "string")


def test_links_out_of_the_package_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "package", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    pq.write_table(pa.table({"a": [1]}), outside / "t.parquet")
    (inside / "t.parquet").symlink_to(outside / "t.parquet")
    schema = {"fields": [{"name": "a", "type": "integer"}]}
    resource = {"name": "t", "type": "file", "path": "t.parquet", "format": "parquet", "schema": schema}
    (inside / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    report = Package.from_descriptor(str(inside / "datapackage.json")).validate()
    assert kinds(report) == ["resource-error"]
    for how in ([], ["--parallel"]):
        run = command(inside, "datapackage.json", *how)
        assert run.returncode == 1
        assert "is not safe" in "".join(run.stdout.split("\n")), run.stdout
    with system.use_context(trusted=True):
        assert Package.from_descriptor(str(inside / "datapackage.json")).validate().valid
    for path in ("../outside/t.parquet", str(outside / "t.parquet")):
        (inside / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource | {"path": path}]}))
        run = command(inside, "datapackage.json")
        assert run.returncode == 1
        assert "is not safe" in run.stdout + run.stderr
        assert "Traceback" not in run.stderr
