"""Footers of Parquet files from anywhere: their fields, and the one claim that Arrow would follow for hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from .thrift import read_struct

MAGIC = b"PAR1"
LARGEST_FOOTER = 8 << 20  # 16 times that of 44 million rows
VALUES_PER_BYTE = 10_000  # writers start a page every 20,000 rows or so, which takes more than two bytes


def check_claims(metadata: pq.FileMetaData, path: Path) -> int:
    """Return the width of a row's fixed-size values in bytes.

    Raises ValueError if the footer claims far more rows, or rows of such values, than a file of its size can hold.
    """
    columns = metadata.schema
    width = sum(columns.column(index).length or 0 for index in range(len(columns)))
    rows, size = metadata.num_rows, path.stat().st_size
    if rows * max(width, 1) > VALUES_PER_BYTE * size:
        raise ValueError(f"the footer claims {rows:,} rows, more than fit in a file of {size:,} bytes")
    return int(width)


def read_footer(file: BinaryIO) -> tuple[dict[int, Any], range]:
    """Return the fields of a file's footer, as `read_struct` does, and which bytes it has. Raises ValueError."""
    size = file.seek(0, 2)
    tail = _read(file, size - 8, 8)
    if tail[4:] != MAGIC or _read(file, 0, 4) != MAGIC:
        raise ValueError("not a Parquet file")
    length = int.from_bytes(tail[:4], "little")
    if length > LARGEST_FOOTER:
        raise ValueError(f"the footer has {length:,} bytes, more than {LARGEST_FOOTER:,}")
    start = size - 8 - length
    footer, end = read_struct(_read(file, start, length))
    return footer, range(start, start + end)


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    if place < 0:
        raise ValueError("cut off")
    file.seek(place)
    content = file.read(size)
    if len(content) < size:
        raise ValueError("cut off")
    return content
