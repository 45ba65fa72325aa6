"""Statistics of a Parquet file against its values: readers skip the row groups whose statistics exclude a filter.

They are read from the footer's own bytes, as Arrow ends the process for some that are corrupt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .result import Result

SOURCE = "the values of the row group"
# How Parquet writes a value of each physical type but texts; other types have no statistics here.
FORMS = {0: "<?", 1: "<i", 2: "<q", 4: "<f", 5: "<d"}
TEXT = 6
# The fields of a chunk's statistics: both names of the ends, which old readers and new ones follow.
ENDS = {"smallest value": ("min", (2, 6)), "largest value": ("max", (1, 5))}
NULLS, DISTINCT = 3, 4


def check_statistics(number: int, footer: Mapping[int, Any], batch: pa.RecordBatch) -> Iterator[Result]:
    """Yield a finding for each statistic of a row group that its values, `batch`, contradict.

    footer  as `columns.parquet.read_footer` gives it
    """
    where = f"in row group {number}"
    try:
        chunks = [chunk[3] for chunk in footer[4][number][1]]
        for name, column, about in zip(batch.schema.names, batch.columns, chunks, strict=True):
            for what, expected, claimed in _compare(column, about):
                if expected != claimed:
                    found = f"{claimed[:80]}, by the statistics"
                    yield Result("schema", f"{what} of {name} {where}", expected[:80], 0, found, SOURCE, name)
    except (LookupError, TypeError, AttributeError, ValueError) as error:  # a field is missing or of another type
        yield Result("schema", f"statistics {where}", "readable", 0, f"can't be read: {error}"[:200], SOURCE)


def _compare(column: pa.Array, about: Mapping[int, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what a statistic is of, the value it should have, and the one it has."""
    slots, valid, values = _count(column)
    yield "number of values", str(slots), str(about.get(5))
    statistics = about.get(12, {})
    if NULLS in statistics:
        yield "number of nulls", str(slots - valid), str(statistics[NULLS])
    if DISTINCT in statistics:
        yield "number of distinct values", str(len(values.unique())), str(statistics[DISTINCT])
    ends = pc.min_max(values).as_py()
    for what, (end, fields) in ENDS.items():
        for field in fields:
            if field in statistics:
                yield what, str(ends[end]), _decode(about.get(1), statistics[field], ends[end])


def _count(column: pa.Array) -> tuple[int, int, pa.Array]:
    """Return how many values Parquet counts, with nulls and empty lists, how many are not null, and all of those.

    Of a dictionary, each value is returned once.
    """
    if pa.types.is_list(column.type):
        items = pc.list_flatten(column)
        values = items.drop_null()
        empty = pc.sum(pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0)).as_py() or 0
        return len(items) + empty, len(values), values
    valid = len(column) - column.null_count
    if pa.types.is_dictionary(column.type):
        return len(column), valid, column.dictionary.take(column.indices.drop_null().unique())
    return len(column), valid, column.drop_null()


def _decode(kind: Any, content: Any, true: Any) -> str:
    """Return a value as Parquet writes it in statistics as text; zero with the sign of the true one, as both may be."""
    try:
        value = content.decode() if kind == TEXT else struct.unpack(FORMS[kind], content)[0]
    except (KeyError, TypeError, AttributeError, ValueError, struct.error):
        return f"{content!r}, which is no value of the column"
    return str(true if value == true else value)
