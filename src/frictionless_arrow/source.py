"""A Parquet file read a few rows at a time, its claims checked against its bytes before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from frictionless import FrictionlessException, errors

from .limits import opened

BATCH_ROWS = 2**17
BATCH_BYTES = 2**25

# What Arrow raises for a broken file, and the row code for values it can't compare or hash.
REFUSED = (pa.ArrowException, ValueError, TypeError, ArithmeticError, OSError, MemoryError, LookupError)


class Source:
    """An open Parquet file: labels and types in the order stock frictionless shows the columns, and batches of rows."""

    def __init__(self, path: str) -> None:
        groups, self._file = opened(Path(path))
        columns = self._file.metadata.schema
        widths = sum(columns.column(index).length or 0 for index in range(len(columns)))
        self.rows = sum(group.rows for group in groups)
        width = max(widths, sum(group.size for group in groups) // max(self.rows, 1), 1)
        self._batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // width))
        self._schema = self._file.schema_arrow
        # Texts stay dictionaries: one long text that many rows share would not fit in memory once a row. Those in lists
        # can't, as Arrow does not put together the nested dictionaries of several row groups.
        texts = [field.name for field in self._schema if is_text(field.type) or pa.types.is_binary(field.type)]
        self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, read_dictionary=texts)
        self._shown = _shown(self._schema)
        self.labels = [label for label, _ in self._shown]

    def batches(
        self, limit: int | None = None, rows: int = BATCH_ROWS, positions: list[int] | None = None
    ) -> Iterator[list[pa.Array]]:
        """A few rows at a time, of the first `limit` rows: all columns, or those at some positions."""
        shown = [place for _, place in (self._shown if positions is None else [self._shown[at] for at in positions])]
        stored = [place for place in shown if isinstance(place, int)]
        names: list[str] | None = [self._schema.names[place] for place in stored]
        if positions is None or not names or self._is_ambiguous():
            names, stored = None, list(range(len(self._schema.names)))
        done = 0
        for batch in self._file.iter_batches(batch_size=min(rows, self._batch_rows), columns=names):
            if limit is not None and done >= limit:
                return
            batch = batch.slice(0, None if limit is None else limit - done)
            here = np.arange(done, done := done + batch.num_rows)
            columns = batch.columns if names is None else [batch.column(name) for name in names]
            by_place = dict(zip(stored, columns, strict=True))
            yield [by_place[place] if isinstance(place, int) else _numbered(place, here) for place in shown]

    def _is_ambiguous(self) -> bool:
        """Whether selecting columns by name would select too many."""
        names = self._schema.names
        return len(set(names)) < len(names) or any("." in name for name in names)


def cells(columns: list[pa.Array]) -> list[list[Any]]:
    """The rows of these columns as Python values."""
    return [list(row) for row in zip(*(microseconds(column).to_pylist() for column in columns), strict=True)]


def microseconds(column: pa.Array) -> pa.Array:
    """Times in the unit of Python's own, rounded down as pandas does; other columns as they are."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether values are Python's `str`."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def refusal(error: BaseException) -> FrictionlessException:
    """What went wrong with reading, as frictionless words it."""
    if isinstance(error, FrictionlessException):
        return error
    kind = errors.EncodingError if isinstance(error, UnicodeDecodeError) else errors.SourceError
    return FrictionlessException(kind(note=str(error) or type(error).__name__))


def _shown(schema: pa.Schema) -> list[tuple[str, int | range]]:
    """Labels and where the values are, as stock frictionless shows them: pandas puts indexes with a name first.

    An index that counts is not stored as a column: the metadata say from where and in which steps.
    """
    description = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    names = {column.get("field_name"): column.get("name") for column in description.get("columns", [])}
    first: list[tuple[str, int | range]] = []
    hidden = set()
    for index in description.get("index_columns", []):
        if isinstance(index, str) and index in schema.names:
            hidden.add(schema.names.index(index))
            if names.get(index) is not None:
                first.append((str(names[index]), schema.names.index(index)))
        elif isinstance(index, dict) and index.get("name") is not None:
            first.append((str(index["name"]), range(index["start"], index["stop"], index["step"])))
    return first + [(name, place) for place, name in enumerate(schema.names) if place not in hidden]


def _numbered(count: range, rows: npt.NDArray[np.int64]) -> pa.Array:
    numbers = rows * count.step + count.start
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
