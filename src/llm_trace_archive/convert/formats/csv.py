"""CSV: read as text, field by field, so that nothing of a value's spelling is lost before it is understood."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload
from .layout import BLOCK_BYTES, Layout, Reading, Spelled, check_fields, compare, compression_of, edges, joined, lines


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """The layout of a CSV file. Raises BadUpstream if its columns are not the recipe's."""
    found = edges(workload, file, path)
    fields = next(csv.reader([found.line]))
    check_fields(workload, file, fields)
    return Layout("csv", found.line, fields, {}, found.line_end, found.tail, compression_of(file), found.content)


def read_batches(reading: Reading) -> Iterator[pa.RecordBatch]:
    """Rows as text columns. Raises BadUpstream."""

    def refuse(row: Any) -> str:
        refused.append((row.actual_columns, row.text))
        return "error"

    refused: list[tuple[int, str]] = []
    try:
        with pyarrow.csv.open_csv(
            reading.stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(reading.layout.fields, pa.string()), strings_can_be_null=False
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        if refused:
            columns, text = refused[0]
            raise BadUpstream(
                str(reading.workload),
                f"{reading.file.name} has a row of another length",
                line=f"{_line_of(reading, text):,}: {text if len(text) < 120 else text[:117] + '...'}",
                expected=f"{len(reading.layout.fields)} columns",
                got=f"{columns} columns",
                next=compare(reading.file),
            ) from None
        raise BadUpstream(
            str(reading.workload),
            f"{reading.file.name} can't be read as CSV",
            reason=str(error)[:300],
            next=compare(reading.file),
        ) from None


def _line_of(reading: Reading, text: str) -> int:
    """The first line with that text, counted from 1; 0 if a quoted field spreads it over several."""
    wanted = text.encode()
    every = enumerate(lines(reading.workload, reading.file, reading.path), 1)
    return next((number for number, line in every if line.rstrip(b"\r\n") == wanted), 0)


def write(found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
    """The file's bytes from the text of its fields."""
    rows = False
    yield found.header.encode()
    for columns, last in spelled:
        if not rows:
            yield found.line_end.encode()
        rows = True
        texts = [_csv_field(columns[name]) for name in found.fields]
        yield joined(pc.binary_join_element_wise(*texts, ",") if len(texts) > 1 else texts[0], found, last)
    yield found.tail.encode()


def _csv_field(text: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(text, '[",\r\n]')
    if not pc.any(special).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(special, quoted, text)
