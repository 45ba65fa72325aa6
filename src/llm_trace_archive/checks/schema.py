"""Schema and rows: names, order and types of the columns, every constraint, and the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..columns.constraints import violations
from ..convert.parquet import read_parts
from ..core.archive import LOCK
from ..core.errors import Problem
from ..core.recipe import Workload
from ..core.schema import arrow_schema
from ..core.table import Table
from .result import Result
from .rows import first_rows

LARGEST_GROUP = 256 << 20  # bytes; four times what the archive writes


def check_columns(workload: Workload, table_schema: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Check names and types of the columns, and the size of the row groups. Reads no rows."""
    source = workload.schema_path
    expected, found = arrow_schema(table_schema), table.schema
    yield Result("schema", "columns", ", ".join(expected.names), 0, ", ".join(found.names), source)
    if expected.names != found.names:
        return
    for name in expected.names:
        types = _type(expected.field(name)), _type(found.field(name))
        yield Result("schema", f"type of {name}", types[0], 0, types[1], source, name)
    groups = table.file.metadata
    largest = max((groups.row_group(group).total_byte_size for group in range(groups.num_row_groups)), default=0)
    limit = f"{LARGEST_GROUP:,} bytes or less"
    yield Result("schema", "row groups", limit, 0, limit if largest <= LARGEST_GROUP else f"{largest:,} bytes", source)


def check_rows(workload: Workload, table_schema: Mapping[str, Any], table: Table, rows: int) -> Iterator[Result]:
    """Check the constraints of every column, and that there are `rows` rows; reads every row group once."""
    source = workload.schema_path
    row_number = next(field["name"] for field in table_schema["fields"] if field["name"] not in ("trace", "workload"))
    scanned = 0
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], tuple[tuple[int, str], ...]] = {}
    for start, batch in table.groups():
        scanned += batch.num_rows
        numbers = pa.arange(start, start + batch.num_rows)
        masks = [(row_number, "the number of the row", pc.not_equal(batch.column(row_number), numbers))]
        for name, constant in (("trace", workload.trace), ("workload", workload.name)):
            masks.append((name, constant, pc.not_equal(pc.cast(batch.column(name), pa.string()), constant)))
        for column, expected, mask in (*violations(table_schema, batch), *masks):
            key = column, expected
            counts[key] = counts.get(key, 0) + (pc.sum(mask).as_py() or 0)
            first[key] = first_rows(mask, batch.column(column), start, first.get(key, ()))
    for (column, expected), count in counts.items():
        name = f"rows whose {column} is not {expected}"
        yield Result("schema", name, 0, 0, count, source, column, first[column, expected])
    yield Result("rows", "rows scanned", rows, 0, scanned, LOCK)
    try:
        upstream: int | str = sum(part.rows for part in read_parts(table))
    except Problem as problem:
        upstream = problem.message
    yield Result("rows", "rows of the upstream files", rows, 0, upstream, LOCK)


def _type(field: pa.Field) -> str:
    # Parquet names the values of a list "element", Arrow "item".
    kind = str(field.type).replace("<element:", "<item:")
    return kind if field.nullable else f"{kind}, required"
