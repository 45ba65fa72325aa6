"""The bytes of a Parquet file: each belongs to a page, an index or the footer, and each page has a checksum.

Arrow follows a footer's offsets and never looks between them, and takes a page without a checksum as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..columns.parquet import read_footer
from ..columns.thrift import read_struct
from .result import Result

HEADER = 1 << 10  # bytes to read for the header of a page; more if they are not enough
LARGEST_HEADER = 1 << 20
EVERY = "every byte is in a page, an index or the footer"
ON_EVERY = "on every page"
SOURCE = "the file's own footer and page headers"


def check_layout(path: Path) -> Iterator[Result]:
    """Check that no byte of the file is outside what its footer names, and that every page has a checksum."""
    bare: list[str] = []
    try:
        with path.open("rb") as file:
            found = _describe_gap(_spans(file, bare)) or EVERY
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a field is missing or of another type
        found = f"can't be read: {error}"[:200]
    yield Result("integrity", "layout", EVERY, 0, found, SOURCE)
    without = f"missing on {len(bare):,} pages, first {bare[0]}" if bare else ON_EVERY
    yield Result("integrity", "checksums", ON_EVERY, 0, without, SOURCE)


def _spans(file: BinaryIO, bare: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and name of every part of the file; add the pages without a checksum to `bare`."""
    size = file.seek(0, 2)
    footer, place = read_footer(file)
    yield 0, 4, "the magic number"
    yield place.start, place.stop, "the footer"
    yield size - 8, size, "the length of the footer"
    for number, group in enumerate(footer[4]):
        for chunk in group[1]:
            yield from _chunk_spans(file, chunk, f"in row group {number}", bare)


def _chunk_spans(file: BinaryIO, chunk: dict[int, Any], where: str, bare: list[str]) -> Iterator[tuple[int, int, str]]:
    about = chunk[3]
    name = f"{b'.'.join(about[3]).decode(errors='replace')} {where}"
    if 1 in chunk:
        raise ValueError(f"the pages of {name} are in another file")
    place = start = min(about.get(11) or about[9], about[9])
    end = start + about[7]
    while place < end:
        header, length = _read_header(file, place)
        if 4 not in header:
            bare.append(f"of {name}, at byte {place:,}")
        place += length + header[3]
        if header[3] < 0:
            raise ValueError(f"a page of {name} has a negative size")
    yield start, place, f"the pages of {name}"
    if place != end:
        raise ValueError(f"the pages of {name} end at byte {place:,}, not {end:,}")
    for kind, offset, size in (("offset index", 4, 5), ("column index", 6, 7)):
        if offset in chunk:
            yield chunk[offset], chunk[offset] + chunk[size], f"the {kind} of {name}"


def _read_header(file: BinaryIO, place: int) -> tuple[dict[int, Any], int]:
    """Return the header of the page at a place, and its length."""
    size = HEADER
    while True:
        file.seek(place)
        content = file.read(size)
        try:
            return read_struct(content)
        except ValueError:
            if len(content) < size or size >= LARGEST_HEADER:
                raise
            size *= 32


def _describe_gap(spans: Iterator[tuple[int, int, str]]) -> str:
    """Return what is wrong with the first bytes that no part has, or two; nothing if there are none."""
    last, before = 0, ""
    for start, end, name in sorted(spans):
        if start > last:
            return f"{start - last:,} bytes at {last:,}, before {name}, belong to nothing"
        if start < last:
            return f"{name} overlaps {before}"
        last, before = end, name
    return ""
