"""The Frictionless plugin against stock frictionless: the same reports, whatever the table and its faults."""

from __future__ import annotations

import datetime as dt
import decimal
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Checklist, Package, Resource
from hypothesis import given, settings
from hypothesis import strategies as st

from support.frictionless_reports import (
    EXAMPLES,
    LAX,
    PROFILE,
    agree,
    by_columns,
    by_rows,
    kinds,
    stock,
    unless_it_fails,
)
from support.frictionless_tables import ARROW, tables

LIMITS = st.fixed_dictionaries({}, optional={"limit_rows": st.integers(-2, 12), "limit_errors": st.integers(-2, 6)})
PICKED = {"pick_errors": ["type-error", "#row"]}
CHECKLISTS = st.sampled_from([{}, {}, {}, PICKED, {"skip_errors": ["constraint-error"]}])


@pytest.mark.faults
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


# Tables that pandas returns unchanged: nulls in texts only, no NaN, which is null to pandas, no lists, and no rows of
# numbers alone, which become floats.
FAITHFUL = [
    (kind, values.filter(lambda value: value == value))
    for kind, values in ARROW
    if str(kind) in ("string", "int64", "bool", "double", "date32[day]")
]


@pytest.mark.faults
@settings(LAX, max_examples=EXAMPLES // 3)
@given(tables(FAITHFUL, nulls=False), LIMITS, st.booleans(), st.booleans())
def test_reports_are_those_of_stock_on_the_same_file(
    made: tuple[pa.Table, dict[str, Any]], limits: dict[str, int], index: bool, bare: bool
) -> None:
    """Also of a bare file, for which a schema is inferred."""
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
        descriptor = {"$schema": PROFILE, "name": "t", "type": "table", "path": path.name}
        descriptor |= {} if bare else {"schema": schema}
        report = Resource.from_descriptor(descriptor, basepath=folder).validate(**limits)
        with stock():
            expected = unless_it_fails(Resource.from_descriptor(descriptor, basepath=folder), **limits)
    agree(report, expected, {} if bare else schema)


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
    """Among so many good values that the row of the fault is not checked by chance."""
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
    from frictionless_arrow import row_check

    made: list[int] = []
    cells = row_check.cells
    monkeypatch.setattr(row_check, "cells", lambda columns: made.append(len(columns[0])) or cells(columns))
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(300_000), "b": ["x"] * 299_999 + ["y"]}), path)
    schema = {
        "fields": [{"name": "a", "type": "integer"}, {"name": "b", "type": "string", "constraints": {"enum": ["x"]}}],
        "primaryKey": ["a"],
    }
    report = by_columns(path, schema)
    assert report.flatten(["rowNumber", "fieldNumber", "type"]) == [[300_001, 2, "constraint-error"]]
    assert made == [row_check.SAMPLE_ROWS, 1, 1]  # to open the table, its first row, and the wrong one


# Keys


def test_keys_repeated_far_apart_and_over_several_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_trace_archive.columns.keys.KEYS_AT_ONCE", 5_000)
    monkeypatch.setattr("frictionless_arrow.source.BATCH_ROWS", 2_000)
    numbers = [*range(20_000), 7, 15_000]
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
        report = by_columns(path, schema)
        errors = [(error.row_number, error.note) for error in report.task.errors if error.type == "primary-key"]
        assert errors == [
            (20_002, "the same as in the row at position 9"),
            (20_003, "the same as in the row at position 15002"),
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
