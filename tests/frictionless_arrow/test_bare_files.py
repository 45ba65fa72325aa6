"""A Parquet file without a descriptor, by every flag of the command line and by Python: the reports of stock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import frictionless.console.commands  # noqa: F401  registers `validate`
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Detector, Package, Resource, Schema, validate
from frictionless.console import console
from typer.testing import CliRunner

from support.frictionless_reports import kinds, stock, summarise

TABLE = pa.table({"a": [1, 2, 2], "b": ["x", "y", "y"], "c": [1.5, 2.5, 2.5]})
FIELDS = [{"name": "a", "type": "integer"}, {"name": "b", "type": "string"}, {"name": "c", "type": "number"}]
WRONG = [FIELDS[0] | {"type": "string"}, *FIELDS[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables, and schemas that fit, do not fit and can't be read."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("t", "u"):
        pq.write_table(TABLE, folder / f"{name}.parquet")
    pq.write_table(TABLE.slice(0, 0), folder / "empty.parquet")
    (folder / "good.json").write_text(json.dumps({"fields": FIELDS}))
    (folder / "wrong.json").write_text(json.dumps({"fields": WRONG}))
    (folder / "broken.json").write_text("{")
    (folder / "dangling.parquet").symlink_to("nowhere")
    (folder / "loop.parquet").symlink_to("loop.parquet")
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, Any]:
    """Return exit code and report of `frictionless validate`, without times; or its output if it has no report."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(console, ["validate", *arguments, "--json"])
    finally:
        os.chdir(before)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return done.exit_code, done.output
    for each in (report, *report["tasks"]):
        del each["stats"]["seconds"]
    return done.exit_code, report


