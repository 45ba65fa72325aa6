"""A Parquet file, read a few rows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from frictionless import FrictionlessException, errors

from llm_trace_archive.columns.arrays import Numbers, from_integers, is_list, is_text
from llm_trace_archive.columns.parquet import check_claims

TEXTS = (is_text, pa.types.is_binary, pa.types.is_string_view, pa.types.is_binary_view)
BATCH_ROWS = 2**17
BATCH_BYTES = 2**25

# What Arrow raises for a corrupt file, and the row code for values it can't compare or hash.
REFUSED = (pa.ArrowException, ValueError, TypeError, ArithmeticError, OSError, MemoryError, LookupError)


class Source:
    """An open Parquet file: labels in the order in which stock frictionless shows the columns, and batches of rows."""

    def __init__(self, path: str) -> None:
        with pq.ParquetFile(path) as file:
            metadata, self._schema = file.metadata, file.schema_arrow
        self.rows = int(metadata.num_rows)
        width = check_claims(metadata, Path(path))
        size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        self._batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(width, size // max(self.rows, 1), 1)))
        # Texts stay dictionaries: a long text that many rows share might not fit in memory once per row. Texts in lists
        # can't, as Arrow does not combine the nested dictionaries of several row groups.
        texts = [field.name for field in self._schema if any(matches(field.type) for matches in TEXTS)]
        self._file = pq.ParquetFile(path, metadata=metadata, pre_buffer=False, buffer_size=2**20, read_dictionary=texts)
        self._casts = {
            place: plain
            for place, field in enumerate(self._schema)
            if field.name not in texts and (plain := without_views(field.type)) != field.type
        }
        self._columns = _shown_columns(self._schema)
        self.labels = [label for label, _ in self._columns]

    def batches(
        self, limit: int | None = None, rows: int = BATCH_ROWS, positions: list[int] | None = None
    ) -> Iterator[list[pa.Array]]:
        """Yield all columns, or those at some positions, of the first `limit` rows, at most `rows` at a time."""
        shown = self._columns if positions is None else [self._columns[position] for position in positions]
        stored = [place for _, place in shown if isinstance(place, int)]
        names: list[str] | None = [self._schema.names[place] for place in stored]
        if positions is None or not names or self._has_ambiguous_names():
            names, stored = None, list(range(len(self._schema.names)))
        done = 0
        for batch in self._file.iter_batches(batch_size=min(rows, self._batch_rows), columns=names):
            if limit is not None and done >= limit:
                return
            batch = batch.slice(0, None if limit is None else limit - done)
            numbers = np.arange(done, done := done + batch.num_rows)
            columns = batch.columns if names is None else [batch.column(name) for name in names]
            by_place = dict(zip(stored, columns, strict=True))
            by_place |= {place: by_place[place].cast(kind) for place, kind in self._casts.items() if place in by_place}
            yield [by_place[place] if isinstance(place, int) else _count(place, numbers) for _, place in shown]

    def _has_ambiguous_names(self) -> bool:
        """Return whether selecting columns by name would select too many."""
        names = self._schema.names
        return len(set(names)) < len(names) or any("." in name for name in names)


def cells(columns: list[pa.Array]) -> list[list[Any]]:
    """Return the rows of these columns as Python values."""
    return [list(row) for row in zip(*(to_microseconds(column).to_pylist() for column in columns), strict=True)]


def without_views(kind: pa.DataType) -> pa.DataType:
    """Return a type with plain texts in place of Arrow's views of texts, for which it lacks most functions."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([_field_without_views(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_field_without_views(kind.key_field), _field_without_views(kind.item_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field_without_views(kind.value_field), kind.list_size)
    if is_list(kind):
        make = pa.large_list if pa.types.is_large_list(kind) else pa.list_
        return make(_field_without_views(kind.value_field))
    return kind


def _field_without_views(field: pa.Field) -> pa.Field:
    return field.with_type(without_views(field.type))


def to_microseconds(column: pa.Array) -> pa.Array:
    """Return times in microseconds, as Python has them, rounded down as pandas does; other columns unchanged."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column


def refusal(error: BaseException) -> FrictionlessException:
    """Return an error of reading in frictionless's words."""
    if isinstance(error, FrictionlessException):
        return error
    kind = errors.EncodingError if isinstance(error, UnicodeDecodeError) else errors.SourceError
    return FrictionlessException(kind(note=str(error) or type(error).__name__))


def _shown_columns(schema: pa.Schema) -> list[tuple[str, int | range]]:
    """Return labels and places of the columns as stock frictionless shows them: pandas puts named indexes first.

    A place is the number of a stored column; or a range, for an index of pandas that counts and is not stored.
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


def _count(steps: range, rows: Numbers) -> pa.Array:
    return from_integers(rows * steps.step + steps.start)
