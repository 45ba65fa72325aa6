"""Schema and rows: names, order and types of the columns, every constraint, and the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import from_integers
from ..columns.constraints import violations
from ..columns.parquet import read_footer
from ..convert.parquet import make_metadata, read_parts
from ..convert.table import list_facts
from ..core.archive import LOCK
from ..core.errors import Problem
from ..core.recipe import Workload
from ..core.schema import arrow_schema
from ..core.table import Table
from .constants import check_constants
from .leaves import compare
from .result import Result
from .rows import first_rows
from .statistics import check_statistics

TRUE = "true"
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
    """Check the constraints of every column, the statistics of the file, and that there are `rows` rows.

    Reads every row group once.
    """
    source = workload.schema_path
    row_number = next(field["name"] for field in table_schema["fields"] if field["name"] not in ("trace", "workload"))
    scanned = 0
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], tuple[tuple[int, str], ...]] = {}
    lies: list[Result] = []
    with table.path.open("rb") as file:
        footer, _ = read_footer(file)
    for group, (start, batch) in enumerate(table.groups()):
        scanned += batch.num_rows
        numbers = from_integers(np.arange(start, start + batch.num_rows))
        misnumbered = row_number, "the number of the row", pc.not_equal(batch.column(row_number), numbers)
        for column, expected, mask in (*violations(table_schema, batch), misnumbered):
            key = column, expected
            counts[key] = counts.get(key, 0) + (pc.sum(mask).as_py() or 0)
            first[key] = first_rows(mask, batch.column(column), start, first.get(key, ()))
        lies += check_statistics(group, footer, batch)
    for (column, expected), count in counts.items():
        name = f"rows whose {column} is not {expected}"
        yield Result("schema", name, 0, 0, count, source, column, first[column, expected])
    yield from lies or [Result("schema", "statistics", TRUE, 0, TRUE, "the values of each row group")]
    yield Result("rows", "rows scanned", rows, 0, scanned, LOCK)


def check_upstream(workload: Workload, table_schema: Mapping[str, Any], table: Table, rows: int) -> Iterator[Result]:
    """Check what the file says of itself and its upstream files, and the columns that are constant in such a file.

    Raises one of `UNREADABLE`.
    """
    source = f"recipes/{workload.trace}.toml"
    try:
        parts = read_parts(table)
        yield Result("rows", "rows of the upstream files", rows, 0, sum(part.rows for part in parts), LOCK)
        metadata = table.file.metadata.metadata or {}
        found = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}
        found.pop("ARROW:schema", None)  # the types, which are checked
        wanted = make_metadata(arrow_schema(table_schema), list_facts(workload), parts)
        for name, expected, held in compare(wanted, found, "metadata"):
            yield Result("schema", name, expected, 0, held, source)
        names = [part.name for part in parts]
        # A member of an archive may be missing, as the recipe only knows patterns.
        files = [name for name in names if workload.upstream(name)]
        if not any(file.members for file in workload.tables):
            files = [file.name for file in workload.tables]
        for name, expected, held in compare(files, names, "upstream files"):
            yield Result("rows", name, expected, 0, held, source)
        yield from check_constants(workload, table.names, table)
    except Problem as problem:
        yield Result("rows", "rows of the upstream files", rows, 0, problem.message, LOCK)


def _type(field: pa.Field) -> str:
    # Parquet names the values of a list "element", Arrow "item".
    kind = str(field.type).replace("<element:", "<item:")
    unit = (field.metadata or {}).get(b"unit", b"").decode(errors="replace")
    return kind + ("" if field.nullable else ", required") + (f", unit {unit}" if unit else "")
