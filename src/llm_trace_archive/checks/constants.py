"""The columns that have one value in all rows of an upstream file, or none, as the recipe says."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..convert.canonicalise import list_constants
from ..convert.parquet import read_parts
from ..core.recipe import Workload
from ..core.table import Table
from .result import Result
from .rows import first_rows

Run = tuple[range, Mapping[str, Any]]  # rows, and the value that each of some columns has in all of them


def check_constants(workload: Workload, columns: Sequence[str], table: Table) -> Iterator[Result]:
    """Check that a column has the value that the recipe gives it, and none if the recipe does not map it.

    Raises one of `UNREADABLE`, and Problem if the file does not say which upstream files its rows are from.
    """
    runs = list(_list_runs(workload, columns, table))
    names = [name for name in columns if any(name in values for _, values in runs)]
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], tuple[tuple[int, str], ...]] = {}
    for start, batch in table.groups(names):
        for rows, values in runs:
            low, high = max(rows.start, start), min(rows.stop, start + batch.num_rows)
            for name, value in values.items() if low < high else ():
                column = batch.column(name).slice(low - start, high - low)
                mask = column.is_valid() if value is None else _differs(column, value)
                key = name, "null" if value is None else str(value)
                counts[key] = counts.get(key, 0) + (pc.sum(mask).as_py() or 0)
                first[key] = first_rows(mask, column, low, first.get(key, ()))
    source = f"recipes/{workload.trace}.toml"
    for (name, expected), count in counts.items():
        title = f"rows whose {name} is not {expected}"
        yield Result("schema", title, 0, 0, count, source, name, first[name, expected])


def _list_runs(workload: Workload, columns: Sequence[str], table: Table) -> Iterator[Run]:
    """Yield the rows of each upstream file in order; files in a row with the same rules make one run."""
    number = next(name for name in columns if name not in ("trace", "workload"))
    start = 0
    # A file that the recipe does not name is reported by the check of the upstream files.
    files = ((workload.upstream(part.name), part.rows) for part in read_parts(table))
    for rules, group in itertools.groupby(files, key=lambda each: each[0].rules if each[0] else None):
        of_group = list(group)
        stop = start + sum(rows for _, rows in of_group)
        if rules is not None and (file := of_group[0][0]):
            filled = {number} | {column for rule in rules if rule.source is not None for column in rule.columns}
            constants = list_constants(workload, file)
            yield range(start, stop), {name: constants.get(name) for name in columns if name not in filled}
        start = stop


def _differs(column: pa.Array, value: Any) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = pc.cast(column, pa.string()), pa.string()
    return pc.fill_null(pc.not_equal(column, pc.cast(pa.array([value]), kind)[0]), True)
