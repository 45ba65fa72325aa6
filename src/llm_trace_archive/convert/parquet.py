"""Deterministic Parquet: the same rows give the same bytes, whatever the batches, threads, time zone or machine.

The file's metadata names the upstream files it was built from and their layouts, so that it alone restores them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns.arrays import to_integers
from ..core.errors import Problem
from ..core.table import Table
from .formats.layout import Layout

# Row groups stay under 64 MiB in memory, for the Hub's viewer (its limit is 286 MiB).
GROUP_ROWS = 1 << 19
GROUP_IDS = 1 << 22
METADATA_KEY = "llm-trace-archive"


@dataclass(frozen=True)
class Part:
    """An upstream file that a Parquet file was built from: its name, rows and layout."""

    name: str
    rows: int
    layout: Layout


class ParquetSink:
    """Writes batches to `path` in row groups that depend on the rows alone, never on where a batch ends.

    Use as a context manager: the file is complete after the block, and incomplete if the block raised.

    schema  each column's unit is in the metadata of its field
    facts   what the file says of itself, as key-value metadata that any reader shows
    parts   the upstream files of the rows, in order, for the metadata
    """

    def __init__(self, path: Path, schema: pa.Schema, facts: Mapping[str, str]) -> None:
        self.path = path
        self.schema = schema
        self.facts = facts
        self.parts: list[Part] = []
        self._lists = [field.name for field in schema if pa.types.is_list(field.type)]
        self._texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._ids = 0

    def __enter__(self) -> ParquetSink:
        # Numbers that grow or hardly repeat; others, such as token counts, repeat within a group.
        deltas = [field.name for field in self.schema if field.type == pa.int64() and _unit(field) != "token"]
        numbers = [name for name in self._lists if pa.types.is_integer(self.schema.field(name).type.value_type)]
        deltas += [f"{name}.list.element" for name in numbers]
        dictionaries = [
            field.name for field in self.schema if field.name not in deltas and field.name not in self._lists
        ]
        self._file = self.path.open("wb")
        self._writer = pq.ParquetWriter(
            self._file,
            self.schema,
            version="2.6",
            compression="zstd",
            compression_level=9,
            use_dictionary=[name for name in dictionaries if self.schema.field(name).type != pa.bool_()]
            + [f"{name}.list.element" for name in self._lists if name not in numbers],
            column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
            write_page_index=True,
            write_page_checksum=True,
        )
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch; rows reach the disk when their row group is full."""
        self._held.append(batch)
        self._rows += batch.num_rows
        self._ids += sum(len(batch.column(name).flatten()) for name in self._lists)
        while self._rows >= GROUP_ROWS or self._ids >= GROUP_IDS:
            self._flush(self._cut())

    def _cut(self) -> int:
        """Return the rows of the next group: the first number that reaches either limit."""
        cut = min(self._rows, GROUP_ROWS)
        if self._ids >= GROUP_IDS:
            table = pa.Table.from_batches(self._held)
            lengths = np.zeros(len(table), np.int64)
            for name in self._lists:
                lengths += to_integers(pc.list_value_length(table.column(name)).combine_chunks())
            cut = min(cut, int(np.searchsorted(np.cumsum(lengths), GROUP_IDS)) + 1)
        return cut

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._held, self.schema)
        group, rest = table.slice(0, rows), table.slice(rows)
        for name in self._texts:
            encoded = _encode(group.column(name))
            group = group.set_column(group.schema.get_field_index(name), self.schema.field(name), encoded)
        self._writer.write_table(group.combine_chunks(), row_group_size=rows)
        self._held = rest.to_batches()
        self._rows = len(rest)
        self._ids = sum(len(batch.column(name).flatten()) for batch in self._held for name in self._lists)

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with contextlib.suppress(Exception):  # after a failure it is of no use to anyone
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()

    def _finish(self) -> None:
        if self._rows:
            self._flush(self._rows)
        self._writer.add_key_value_metadata(make_metadata(self.schema, self.facts, self.parts))
        self._writer.close()
        self._file.close()


def make_metadata(schema: pa.Schema, facts: Mapping[str, str], parts: list[Part]) -> dict[str, str]:
    """Return the key-value metadata of a file: its facts, the units of its columns, and its upstream files."""
    units = {field.name: unit for field in schema if (unit := _unit(field))}
    files = json.dumps({"files": _describe(parts)}, sort_keys=True, ensure_ascii=False)
    return {**facts, "units": json.dumps(units, sort_keys=True), METADATA_KEY: files}


def read_parts(table: Table) -> list[Part]:
    """Return the upstream files that a table was built from. Raises Problem if it is not one of ours."""
    try:
        metadata = json.loads((table.file.metadata.metadata or {}).get(METADATA_KEY.encode(), b"{}"))
        parts: list[Part] = []
        for each in metadata.get("files", ()):
            layout = Layout(**each["layout"]) if "layout" in each else parts[-1].layout
            if type(each["rows"]) is not int or not 0 <= each["rows"] <= table.rows:
                raise ValueError(f"its metadata gives {each['name']!a} {each['rows']!a} of {table.rows} rows")
            parts.append(Part(each["name"], each["rows"], layout))
        if parts and len({part.name for part in parts}) == len(parts):
            return parts
        reason = "its metadata names an upstream file twice" if parts else "its metadata names no upstream files"
    except (OSError, pa.ArrowInvalid, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = str(error)[:200]
    again = f"llm-traces build {table.path.parent.name}/{table.path.stem}"
    raise Problem(table.path.name, "is not a Parquet file of this archive", reason=reason, next=again)


def _encode(texts: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return texts with their dictionary in order of first appearance, not in that of the batches."""
    one = texts.unify_dictionaries().combine_chunks()
    seen = pc.drop_null(pc.unique(one.indices))
    return pa.DictionaryArray.from_arrays(pc.index_in(one.indices, seen), one.dictionary.take(seen))


def _unit(field: pa.Field) -> str:
    unit: bytes = (field.metadata or {}).get(b"unit", b"")
    return unit.decode()


def _describe(parts: list[Part]) -> list[dict[str, Any]]:
    """Return the parts as the metadata keeps them; a layout appears once for all files in a row that share it."""
    files: list[dict[str, Any]] = []
    previous: dict[str, Any] = {}
    for part in parts:
        layout = part.layout.to_dict()
        shared = {} if layout == previous else {"layout": layout}
        files.append({"name": part.name, "rows": part.rows} | shared)
        previous = layout
    return files
