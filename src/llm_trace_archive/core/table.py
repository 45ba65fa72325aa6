"""A table: a Parquet file that is open, which is handed on instead of its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# What Arrow raises over bytes that are not what they claim to be (a name that is not UTF-8 is a ValueError).
UNREADABLE = (OSError, ValueError, pa.ArrowException)


class Table:
    """A Parquet file, read a column at a time (each once while it is asked for), or a row group at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: int = pq.read_metadata(path).num_rows
        self.names: list[str] = pq.read_schema(path).names
        self.memo: dict[str, pa.Array] = {}  # what several figures are of
        self._held: tuple[str, pa.ChunkedArray] | None = None

    def column(self, name: str) -> pa.ChunkedArray:
        """A column; dictionaries as plain text."""
        if self._held is None or self._held[0] != name:
            values = pq.read_table(self.path, columns=[name]).column(name)
            if pa.types.is_dictionary(values.type):
                values = pc.cast(values, pa.string())
            self._held = (name, values)
        return self._held[1]

    def flat(self, name: str) -> pa.ChunkedArray:
        """A column's values without nulls; of lists, all their elements."""
        values = self.column(name)
        return (pc.list_flatten(values) if pa.types.is_list(values.type) else values).drop_null()

    def groups(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Row groups in order, each with the number of its first row; pages are checked against their checksums."""
        start = 0
        with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
            for index in range(file.num_row_groups):
                (batch,) = file.read_row_group(index, columns=columns).combine_chunks().to_batches() or (None,)
                if batch is not None:
                    yield start, batch
                    start += batch.num_rows

    def value(self, name: str, row: int) -> str:
        """One value, as `Result.rows` shows it."""
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < rows:
                    return shown(file.read_row_group(group, [name]).column(0)[row])
                row -= rows
        raise IndexError(row)


def shown(value: pa.Scalar) -> str:
    """A value of a row that offends, for people."""
    return str(value.as_py())[:60]
