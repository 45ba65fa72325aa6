"""What the footer and the page headers of a Parquet file claim, read without Arrow.

Arrow decodes a page at once, and the footer tells the size of a column chunk only; and its accessors of column chunks
end the process where a footer contradicts itself. All are structs in Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

HEADER_BYTES = 2**12  # statistics in a header hold a smallest and a biggest value; writers cut or omit long ones
HEADER_BYTES_MAX = 2**20
VALUE_BYTES = 8  # what Arrow decodes a value to, of the widest common types
DEPTH = 12

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
_INTEGERS = (4, 5, 6)
_DATA_HEADERS = (5, 7, 8)
_DICTIONARY = 2


@dataclass(frozen=True)
class Chunk:
    """The values of one column in one row group, and where they are."""

    column: str
    values: int
    start: int
    end: int


@dataclass(frozen=True)
class Page:
    """The bytes of a page, after its header and as compressed, what they claim to decode to, and their CRC-32.

    `has_rows` is False for a page that holds the dictionary of the others.
    """

    start: int
    compressed: int
    uncompressed: int
    values: int
    has_rows: bool
    crc: int | None


@dataclass(frozen=True)
class Group:
    """A row group."""

    rows: int
    size: int
    chunks: list[Chunk]


def row_groups(file: BinaryIO, size: int) -> list[Group]:
    """The row groups that the footer of a file of some size lists.

    Raises ValueError, LookupError or OSError for what is no footer.
    """
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(size - 8 - length, 0))
    footer = _Reader(file.read(length)).struct()
    try:
        return [
            Group(_number(group, 3), _number(group, 2), [_chunk(column) for column in group.get(1) or []])
            for group in footer.get(4) or []
        ]
    except (AttributeError, TypeError) as error:  # a field of another type
        raise ValueError(f"the footer is not that of a Parquet file: {error}") from error


def _chunk(column: dict[int, Any]) -> Chunk:
    claims = column[3]
    data = _number(claims, 9)
    start = min(data, _number(claims, 11, 0) or data)
    name = ".".join(part.decode(errors="replace") for part in claims[3])
    return Chunk(name, _number(claims, 5), start, start + _number(claims, 7))


def _number(fields: dict[int, Any], key: int, default: int | None = None) -> int:
    number = fields.get(key, default)
    if not isinstance(number, int):
        raise ValueError(f"the footer lacks a number, field {key}")
    return number


def biggest_page(file: BinaryIO, start: int, end: int) -> int:
    """The most bytes that one page between two offsets claims to be, decoded."""
    return max((max(page.uncompressed, page.values * VALUE_BYTES) for page in pages(file, start, end)), default=0)


def pages(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """The pages between two offsets, by their headers. Raises ValueError where there is none."""
    while start < end:
        page = _page(file, start, end)
        yield page
        start = page.start + page.compressed


def damaged_pages(path: Path) -> Iterator[tuple[str, int, int]]:
    """Pages whose bytes are not those of their checksum: column, number of their first row, where in the file.

    Of a column of lists the first row of the row group. A file may have no checksums. Raises ValueError or LookupError
    for a footer or a page header that can't be read.
    """
    size, first = path.stat().st_size, 0
    with path.open("rb") as file:
        for group in row_groups(file, size):
            for chunk in group.chunks if group.rows else []:
                row, is_flat = first, chunk.values == group.rows
                for page in pages(file, chunk.start, min(chunk.end, size)):
                    file.seek(page.start)
                    if page.crc is not None and zlib.crc32(file.read(page.compressed)) != page.crc:
                        yield chunk.column, row, page.start
                    row += page.values if is_flat and page.has_rows else 0
            first += group.rows


def _page(file: BinaryIO, start: int, end: int) -> Page:
    for room in (HEADER_BYTES, HEADER_BYTES_MAX):
        file.seek(start)
        reader = _Reader(file.read(min(room, end - start)))
        try:
            header = reader.struct()
        except IndexError:
            continue
        sizes = [header.get(2), header.get(3)]
        values = [inner.get(1, 0) for key in _DATA_HEADERS if isinstance(inner := header.get(key), dict)]
        if all(isinstance(size, int) and size >= 0 for size in sizes) and all(isinstance(n, int) for n in values):
            crc = header.get(4)
            return Page(
                start + reader.at,
                header[3],
                header[2],
                max(values, default=0),
                header.get(1) != _DICTIONARY,
                crc & 0xFFFFFFFF if isinstance(crc, int) else None,
            )
        break
    raise ValueError(f"no page header at byte {start:,}")


class _Reader:
    """Just enough of the compact protocol; running out of bytes is an IndexError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Field ids and values; what no one asks for is None."""
        if depth > DEPTH:
            raise ValueError("a footer or page header is nested too deeply")
        fields: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[field] = None if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            return [self._value(part, depth + 1) for _ in range(count) for part in (kinds >> 4, kinds & 15)]
        if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE, _UUID):
            return self._take({_DOUBLE: 8, _UUID: 16}.get(kind, 1)) and None
        raise ValueError(f"a footer or page header has a field of unknown type {kind}")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.data):
            raise IndexError("a footer or page header ends too soon")
        return self.data[self.at - count : self.at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
            if shift > 63:
                raise ValueError("a footer or page header has a number that is too long")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
