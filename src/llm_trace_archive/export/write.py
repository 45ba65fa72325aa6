"""From rows to bytes: JSON Lines, CSV and Parquet, plain or compressed, into a file, a device or a stream."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import numpy as np

from ..core.sql import quote, quote_name
from .dialect import Field
from .rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSIONS = (".gz", ".zst")
_LINE = "line"


@contextlib.contextmanager
def compressed(out: BinaryIO, compression: str) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes go to another one, compressed: ".gz", ".zst" or "" for not at all."""
    if compression == ".gz":
        with gzip.GzipFile("", "wb", 6, out, mtime=0) as stream:
            yield cast(BinaryIO, stream)
    elif compression == ".zst":
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield out


def write_rows(rows: Rows, fields: Mapping[str, Field], format: str, out: BinaryIO) -> None:
    """Write rows in the format of an ending, such as ".jsonl"."""
    WRITERS[format](rows, fields, out)


def write_lines(batches: Iterator[pa.RecordBatch], out: IO[bytes]) -> None:
    """Write the texts of the only column, which end their lines themselves."""
    for batch in batches:
        texts = batch.column(0)
        _, offsets, content = texts.buffers()
        if content is not None:
            wide = str(texts.type).startswith("large")
            ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[texts.offset : texts.offset + len(texts) + 1]
            out.write(memoryview(content)[ends[0] : ends[-1]])


def _write_json(rows: Rows, fields: Mapping[str, Field], out: BinaryIO) -> None:
    write_lines(rows.batches(f"{json_object(fields)} || chr(10) AS {_LINE}"), out)


def json_object(fields: Mapping[str, Field]) -> str:
    """Return SQL for an object of JSON; its first field must always be there."""
    parts = []
    for number, (name, field) in enumerate(fields.items()):
        key = quote((", " if number else "{") + json.dumps(name) + ": ")
        value = f"CAST(to_json({field.sql}) AS VARCHAR)" if field.is_text else f"CAST({field.sql} AS VARCHAR)"
        if field.is_optional:
            parts.append(f"CASE WHEN ({field.sql}) IS NULL THEN '' ELSE {key} || {value} END")
        else:
            parts += [key, f"coalesce({value}, 'null')"]
    return f"concat({', '.join(parts)}, '}}')"


def _write_csv(rows: Rows, fields: Mapping[str, Field], out: BinaryIO) -> None:
    out.write((",".join(fields) + "\n").encode())
    cells = []
    for field in fields.values():
        text = f"CAST({f'to_json({field.sql})' if field.is_nested else field.sql} AS VARCHAR)"
        if field.is_text:
            special = f"regexp_matches({text}, '[\",\\r\\n]')"
            text = f"CASE WHEN {special} THEN '\"' || replace({text}, '\"', '\"\"') || '\"' ELSE {text} END"
        cells.append(text)
    separated = ", ',', ".join(cells)
    write_lines(rows.batches(f"concat({separated}, chr(10)) AS {_LINE}"), out)


def _write_parquet(rows: Rows, fields: Mapping[str, Field], out: BinaryIO) -> None:
    import pyarrow.parquet as pq

    batches = rows.batches(", ".join(f"{field.sql} AS {quote_name(name)}" for name, field in fields.items()))
    first = next(batches)
    with pq.ParquetWriter(out, first.schema, compression="zstd") as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)


WRITERS: dict[str, Callable[[Rows, Mapping[str, Field], BinaryIO], None]] = {
    ".jsonl": _write_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
