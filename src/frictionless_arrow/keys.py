"""Keys by columns: which rows may repeat a key, and which point to nothing.

Repeated keys are found with 8 bytes a row, at most `KEYS` of them at a time: a table with more rows is read several
times, each time for the keys with another remainder. A column of rising integers needs no memory. A key is hashed to
64 bits, so a row may be taken for a repetition that is none: frictionless's own code has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .columns import ColumnCheck, Mask, integers, is_valid, places

KEYS = 2**23

Hashes = npt.NDArray[np.uint64]
Batches = Callable[[], Iterator[list[pa.Array]]]

_NONE = np.uint64(0x9E3779B97F4A7C15)
UNHASHABLE = np.uint64(0xD1B54A32D192ED03)  # counts as repeated: the row code fails on it, and has to


def hashes(checks: list[ColumnCheck], columns: list[pa.Array]) -> tuple[Hashes, Mask]:
    """A number for the key of every row, equal for equal keys, and which keys have a value at all."""
    total = np.zeros(len(columns[0]), np.uint64)
    present, unhashable = np.zeros(len(columns[0]), bool), np.zeros(len(columns[0]), bool)
    for check, column in zip(checks, columns, strict=True):
        numbers, valid = _hashes(check, column)
        total = _mixed(total) ^ np.where(valid, numbers, _NONE) if len(checks) > 1 else numbers
        present |= valid
        unhashable |= numbers == UNHASHABLE
    return np.where(unhashable, UNHASHABLE, total), present


def repeated(checks: list[ColumnCheck], batches: Batches, rows: int) -> Hashes:
    """The hashes of the keys that occur more than once."""
    if len(checks) == 1 and _rises(checks[0], batches()):
        return np.empty(0, np.uint64)
    rounds = max(1, -(-rows // KEYS))
    found = [_repeated(_share(checks, batches(), rounds, share)) for share in range(rounds)]
    return np.sort(np.concatenate([[UNHASHABLE], *found]))


def among(numbers: Hashes, sorted_numbers: Hashes) -> Mask | None:
    """Which numbers are in a sorted array; None for none of them."""
    if not len(sorted_numbers):
        return None
    places = np.minimum(np.searchsorted(sorted_numbers, numbers), len(sorted_numbers) - 1)
    mask: Mask = sorted_numbers[places] == numbers
    return mask


def tuples(checks: list[ColumnCheck], columns: list[pa.Array]) -> tuple[list[tuple[Any, ...]], npt.NDArray[np.int64]]:
    """The distinct keys of a batch as frictionless reads them, and for each row which of them it has."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        part = _codes(column)
        _, codes = np.unique(codes * (int(part.max(initial=0)) + 1) + part, return_inverse=True)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    rows = places(first)
    values = [check.values(column.take(rows)) for check, column in zip(checks, columns, strict=True)]
    return list(zip(*values, strict=True)), codes


def _codes(column: pa.Array) -> npt.NDArray[np.int64]:
    """A number for each row, 0 for null and equal only for equal values."""
    try:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    except pa.ArrowNotImplementedError:  # nested
        return np.arange(1, len(column) + 1)
    codes: npt.NDArray[np.int64] = np.where(is_valid(coded), integers(coded.indices).astype(np.int64) + 1, 0)
    return codes


def unknown(checks: list[ColumnCheck], columns: list[pa.Array], known: set[tuple[Any, ...]]) -> Mask | None:
    """Which rows have a key that is not known; a key without any value is no key."""
    distinct, codes = tuples(checks, columns)
    wrong = np.fromiter((set(key) != {None} and key not in known for key in distinct), bool, len(distinct))
    return wrong[codes] if wrong.any() else None


def _hashes(check: ColumnCheck, column: pa.Array) -> tuple[Hashes, Mask]:
    valid = is_valid(column)
    if check.is_plain(column.type):
        kind = column.type
        if pa.types.is_date32(kind):
            column = column.cast(pa.int32())
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        numbers = integers(column)
        return numbers.astype(np.int64 if numbers.dtype != np.uint64 else np.uint64).view(np.uint64), valid
    if pa.types.is_dictionary(column.type):
        entries, known = _hashes(check, column.dictionary)
        if not len(entries):
            return np.zeros(len(column), np.uint64), valid
        indices = integers(column.indices)
        return entries[indices], valid & known[indices]
    values = check.values(column)
    numbers = np.fromiter(map(_hash, values), np.uint64, len(values))
    return numbers, np.fromiter((value is not None for value in values), bool, len(values))


def _hash(value: Any) -> int:
    try:
        return hash(value) % 2**64
    except TypeError:
        return int(UNHASHABLE)


def _mixed(numbers: Hashes) -> Hashes:
    """The finaliser of splitmix64, so that keys of several columns don't cancel each other out."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _rises(check: ColumnCheck, batches: Iterator[list[pa.Array]]) -> bool:
    last: int | None = None
    for (column,) in batches:
        if not pa.types.is_integer(column.type) or not check.is_plain(column.type) or column.null_count:
            return False
        if not len(column):
            continue
        numbers = integers(column)
        if (last is not None and int(numbers[0]) <= last) or not bool((numbers[1:] > numbers[:-1]).all()):
            return False
        last = int(numbers[-1])
    return True


def _share(checks: list[ColumnCheck], batches: Iterable[list[pa.Array]], rounds: int, share: int) -> Iterator[Hashes]:
    for columns in batches:
        numbers, present = hashes(checks, columns)
        numbers = numbers[present]
        yield numbers if rounds == 1 else numbers[_mixed(numbers) % np.uint64(rounds) == np.uint64(share)]


def _repeated(parts: Iterator[Hashes]) -> Hashes:
    numbers = np.concatenate([np.empty(0, np.uint64), *parts])
    numbers.sort()
    again = numbers[1:][numbers[1:] == numbers[:-1]]
    return np.unique(again)
