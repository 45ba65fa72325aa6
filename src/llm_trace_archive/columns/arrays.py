"""Arrow arrays as NumPy arrays and back, without `to_numpy`, `fill_null` and `pa.array`, which import pandas.

That import takes longer than reading a table.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask: TypeAlias = npt.NDArray[np.bool_]
Numbers: TypeAlias = npt.NDArray[np.int64]


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of a type are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether values of a type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def is_valid(array: pa.Array) -> Mask:
    """Return which values are not null."""
    if not array.null_count:
        return np.ones(len(array), bool)
    return np.zeros(len(array), bool) if pa.types.is_null(array.type) else _bits(array, array.buffers()[0])


def to_mask(array: pa.Array) -> Mask:
    """Return a boolean array; null becomes False."""
    mask = _bits(array, array.buffers()[1])
    return mask & is_valid(array) if array.null_count else mask


def to_integers(array: pa.Array) -> npt.NDArray[Any]:
    """Return an array of integers; null becomes 0."""
    kind = np.dtype(str(array.type))
    if not len(array):
        return np.empty(0, kind)
    numbers = np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)
    return np.where(is_valid(array), numbers, kind.type(0)) if array.null_count else numbers


def from_integers(numbers: npt.NDArray[Any], like: pa.Array | None = None) -> pa.Array:
    """Return an array of Arrow of signed integers, such as `take` needs; null where `like` is null."""
    numbers = np.ascontiguousarray(numbers)
    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [like and valid_bits(like), pa.py_buffer(numbers)])


def valid_bits(array: pa.Array) -> pa.Buffer | None:
    """Return which values are not null, as Arrow keeps it: nothing if none is."""
    return pa.py_buffer(np.packbits(is_valid(array), bitorder="little")) if array.null_count else None


def from_values(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return texts or numbers as an array of a text or number type."""
    if not is_text(kind):
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.array(values, np.dtype(str(kind))))])
    texts = [text.encode() for text in values]
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64 if pa.types.is_large_string(kind) else np.int32)
    return pa.Array.from_buffers(kind, len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))])


def lists_with(lists: pa.Array, items: Mask) -> Mask:
    """Return which lists have an item for which a mask of all items, `pc.list_flatten(lists)`, is True."""
    mask = np.zeros(len(lists), bool)
    mask[to_integers(pc.list_parent_indices(lists))[items]] = True
    return mask


def _bits(array: pa.Array, buffer: pa.Buffer | None) -> Mask:
    if not len(array) or buffer is None:
        return np.zeros(len(array), bool)
    end = array.offset + len(array)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")
    return bits[array.offset :].view(np.bool_)
