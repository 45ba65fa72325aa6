"""Columns spelled as upstreams do, and written as the lines of a file.

Shares no code with reading and restoring, because the samples test these.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .draws import Ints
from .shape import Shape

Text = Any  # a pyarrow.StringArray, or one str for all rows


def concat(*parts: Text) -> Text:
    """Return the parts of each row, concatenated."""
    return pc.binary_join_element_wise(*parts, "")


def integer(values: Ints) -> Text:
    """Return integers as text: 5"""
    return pc.cast(pa.array(values, pa.int64()), pa.string())


def fixed_point(values: Ints, places: int) -> Text:
    """Return numbers in units of 10**-places with all decimals: 0.530"""
    units, rest = np.divmod(values, 10**places)
    return pc.binary_join_element_wise(integer(units), pc.utf8_lpad(integer(rest), width=places, padding="0"), ".")


def python_float(values: Ints, places: int) -> Text:
    """Return numbers in units of 10**-places as Python prints floats, down to 0.0001: 0.53, 41.0"""
    text = pc.utf8_rtrim(fixed_point(values, places), characters="0")
    return pc.if_else(pc.ends_with(text, "."), concat(text, "0"), text)


def timestamp(microseconds: Ints) -> Text:
    """Return microseconds since 1970 as a date and time: 2024-05-10 00:00:00.009930"""
    return pc.cast(pc.cast(pa.array(microseconds, pa.int64()), pa.timestamp("us")), pa.string())


def pick(index: NDArray[np.integer] | NDArray[np.bool_], *names: str) -> Text:
    """Return the name at each index; False is 0."""
    return pa.array(names).take(pa.array(index.astype(np.int64)))


def id_lists(offsets: Ints, values: Ints) -> Text:
    """Return lists as Python's json.dumps prints them: [0, 1, 2]"""
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), integer(values))
    return concat("[", pc.binary_join(lists, ", "), "]")


def quote(text: Text) -> Text:
    """Return text as JSON; it must not need escapes."""
    return concat('"', text, '"')


def json_object(**members: Text) -> Text:
    """Return objects as Python's json.dumps prints them: {"a": 1, "b": [2]}"""
    parts: list[Text] = []
    for name, text in members.items():
        parts += [f'{", " if parts else "{"}"{name}": ', text]
    return concat(*parts, "}")


def csv_row(*fields: Text) -> Text:
    """Return fields with commas between them; they must not need quotes."""
    return pc.binary_join_element_wise(*fields, ",")


class Lines:
    """A text file with a shape, written a chunk of lines at a time."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._stream: BinaryIO | StoredGzip = StoredGzip(path) if path.suffix == ".gz" else path.open("wb")
        self._stream.write(shape.header.encode())
        self._end, self._tail, self._empty = shape.end, shape.tail, not shape.header

    def write(self, lines: Text) -> None:
        """Append lines."""
        text = concat(self._end, lines)
        if len(text) == 0:
            return
        start, stop = (
            int(np.frombuffer(text.buffers()[1], np.int32)[i]) for i in (text.offset, text.offset + len(text))
        )
        # A line end precedes each line, except the first of a file without a header.
        start += len(self._end) if self._empty else 0
        self._stream.write(memoryview(text.buffers()[2])[start:stop])
        self._empty = False

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._stream.write(self._tail.encode())
        self._stream.close()


class StoredGzip:
    """A gzip file without compression, because zlib's versions compress the same bytes differently."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")
        self._crc = self._size = 0
        # RFC 1952: deflate, with the file's name, no time, system unknown.
        self._stream.write(b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + path.stem.encode() + b"\0")

    def write(self, data: bytes | memoryview) -> None:
        self._crc, self._size = zlib.crc32(data, self._crc), self._size + len(data)
        for start in range(0, len(data), 0xFFFF):
            self._block(data[start : start + 0xFFFF], last=False)

    def close(self) -> None:
        self._block(b"", last=True)
        self._stream.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        self._stream.close()

    def _block(self, data: bytes | memoryview, last: bool) -> None:
        self._stream.write(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF))
        self._stream.write(data)
