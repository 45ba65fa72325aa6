"""Parquet files from anywhere: the one claim of a footer that Arrow would follow for hours."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

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
