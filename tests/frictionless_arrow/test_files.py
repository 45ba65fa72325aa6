"""The Frictionless plugin on files and packages: where stock is wrong, the command line, absent content."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Checklist, Package, Resource

from support.frictionless_reports import (
    by_columns,
    by_rows,
    command,
    kinds,
    stock,
    summarise,
)

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
    assert summarise(report) == summarise(expected)
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
            assert summarise(report) == summarise(
                Resource.from_descriptor(descriptor, basepath=str(tmp_path)).validate()
            )
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
    assert summarise(resource.validate())["rows"] == 2


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


def test_one_resource_on_the_command_line(package: Path) -> None:
    run = command(package, "bad.parquet", "--schema", "schema.json")
    assert (run.returncode, run.stdout.count("constraint-error")) == (1, 2) and "INVALID" in run.stdout


def test_stock_passes_the_same_descriptor_and_the_plugin_can_be_turned_off(package: Path) -> None:
    assert command(package, "datapackage.json", env={"FRICTIONLESS_ARROW": "off"}).returncode == 0


def test_pandas_is_never_imported(package: Path) -> None:
    (package / "pandas.py").write_text("raise SystemExit('pandas was imported')")
    run = command(package, "datapackage.json", "--name", "good")
    assert run.returncode == 0, run.stdout + run.stderr


# Absent content


def annexed(folder: Path, **custom: Any) -> Package:
    """A package with a link into an annex whose object is absent."""
    (folder / "data").mkdir()
    (folder / "data" / "t.parquet").symlink_to("../.git/annex/objects/aa/bb/KEY/KEY")
    resource = {"name": "t", "type": "file", "path": "data/t.parquet", "format": "parquet", "bytes": 5, **custom}
    resource["schema"] = {"fields": [{"name": "a", "type": "integer"}]}
    (folder / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    return Package.from_descriptor(str(folder / "datapackage.json"))


@pytest.mark.parametrize("parallel", [False, True])
def test_absent_content_of_ours_is_valid_with_a_warning(tmp_path: Path, parallel: bool) -> None:
    """Next to a resource that is here, because `--parallel` starts no process for a single one."""
    report = annexed(tmp_path, trace="burstgpt", workload="3").validate()
    assert report.valid
    assert "llm-traces get burstgpt/3" in report.task.warnings[0]
    pq.write_table(pa.table({"a": [1]}), tmp_path / "data" / "here.parquet")
    descriptor = json.loads((tmp_path / "datapackage.json").read_text())
    here = {"name": "here", "type": "file", "path": "data/here.parquet", "format": "parquet"}
    descriptor["resources"].append(here | {"schema": {"fields": [{"name": "a", "type": "integer"}]}})
    (tmp_path / "datapackage.json").write_text(json.dumps(descriptor))
    run = command(tmp_path, "datapackage.json", "--json", *(["--parallel"] if parallel else []))
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr.count("nothing was checked") == 1
    assert "llm-traces get burstgpt/3" in run.stderr
    tasks = {task["name"]: task for task in json.loads(run.stdout)["tasks"]}
    assert [bool(tasks[name]["warnings"]) for name in ("t", "here")] == [True, False]


@pytest.mark.parametrize("pointer", ["/annex/objects/KEY\n", "../.git/annex/objects/aa/bb/KEY/KEY"])
def test_a_pointer_of_git_annex_is_absent_content(tmp_path: Path, pointer: str) -> None:
    """As in a clone with unlocked files, or without symbolic links."""
    for custom in ({"trace": "burstgpt", "workload": "3"}, {}):
        folder = tmp_path / str(len(custom))
        folder.mkdir()
        package = annexed(folder, **custom)
        (folder / "data" / "t.parquet").unlink()
        (folder / "data" / "t.parquet").write_text(pointer)
        report = package.validate()
        assert kinds(report) == ([] if custom else ["source-error", "byte-count"])
        assert bool(report.task.warnings) is bool(custom)


def test_what_a_descriptor_says_is_printed_as_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (warning,) = annexed(tmp_path, trace="\x1b[2J", workload="\x07\u202e").validate().task.warnings
    assert r"\x1b[2J/\x07\u202e" in warning and "\x1b" not in caplog.text + warning


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
