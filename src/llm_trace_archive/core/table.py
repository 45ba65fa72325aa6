"""A table: a Parquet file that is opened once and handed on instead of its path."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..columns.parquet import check_claims
from .errors import printable

# What Arrow raises for bytes that are not what they claim to be (a name that is not UTF-8 is a ValueError).
UNREADABLE = (OSError, ValueError, pa.ArrowException)


class Table:
    """A Parquet file, opened when it is first read, and read a column or a row group at a time.

    Pages are checked against their checksums. Every access raises one of `UNREADABLE` for a corrupt file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memo: dict[str, Any] = {}  # results that several figures need
        self._column: tuple[str, pa.ChunkedArray] | None = None

    @cached_property
    def file(self) -> pq.ParquetFile:
        """The open file."""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise OSError(f"{self.path.name} is not a regular file")  # opening a pipe would wait for its writer
        file = pq.ParquetFile(self.path, page_checksum_verification=True)
        check_claims(file.metadata, self.path)
        return file

    def close(self) -> None:
        """Close the file if it is open."""
        if "file" in self.__dict__:
            self.file.close()
            del self.file

    def __enter__(self) -> Table:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    @cached_property
    def rows(self) -> int:
        """The number of rows, by the footer."""
        return int(self.file.metadata.num_rows)

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self.file.schema_arrow

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, dictionaries as text; it is kept until another one is asked for."""
        if self._column is None or self._column[0] != name:
            values = self.file.read([name]).column(name)
            if pa.types.is_dictionary(values.type):
                values = pc.cast(values, pa.string())
            self._column = (name, values)
        return self._column[1]

    def flat(self, name: str) -> pa.ChunkedArray:
        """Return a column's values without nulls; of lists, all their items."""
        values = self.column(name)
        return (pc.list_flatten(values) if pa.types.is_list(values.type) else values).drop_null()

    def groups(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the row groups in order, each with the number of its first row."""
        start = 0
        for index in range(self.file.num_row_groups):
            for batch in self.file.read_row_group(index, columns=columns).combine_chunks().to_batches():
                yield start, batch
                start += batch.num_rows

    def value(self, name: str, row: int) -> str:
        """Return one value as text for `Result.rows`."""
        for group in range(self.file.num_row_groups):
            rows = self.file.metadata.row_group(group).num_rows
            if row < rows:
                return show(self.file.read_row_group(group, [name]).column(0)[row])
            row -= rows
        raise IndexError(row)


def show(value: pa.Scalar) -> str:
    """Return a value of a row as people read it, at most 60 characters."""
    return printable(str(value.as_py())[:60])
