"""What a Parquet file may claim to hold, by its footer and page headers, before anything is allocated for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from .claims import Group, biggest_page, row_groups

ROWS_PER_BYTE = 10_000  # a run of one value takes the fewest bytes, and writers start a page every 20,000 rows or so
ITEMS = 2**26
ITEMS_PER_BYTE = 64
PAGE_BYTES = 2**28
PAGES_BYTES = 2**31  # of the biggest page of every column, for these are in memory at once
WIDTH = 2**20  # of a fixed-size value, which takes its room even where it is null


class Claim(ValueError):
    """The file claims more than its bytes can plausibly hold, or than is safe to read."""


def opened(path: Path) -> tuple[list[Group], pq.ParquetFile]:
    """The row groups of a file that keeps within the limits, and the file.

    Raises Claim if it does not, and OSError, ValueError, LookupError or ArrowException if it is no Parquet file.
    """
    size = path.stat().st_size
    parquet = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    columns = parquet.metadata.schema
    with path.open("rb") as file:
        groups = row_groups(file, size)
        _check_claims(groups, [columns.column(index) for index in range(len(columns))], size)
        _check_pages(file, groups, size)
    return groups, parquet


def _check_claims(groups: list[Group], leaves: list[Any], size: int) -> None:
    for number, group in enumerate(groups):
        if not 0 <= group.rows <= ROWS_PER_BYTE * size:
            raise Claim(f"row group {number} claims {group.rows:,} rows in a file of {size:,} bytes")
        for leaf, chunk in zip(leaves, group.chunks, strict=True):
            if leaf.max_repetition_level and chunk.values > max(ITEMS, ITEMS_PER_BYTE * size):
                what = f"{chunk.values:,} values in lists in a file of {size:,} bytes"
                raise Claim(f"row group {number} claims {what}: {chunk.column}")
    widths = [leaf.length or 0 for leaf in leaves]
    if max(widths, default=0) > WIDTH:
        raise Claim(f"a column claims values of {max(widths):,} bytes each; {WIDTH:,} is the limit")
    if sum(group.rows for group in groups) * max(sum(widths), 1) > ROWS_PER_BYTE * size:
        raise Claim(f"the rows together claim more than fits in a file of {size:,} bytes")


def _check_pages(file: BinaryIO, groups: list[Group], size: int) -> None:
    biggest: dict[str, int] = {}
    for number, group in enumerate(groups):
        for chunk in group.chunks if group.rows else []:  # the offsets in an empty one mean nothing
            if not 0 <= chunk.start <= chunk.end <= size:
                raise Claim(f"row group {number} claims bytes outside of the file: {chunk.column}")
            page = biggest_page(file, chunk.start, chunk.end)
            if page > PAGE_BYTES:
                raise Claim(f"a page of {chunk.column} claims {page:,} bytes; {PAGE_BYTES:,} is the limit")
            biggest[chunk.column] = max(biggest.get(chunk.column, 0), page)
    if sum(biggest.values()) > PAGES_BYTES:
        raise Claim(f"one page of every column claims {sum(biggest.values()):,} bytes; {PAGES_BYTES:,} is the limit")
