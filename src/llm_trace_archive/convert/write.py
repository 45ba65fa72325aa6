"""Deterministic Parquet: the same rows give the same bytes, whatever the batches, threads, time zone or machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Row groups stay under 64 MiB in memory, which the Hub's viewer wants (its limit is 286 MiB).
ROWS_A_GROUP = 1 << 19
IDS_A_GROUP = 1 << 22
METADATA_KEY = b"llm-trace-archive"


class ParquetSink:
    """Writes batches to `path`, closing a row group where the rows say so, never where a batch happens to end.

    Use as a context manager; the file is complete and fsynced after the block, and gone if the block raised.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self.metadata: Mapping[str, Any] = {}
        self._lists = [field.name for field in schema if pa.types.is_list(field.type)]
        self._texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._ids = 0

    def __enter__(self) -> ParquetSink:
        deltas = [field.name for field in self.schema if field.type == pa.int64()]
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
        """Take a batch; rows reach the disk when their row group is full."""
        self._held.append(batch)
        self._rows += batch.num_rows
        self._ids += sum(len(batch.column(name).flatten()) for name in self._lists)
        while self._rows >= ROWS_A_GROUP or self._ids >= IDS_A_GROUP:
            self._flush(self._cut())

    def _cut(self) -> int:
        """Rows of the next group: the first number that reaches either limit."""
        cut = min(self._rows, ROWS_A_GROUP)
        if self._ids >= IDS_A_GROUP:
            table = pa.Table.from_batches(self._held)
            lengths = np.zeros(len(table), np.int64)
            for name in self._lists:
                lengths += pc.fill_null(pc.list_value_length(table.column(name)), 0).to_numpy().astype(np.int64)
            cut = min(cut, int(np.searchsorted(np.cumsum(lengths), IDS_A_GROUP)) + 1)
        return cut

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._held, self.schema)
        group, rest = table.slice(0, rows), table.slice(rows)
        for name in self._texts:
            # Dictionaries in order of first appearance within the group, not within the batches.
            plain = pc.cast(group.column(name), pa.string())
            encoded = pa.chunked_array([pc.dictionary_encode(plain.combine_chunks())])
            group = group.set_column(group.schema.get_field_index(name), self.schema.field(name), encoded)
        self._writer.write_table(group.combine_chunks(), row_group_size=rows)
        self._held = rest.to_batches()
        self._rows = len(rest)
        self._ids = sum(len(batch.column(name).flatten()) for batch in self._held for name in self._lists)

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        try:
            if kind is None:
                if self._rows:
                    self._flush(self._rows)
                text = json.dumps(self.metadata, sort_keys=True, ensure_ascii=False)
                self._writer.add_key_value_metadata({METADATA_KEY: text.encode()})
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            else:
                self._discard()
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        with contextlib.suppress(Exception):  # what it would still write is thrown away
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def metadata(path: Path) -> dict[str, Any]:
    """What `ParquetSink.metadata` held when the file was written; empty for another's file."""
    held = pq.read_metadata(path).metadata or {}
    value: dict[str, Any] = json.loads(held.get(METADATA_KEY, b"{}"))
    return value
