"""CSV, read as text field by field, so that the spelling of every value is kept until it is understood."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ...core.recipe import UpstreamFile, Workload
from ..compiled import all_bytes
from .layout import FieldTexts, Layout, OpenFile, check_fields, file_error
from .text import BLOCK_BYTES, compression_of, join_records, lines, read_edges

LONGEST_NAME = 1 << 17  # characters; other libraries change the limit of csv for the whole process


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout of a CSV file. Raises BadUpstream if its columns are not the recipe's."""
    edges = read_edges(workload, file, path)
    try:
        fields = next(csv.reader([edges.line], strict=True))
        if max(map(len, fields), default=0) > LONGEST_NAME:
            raise csv.Error
    except csv.Error:
        expected = f"names on one line, with quotes in pairs, none longer than {LONGEST_NAME:,} characters"
        start = repr(edges.line[:80])
        raise file_error(workload, file, "has a header that can't be read", expected=expected, got=start) from None
    check_fields(workload, file, fields)
    return Layout("csv", edges.line, fields, {}, edges.line_end, edges.tail, compression_of(file), edges.content)


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield rows as text columns. Raises BadUpstream."""

    def refuse(row: Any) -> str:
        refused.append((row.actual_columns, row.text))
        return "error"

    refused: list[tuple[int, str]] = []
    try:
        with pyarrow.csv.open_csv(
            source.stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(source.layout.fields, pa.string()), strings_can_be_null=False
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        if not refused:
            raise source.error("can't be read as CSV", reason=str(error)[:300]) from None
        columns, text = refused[0]
        raise source.error(
            "has a row with the wrong number of columns",
            line=f"{_line_number(source, text):,}: {text if len(text) < 120 else text[:117] + '...'}",
            expected=f"{len(source.layout.fields)} columns",
            got=f"{columns} columns",
        ) from None


def _line_number(source: OpenFile, text: str) -> int:
    """Return the number, from 1, of the first line with that text; 0 if a quoted field spans several lines."""
    wanted = text.encode()
    every = enumerate(lines(source.workload, source.file, source.path), 1)
    return next((number for number, line in every if line.rstrip(b"\r\n") == wanted), 0)


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Yield the file's bytes from the text of its fields."""
    rows = False
    yield layout.header.encode()
    for columns, last in texts:
        if not rows:
            yield layout.line_end.encode()
        rows = True
        fields = [_quote(columns[name]) for name in layout.fields]
        between = [part for field in fields for part in (field, b",")][:-1]
        yield join_records(between, layout, last)
    yield layout.tail.encode()


def _quote(text: pa.Array) -> pa.Array:
    """Quote the values that need it."""
    if not any(each in all_bytes(text) for each in b'",\r\n'):
        return text
    special = pc.match_substring_regex(text, '[",\r\n]')
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(special, quoted, text)
