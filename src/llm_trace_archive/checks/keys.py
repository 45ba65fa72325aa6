"""Keys: the rows that repeat one, and the rows that refer to a row that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import Numbers
from ..columns.keys import Keys, look_up, number_rows, repeated_rows, rises
from ..core.archive import Archive
from ..core.recipe import Workload
from ..core.table import Table
from .result import ROWS_SHOWN, Result


def check_keys(archive: Archive, workload: Workload, table_schema: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Check primary, unique and foreign keys of a Table Schema, and the references of a recipe.

    A reference to a table whose content is missing is not checked.
    """
    source = workload.schema_path
    for names, key in _unique_keys(table_schema):
        title = f"rows that repeat a key: {key}"
        yield _missing(title, names, table, source) or _result(title, table, names, find_repeats(table, names), source)
    paths = {each["name"]: each["path"] for each in archive.locked.values()}
    for each in table_schema.get("foreignKeys", ()):
        names, target = _as_list(each["fields"]), each["reference"]
        resource, columns = target.get("resource", ""), _as_list(target["fields"])
        title = f"rows of {', '.join(names)} that refer to no row of {resource or 'the table itself'}"
        if resource and resource not in paths:
            yield Result("keys", title, 0, 0, "no such resource", source, names[0])
        elif not resource:
            yield _refer(title, table, names, table, columns, source)
        elif archive.has_content(paths[resource]):
            with Table(archive.root / paths[resource]) as other:
                yield _refer(title, table, names, other, columns, source)
    for name, reference in workload.expect.get("references", {}).items():
        target, _, column = reference.partition(".")
        other_workload = archive.recipe(workload.trace).workload(target)
        if archive.is_present(other_workload):
            with Table(archive.root / other_workload.path) as other:
                title = f"rows of {name} that refer to no {column} of {workload.trace}/{target}"
                yield _refer(title, table, [name], other, [column], f"recipes/{workload.trace}.toml")


def _refer(title: str, table: Table, names: list[str], target: Table, columns: list[str], source: str) -> Result:
    missing = _missing(title, names, table, source) or _missing(title, columns, target, source)
    return missing or _result(title, table, names, find_unmatched(table, names, target, columns), source)


def _missing(title: str, names: list[str], table: Table, source: str) -> Result | None:
    """Return a finding if a table lacks columns of a key, which then can't be checked."""
    missing = [name for name in names if name not in table.names]
    return Result("keys", title, 0, 0, f"no column {', '.join(missing)}", source) if missing else None


def _unique_keys(table_schema: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    if primary := _as_list(table_schema.get("primaryKey", [])):
        yield primary, "primaryKey"
    for field in table_schema["fields"]:
        if field.get("constraints", {}).get("unique") and [field["name"]] != primary:
            yield [field["name"]], f"unique {field['name']}"


def _as_list(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _result(name: str, table: Table, columns: list[str], broken: Iterable[Numbers], source: str) -> Result:
    count, rows = count_rows(table, columns[0], broken)
    return Result("keys", name, 0, 0, count, source, columns[0], rows)


def count_rows(table: Table, column: str, parts: Iterable[Numbers]) -> tuple[int, tuple[tuple[int, str], ...]]:
    """Return how many rows the parts name, and the first of them with their values, for `Result.rows`."""
    count, first = 0, np.empty(0, np.int64)
    for part in parts:
        count += len(part)
        first = np.unique(np.concatenate([first, part]))[:ROWS_SHOWN]
    return count, tuple((int(row), table.value(column, int(row))) for row in first)


def find_repeats(table: Table, names: list[str]) -> Iterator[Numbers]:
    """Yield the rows whose key a row before has; a key without any value is none."""
    if len(names) > 1 or not rises(batch.column(0) for _, batch in table.groups(names)):
        yield from repeated_rows(lambda: _read_keys(table, names), table.rows)


def find_unmatched(table: Table, names: list[str], target: Table, columns: list[str]) -> Iterator[Numbers]:
    """Yield the rows whose key, or any of whose keys if the column is a list, no row of `target` has."""
    rows = max(table.rows, target.rows)
    for references, matches in look_up(lambda: _read_keys(target, columns), lambda: _read_keys(table, names), rows):
        yield np.unique(references.rows[matches.rows < 0])


def _read_keys(table: Table, names: list[str]) -> Iterator[Keys]:
    for start, batch in table.groups(names):
        columns = [batch.column(name) for name in names]
        if len(columns) == 1 and pa.types.is_list(columns[0].type):
            parents = pc.list_parent_indices(columns[0]).to_numpy()
            items = number_rows(0, [pc.list_flatten(columns[0])])
            yield Keys(start + parents[items.rows], items.hashes, items.others)
        else:
            yield number_rows(start, columns)
