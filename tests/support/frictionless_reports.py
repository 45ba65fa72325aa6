"""Reports of the Frictionless plugin and of stock frictionless, to compare them."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from frictionless import Report, Resource
from frictionless.resources import TableResource
from hypothesis import HealthCheck, settings

import frictionless_arrow
from support.chance import FACTOR

EXAMPLES = int(os.environ.get("FRICTIONLESS_ARROW_EXAMPLES", 300 + 100 * (FACTOR - 1)))
PROFILE = "https://datapackage.org/profiles/2.0/dataresource.json"  # for exclusive bounds, fieldsMatch and lists


@contextmanager
def stock() -> Iterator[None]:
    """Turn the plugin off."""
    os.environ["FRICTIONLESS_ARROW"] = "off"
    try:
        yield
    finally:
        del os.environ["FRICTIONLESS_ARROW"]


def summarise(report: Report) -> dict[str, Any]:
    """Return everything in a report but times and hashes."""
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
    """Return the types of the errors."""
    return [error[-1] for error in report.flatten()]


def by_rows(table: pa.Table, schema: dict[str, Any], **limits: Any) -> Report | None:
    """Return stock frictionless's report on the same values as Python objects; None if it fails with a traceback."""
    columns = [[native(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    with stock():
        descriptor = {"$schema": PROFILE, "name": "t", "type": "table", "data": [], "schema": schema}
        resource = TableResource.from_descriptor(descriptor)
        resource.data = [table.column_names, *rows]
        return unless_it_fails(resource, **limits)


def unless_it_fails(resource: Resource, **limits: Any) -> Report | None:
    """Return stock's report, or None if it fails with a traceback."""
    try:
        report: Report = resource.validate(**limits)
    except (TypeError, decimal.InvalidOperation):
        return None
    return report


def agree(report: Report, expected: Report | None, schema: dict[str, Any]) -> None:
    """Fail unless two reports agree; where stock fails with a traceback, the plugin's must end with an error."""
    if expected is None:
        # Looking up references, stock reads rows past any limit, and fails there.
        assert kinds(report)[-1:] == ["source-error"] or "foreignKeys" in schema
    else:
        assert summarise(report) == summarise(expected)


def native(value: Any) -> Any:
    """Return a datetime of pandas as Python's own."""
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def by_columns(path: Path, schema: dict[str, Any], kind: str = "table", **limits: Any) -> Report:
    """Return the plugin's report on a file."""
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


LAX = settings(
    max_examples=EXAMPLES, deadline=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck)
)


def command(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `frictionless validate` as a user does."""
    source = Path(frictionless_arrow.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source), "COLUMNS": "200"} | (env or {})
    line = [sys.executable, "-m", "frictionless", "validate", *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