SCHEMA = ("--schema", "wrong.json")
COMMANDS = [
    ("t.parquet",),
    ("t.parquet", "--schema", "good.json"),
    ("t.parquet", *SCHEMA),
    *(("t.parquet", *SCHEMA, "--limit-rows", limit) for limit in ("-2", "-1", "0", "1", "2", "3", "4")),
    *(("t.parquet", *SCHEMA, "--limit-errors", limit) for limit in ("-2", "-1", "0", "1", "3")),
    *(("empty.parquet", *more, "--limit-rows", limit) for more in ((), SCHEMA) for limit in ("-1", "0", "1")),
    ("--path", "t.parquet"),
    ("t.parquet", "u.parquet"),
    ("*.parquet",),
    ("t.parquet", "--name", "other"),
    ("t.parquet", "--type", "table"),
    ("t.parquet", "--type", "file"),
    ("t.parquet", "--type", "resource"),
    ("t.parquet", "--type", "package"),
    ("t.parquet", "--format", "parquet"),
    ("t.parquet", "--format", "csv"),
    ("t.parquet", "--scheme", "file"),
    ("t.parquet", "--encoding", "latin-1"),
    ("t.parquet", "--compression", "zip"),
    ("t.parquet", "--innerpath", "inner"),
    ("t.parquet", "--basepath", "."),
    ("t.parquet", "--rows", "3"),
    ("t.parquet", "--rows", "2"),
    ("t.parquet", "--fields", "3"),
    ("t.parquet", "--fields", "2"),
    ("t.parquet", "--header-rows", "1,2"),
    ("t.parquet", "--comment-char", "x"),
    ("t.parquet", "--dialect", '{"header": false}'),
    ("t.parquet", "--dialect", '{"parquet": {"columns": ["a"]}}'),
    ("t.parquet", "--buffer-size", "10"),
    ("t.parquet", "--sample-size", "0"),
    ("t.parquet", "--sample-size", "1"),
    ("t.parquet", "--field-type", "string"),
    ("t.parquet", "--field-type", "integer"),
    ("t.parquet", "--field-names", "q,w,e"),
    ("t.parquet", "--field-names", "q"),
    ("t.parquet", "--field-confidence", "0.1"),
    ("t.parquet", "--field-float-numbers"),
    ("t.parquet", "--field-missing-values", "x,y"),
    ("t.parquet", "--schema-sync", *SCHEMA),
    ("t.parquet", "--schema", "broken.json"),
    ("t.parquet", "--schema", "missing.json"),
    ("t.parquet", "--checks", "duplicate-row"),
    ("t.parquet", "--checks", "table-dimensions:numRows=1"),
    ("t.parquet", "--checklist", '{"checks": [{"type": "duplicate-row"}]}'),
    ("t.parquet", "--pick-errors", "type-error", *SCHEMA),
    ("t.parquet", "--skip-errors", "type-error", *SCHEMA),
    ("t.parquet", "--parallel"),
    ("t.parquet", "--standards", "v1"),
    ("t.parquet", "--trusted"),
    ("missing.parquet",),
    ("dangling.parquet",),
    ("loop.parquet",),
    ("a" * 300 + ".parquet",),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_the_command_line_says_what_stock_says(folder: Path, arguments: tuple[str, ...]) -> None:
    ours = run(folder, *arguments)
    with stock():
        assert ours == run(folder, *arguments)


CALLS: dict[str, dict[str, Any]] = {
    "no schema": {"schema": None},
    "an empty schema": {"schema": Schema()},
    "a path of a schema": {"schema": "wrong.json"},
    "a detector": {"schema": None, "detector": Detector(field_type="string")},
    "a type": {"schema": None, "datatype": "table"},
    "counts": {"schema": None, "rows": 3, "fields": 1},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("limits", [{}, {"limit_rows": 0}, {"limit_rows": -1}, {"limit_rows": 2, "limit_errors": 1}])
def test_python_says_what_stock_says(folder: Path, call: str, limits: dict[str, int]) -> None:
    def ask() -> dict[str, Any]:
        return summarise(Resource(path="t.parquet", basepath=str(folder), **CALLS[call]).validate(**limits))

    ours = ask()
    with stock():
        assert ours == ask()


def test_a_bare_path_is_validated_by_every_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert validate("t.parquet").valid and Resource("t.parquet").validate().valid
    assert Package(["t.parquet", "u.parquet"]).validate().valid
    resource = Resource("t.parquet", schema=None)
    assert resource.validate().valid and [field.name for field in resource.schema.fields] == ["a", "b", "c"]


KINDS = [
    (pa.string_view(), ["x", None]),
    (pa.binary_view(), [b"x", None]),
    (pa.struct({"a": pa.string_view()}), [{"a": "x"}, None]),
    (pa.large_string(), ["x", None]),
    (pa.large_binary(), [b"x", None]),
    (pa.binary(1), [b"x", None]),
    (pa.dictionary(pa.int8(), pa.string()), ["x", None]),
    (pa.dictionary(pa.int8(), pa.int64()), [1, None]),
    (pa.decimal128(5, 2), [1, None]),
    (pa.decimal256(50, 2), [1, None]),
    (pa.float16(), [1.5, None]),
    (pa.large_list(pa.int8()), [[1], None]),
    (pa.map_(pa.string(), pa.int8()), [[("a", 1)], None]),
    (pa.null(), [None, None]),
    (pa.uint64(), [2**64 - 1, None]),
]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(("kind", "values"), KINDS, ids=lambda value: str(value)[:30])
def test_files_of_every_type_of_arrow_are_read(tmp_path: Path, kind: pa.DataType, values: Any, bare: bool) -> None:
    pq.write_table(pa.table({"x": pa.array(values, kind), "id": ["a", "b"]}), tmp_path / "t.parquet")
    descriptor: dict[str, Any] = {"name": "t", "type": "table", "path": "t.parquet"}
    if not bare:
        descriptor["schema"] = {"fields": [{"name": "x", "type": "any"}, {"name": "id", "type": "string"}]}
    report = Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
    with stock():
        expected = Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
    assert summarise(report) == summarise(expected)
    assert report.valid


ONLY_OURS = [
    (pa.list_(pa.string_view()), [["x"], None]),
    (pa.list_(pa.list_(pa.binary_view())), [[[b"x"]], None]),
    (pa.list_(pa.int8(), 1), [[1], None]),
]


@pytest.mark.parametrize(("kind", "values"), ONLY_OURS, ids=lambda value: str(value)[:30])
def test_types_that_stock_cannot_read_are_read(tmp_path: Path, kind: pa.DataType, values: Any) -> None:
    pq.write_table(pa.table({"x": pa.array(values, kind), "id": ["a", "b"]}), tmp_path / "t.parquet")
    fields = [{"name": "x", "type": "array"}, {"name": "id", "type": "string"}]
    descriptor = {"name": "t", "type": "table", "path": "t.parquet", "schema": {"fields": fields}}
    assert Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate().valid


MOMENTS = pa.array([0, None], pa.timestamp("us"))
AFTER = {"constraints": {"minimum": "1960-01-01T00:00:00"}}
ONE_OF = {"constraints": {"enum": ["1970-01-01T00:00:00"]}}
REQUIRED = {"constraints": {"required": True}}
# Where reports differ, as docs/frictionless.md says: a field, the errors of the plugin and those of stock.
DIFFERENCES: list[tuple[pa.Array, dict[str, Any], list[str], list[str] | type[Exception]]] = [
    (MOMENTS, {"type": "datetime"} | AFTER, [], ["constraint-error"]),
    (MOMENTS, {"type": "datetime"} | ONE_OF, [], ["constraint-error"]),
    (MOMENTS, {"type": "datetime"} | REQUIRED, ["constraint-error"], []),
    (MOMENTS, {"type": "date"}, [], ValueError),
    (MOMENTS, {"type": "date"} | REQUIRED, ["constraint-error"], ValueError),
    (MOMENTS, {"type": "integer"}, ["type-error"], ["type-error", "type-error"]),
    (pa.array([0, None], pa.duration("us")), {"type": "duration"}, [], ["type-error"]),
]


@pytest.mark.parametrize(("column", "field", "ours", "theirs"), DIFFERENCES)
def test_where_stock_misreads_null(
    tmp_path: Path, column: pa.Array, field: dict[str, Any], ours: list[str], theirs: list[str] | type[Exception]
) -> None:
    pq.write_table(pa.table({"x": column, "id": ["a", "b"]}), tmp_path / "t.parquet")
    schema = {"fields": [{"name": "x", **field}, {"name": "id", "type": "string"}]}
    descriptor = {"name": "t", "type": "table", "path": "t.parquet", "schema": schema}
    assert kinds(Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()) == ours
    with stock():
        resource = Resource.from_descriptor(descriptor, basepath=str(tmp_path))
        if isinstance(theirs, list):
            assert kinds(resource.validate()) == theirs
        else:
            with pytest.raises(theirs):
                resource.validate()


def test_names_that_are_not_text_and_names_twice(tmp_path: Path) -> None:
    pd.DataFrame({0: [1], 1: ["x"]}).to_parquet(tmp_path / "numbers.parquet")
    pq.write_table(pa.table([[1], ["x"]], names=["a", "a"]), tmp_path / "twice.parquet")
    found = {}
    for name in ("numbers", "twice"):
        report = Resource(path=f"{name}.parquet", basepath=str(tmp_path), schema=None).validate()
        with stock():
            theirs = Resource(path=f"{name}.parquet", basepath=str(tmp_path), schema=None).validate()
        found[name] = report.task.labels, kinds(report), kinds(theirs)
    assert found == {
        "numbers": (["0", "1"], [], ["field-error"]),
        "twice": (["a", "a"], ["duplicate-label"], ["source-error"]),
    }


# Links and pipes


@pytest.mark.parametrize("path", ["loop.parquet", "dangling.parquet", "a" * 300 + ".parquet"])
def test_one_bad_path_does_not_end_the_run(folder: Path, path: str) -> None:
    """Neither of a resource nor of a table that another refers to."""
    schema = {"fields": FIELDS}
    to_bad = {"fields": ["a"], "reference": {"resource": "bad", "fields": ["a"]}}
    bad = {"name": "bad", "type": "table", "path": path, "schema": schema}
    good = {"name": "good", "type": "table", "path": "t.parquet", "schema": schema}
    refers = {"name": "refers", "type": "table", "path": "u.parquet", "schema": schema | {"foreignKeys": [to_bad]}}

    def ask() -> dict[str, list[list[Any]]]:
        package = Package.from_descriptor({"name": "p", "resources": [bad, good, refers]}, basepath=str(folder))
        return {task.name: [[error.type, error.note] for error in task.errors] for task in package.validate().tasks}

    ours = ask()
    assert [bool(ours[name]) for name in ("bad", "good", "refers")] == [True, False, True]
    with stock():
        assert ours == ask()


def test_a_reference_to_a_pipe_is_refused(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    pq.write_table(TABLE, tmp_path / "t.parquet")
    key = {"fields": ["a"], "reference": {"resource": "pipe", "fields": ["a"]}}
    resources = [
        {"name": "t", "type": "table", "path": "t.parquet", "schema": {"fields": FIELDS, "foreignKeys": [key]}},
        {"name": "pipe", "type": "table", "path": "pipe.parquet", "schema": {"fields": FIELDS}},
    ]
    report = Package.from_descriptor({"name": "p", "resources": resources}, basepath=str(tmp_path)).validate()
    assert kinds(report) == ["source-error", "source-error"]


def test_fields_are_counted_though_the_table_cannot_be_opened(folder: Path) -> None:
    key = {"fields": ["a"], "reference": {"resource": "missing", "fields": ["a"]}}
    schema = {"fields": FIELDS, "foreignKeys": [key]}
    descriptor = {"name": "p", "resources": [{"name": "t", "type": "table", "path": "t.parquet", "schema": schema}]}

    def ask() -> dict[str, Any]:
        return summarise(Package.from_descriptor(descriptor, basepath=str(folder)).validate())

    ours = ask()
    assert ours["fields"] == 3
    with stock():
        assert ours == ask()
