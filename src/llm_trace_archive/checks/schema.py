"""Schema and rows: names, order and types of the columns, every constraint, and the number of rows three ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..convert.parquet import read_parts
from ..core.archive import LOCK
from ..core.errors import Problem
from ..core.recipe import Workload
from ..core.schema import arrow_schema, violations
from ..core.table import Table
from .result import Result, first_rows

LARGEST_GROUP = 256 << 20  # four times what parquet.py makes; more is refused before it is read


def table_checks(workload: Workload, table_schema: Mapping[str, Any], table: Table, rows: int) -> Iterator[Result]:
    """Read every row group once; `rows` is what the lock says. Raises OSError or ArrowInvalid for unreadable pages."""
    source = workload.schema_path
    expected, found = arrow_schema(table_schema), pq.read_schema(table.path)
    yield Result("schema", "columns", ", ".join(expected.names), 0, ", ".join(found.names), source)
    if expected.names != found.names:
        return
    same = True
    for name in expected.names:
        wanted, got = _type(expected.field(name)), _type(found.field(name))
        same = same and wanted == got
        yield Result("schema", f"type of {name}", wanted, 0, got, source, name)
    if not same:
        return
    groups = pq.read_metadata(table.path)
    largest = max((groups.row_group(n).total_byte_size for n in range(groups.num_row_groups)), default=0)
    limit = f"{LARGEST_GROUP:,} bytes or less"
    yield Result("schema", "row groups", limit, 0, limit if largest <= LARGEST_GROUP else f"{largest:,} bytes", source)
    if largest > LARGEST_GROUP:
        return  # a claim that nobody should make room for
    identity = next(name for name in expected.names if name not in ("trace", "workload"))
    scanned = 0
    counts: dict[tuple[str, str], int] = {}
    shown: dict[tuple[str, str], tuple[tuple[int, str], ...]] = {}
    for start, batch in table.groups():
        scanned += batch.num_rows
        numbers = pa.arange(start, start + batch.num_rows)
        broken = [(identity, "the number of its row", pc.not_equal(batch.column(identity), numbers))]
        for name, wanted in (("trace", workload.trace), ("workload", workload.name)):
            broken.append((name, wanted, pc.not_equal(pc.cast(batch.column(name), pa.string()), wanted)))
        for column, wanted, mask in (*violations(table_schema, batch), *broken):
            counts[column, wanted] = counts.get((column, wanted), 0) + (pc.sum(mask).as_py() or 0)
            shown[column, wanted] = first_rows(mask, batch.column(column), start, shown.get((column, wanted), ()))
    for (column, wanted), count in counts.items():
        yield Result(
            "schema", f"rows of {column} that are not {wanted}", 0, 0, count, source, column, shown[column, wanted]
        )
    yield Result("rows", "rows scanned", rows, 0, scanned, LOCK)
    try:
        upstream: int | str = sum(part.rows for part in read_parts(table.path))
    except Problem as problem:
        upstream = problem.message
    yield Result("rows", "rows of the upstream files", rows, 0, upstream, LOCK)


def _type(field: pa.Field) -> str:
    # Parquet names the values of a list "element", Arrow "item".
    kind = str(field.type).replace("<element:", "<item:")
    return kind if field.nullable else f"{kind}, required"
