"""Spell columns as upstreams do, and write them as the lines of a file.

Independent of the package's own reading and restoring, which the samples test.
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

Text = Any  # a pyarrow.StringArray, or a str that is the same on all rows


def joined(*parts: Text) -> Text:
    """Parts of each row, one after another."""
    return pc.binary_join_element_wise(*parts, "")


def whole(values: Ints) -> Text:
    """5"""
    return pc.cast(pa.array(values, pa.int64()), pa.string())


def fixed(values: Ints, places: int) -> Text:
    """Numbers in units of 10**-places with all their decimals: 0.530"""
    units, rest = np.divmod(values, 10**places)
    return pc.binary_join_element_wise(whole(units), pc.utf8_lpad(whole(rest), width=places, padding="0"), ".")


def python_float(values: Ints, places: int) -> Text:
    """Numbers in units of 10**-places as Python prints a float, down to 0.0001: 0.53, 41.0"""
    text = pc.utf8_rtrim(fixed(values, places), characters="0")
    return pc.if_else(pc.ends_with(text, "."), joined(text, "0"), text)


def moment(microseconds: Ints) -> Text:
    """Microseconds since 1970: 2024-05-10 00:00:00.009930"""
    return pc.cast(pc.cast(pa.array(microseconds, pa.int64()), pa.timestamp("us")), pa.string())


def chosen(index: NDArray[np.integer] | NDArray[np.bool_], *names: str) -> Text:
    """The name of each index; False is 0."""
    return pa.array(names).take(pa.array(index.astype(np.int64)))


def ids(offsets: Ints, values: Ints) -> Text:
    """Lists as Python's json.dumps prints them: [0, 1, 2]"""
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), whole(values))
    return joined("[", pc.binary_join(lists, ", "), "]")


def quoted(text: Text) -> Text:
    """Text that needs no escapes, as JSON."""
    return joined('"', text, '"')


def json_object(**members: Text) -> Text:
    """Objects as Python's json.dumps prints them: {"a": 1, "b": [2]}"""
    parts: list[Text] = []
    for name, text in members.items():
        parts += [f'{", " if parts else "{"}"{name}": ', text]
    return joined(*parts, "}")


def csv_row(*fields: Text) -> Text:
    """Fields that need no quotes, with commas between them."""
    return pc.binary_join_element_wise(*fields, ",")


class Lines:
    """A text file of a shape, written a chunk of lines at a time."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._stream: BinaryIO | StoredGzip = StoredGzip(path) if path.suffix == ".gz" else path.open("wb")
        self._stream.write(shape.header.encode())
        self._end, self._tail, self._empty = shape.end, shape.tail, not shape.header

    def write(self, lines: Text) -> None:
        """Append lines."""
        text = joined(self._end, lines)
        if len(text) == 0:
            return
        start, stop = (
            int(np.frombuffer(text.buffers()[1], np.int32)[i]) for i in (text.offset, text.offset + len(text))
        )
        # The line end stands before each line, but not before the first of the file.
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
    """A gzip file without compression: what deflate makes of the same bytes differs from one zlib to the next."""

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
