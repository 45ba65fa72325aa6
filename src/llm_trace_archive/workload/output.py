"""Rows as people and programs want them: a table, CSV, JSON or Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..core.errors import BadUse, printable
from ..core.files import output
from ..core.sql import quote_name
from ..core.text import format_table

if TYPE_CHECKING:
    import duckdb

FORMATS = ("table", "csv", "json", "parquet")
SHOWN = 100  # rows of a table on a terminal
CELL = 60  # characters
_ROW = "_row_of_the_answer"


def choose_format(name: str | None, path: Path | None) -> str:
    """Return the format that is asked for, or that the file's name ends in. Raises BadUse."""
    chosen = name or (path.suffix.removeprefix(".") if path else "table")
    if chosen not in FORMATS:
        raise BadUse(
            str(path) if path and not name else str(name),
            "no such format" if name else "the name does not say which format the file has",
            there_are=", ".join(FORMATS),
            next="give --format",
        )
    if chosen == "parquet" and not path:
        raise BadUse("parquet", "can't be printed", next="give -o FILE")
    return chosen


def write_to(rows: duckdb.DuckDBPyRelation, format: str, out: TextIO | None) -> bool:
    """Write rows as a table, CSV or JSON; return whether all were written: a table ends after `SHOWN` rows.

    out  a terminal gets what it would obey spelled out; None is a closed stream
    """
    if out is None:
        return True
    stream = _Terminal(out) if out.isatty() else out
    if format == "table":
        first = rows.limit(SHOWN + 1).fetchall()
        stream.write(rows_as_text(rows.columns, first[:SHOWN]) + "\n")
        return len(first) <= SHOWN
    (_write_csv if format == "csv" else _write_json)(rows, stream)
    return True


def write_file(rows: duckdb.DuckDBPyRelation, format: str, path: Path) -> None:
    """Write all rows to a file, which appears when it is complete, or into a device or a pipe.

    Raises BadUse if it can't be written; a file then keeps its content.
    """
    with output(path) as part:
        _write_all(rows, format, part)


class _Terminal(io.TextIOBase):
    """A terminal that is written to with what it would obey spelled out."""

    def __init__(self, out: TextIO | io.TextIOBase) -> None:
        self._out = out

    def write(self, text: str, /) -> int:
        return self._out.write(printable(text))


def _write_all(rows: duckdb.DuckDBPyRelation, format: str, path: Path) -> None:
    if format == "parquet":
        _write_parquet(rows, path)
        return
    with path.open("w", encoding="utf-8", newline="") as out:
        if format == "table":
            out.write(rows_as_text(rows.columns, rows.fetchall()) + "\n")
        else:
            write_to(rows, format, out)


def rows_as_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as a table of text, numbers to the right, long cells cut."""
    right = {
        number
        for number in range(len(columns))
        if all(isinstance(row[number], int | float) or row[number] is None for row in rows)
    }
    return format_table(columns, [[_cell(value) for value in row] for row in rows], right)


def _cell(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _write_csv(rows: duckdb.DuckDBPyRelation, out: TextIO | io.TextIOBase) -> None:
    from pyarrow import csv

    flat = [
        f"CAST(to_json({quote_name(name)}) AS VARCHAR) AS {quote_name(name)}"
        if _is_nested(str(kind))
        else quote_name(name)
        for name, kind in zip(rows.columns, rows.types, strict=True)
    ]
    reader = rows.project(", ".join(flat)).to_arrow_reader()
    text = io.BytesIO()
    with csv.CSVWriter(text, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            out.write(text.getvalue().decode())
            text.seek(0)
            text.truncate()
    out.write(text.getvalue().decode())


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))


def _write_json(rows: duckdb.DuckDBPyRelation, out: TextIO | io.TextIOBase) -> None:
    before = "[\n"
    objects = rows.set_alias(_ROW).project(f"CAST(to_json({_ROW}) AS VARCHAR)")
    for batch in objects.to_arrow_reader():
        for row in batch.column(0).to_pylist():
            out.write(before + row)
            before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def _write_parquet(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    import pyarrow.parquet as pq

    reader = rows.to_arrow_reader()
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
