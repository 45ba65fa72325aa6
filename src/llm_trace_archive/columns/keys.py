"""Keys of tables: the rows that repeat one, and the row that another key refers to, in bounded memory.

A key is 64 bits: a whole number is itself, anything else is hashed. Two different keys of a table get the same bits
with a probability of about rows² / 2⁶⁵. At most `KEYS_AT_ONCE` keys of each side are held: a larger table is read again
for each further share of its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .arrays import Mask, Numbers, is_valid, to_integers
from .splitmix import GAMMA, mix

KEYS_AT_ONCE = 1 << 22
NULL = GAMMA  # for a null beside other columns of a key

Hashes: TypeAlias = npt.NDArray[np.uint64]
Share: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Keys:
    """The keys of some rows: the rows' numbers, the hashes, and those of another column to compare with."""

    rows: Numbers
    hashes: Hashes
    others: Hashes

    def take(self, rows: Any) -> Keys:
        """Return some of them, by a mask or by positions."""
        return Keys(self.rows[rows], self.hashes[rows], self.others[rows])


KeySource: TypeAlias = Callable[[], Iterable[Keys]]


# -- hashes ------------------------------------------------------------------------------------------------------------


def hash_column(
    column: pa.Array, hash_values: Callable[[pa.Array], tuple[Hashes, Mask]] | None = None
) -> tuple[Hashes, Mask]:
    """Return 64 bits for each value, equal for equal values, and which values count as a key (are not null).

    hash_values  does this for the distinct values of a column; None to compare what Arrow holds
    """
    kind = column.type
    if hash_values is None and is_whole(kind):
        return _whole_numbers(column), is_valid(column)
    if not pa.types.is_dictionary(kind):
        try:
            column = column.dictionary_encode()
        except pa.ArrowNotImplementedError:  # nested
            return (hash_values or _hash_texts)(column)
    hashes, valid = (hash_values or _hash_texts)(column.dictionary)
    if not len(hashes):
        return np.zeros(len(column), np.uint64), np.zeros(len(column), bool)
    positions = to_integers(column.indices)
    return hashes[positions], is_valid(column) & valid[positions]


def hash_columns(columns: list[tuple[Hashes, Mask]]) -> tuple[Hashes, Mask]:
    """Return 64 bits for the key that the columns of `hash_column` make in each row, and which have any value."""
    total, present = np.zeros(len(columns[0][0]), np.uint64), np.zeros(len(columns[0][0]), bool)
    for hashes, valid in columns:
        total = mix(total) ^ np.where(valid, hashes, NULL)
        present |= valid
    return total, present


def is_whole(kind: pa.DataType) -> bool:
    """Return whether values of a type are hashed to the whole number that Arrow holds."""
    return bool(pa.types.is_integer(kind) or pa.types.is_date32(kind) or pa.types.is_boolean(kind))


def _whole_numbers(column: pa.Array) -> Hashes:
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    numbers = to_integers(column)
    return numbers.astype(np.int64 if numbers.dtype != np.uint64 else np.uint64).view(np.uint64)


def _hash_texts(values: pa.Array) -> tuple[Hashes, Mask]:
    return np.fromiter((hash(value) % 2**64 for value in values.to_pylist()), np.uint64, len(values)), is_valid(values)


def number_rows(start: int, columns: list[pa.Array], mask: Mask | None = None, others: Hashes | None = None) -> Keys:
    """Return the keys of a batch whose first row is number `start`: of the rows of a mask that have a value."""
    hashes, present = hash_columns([hash_column(column) for column in columns])
    rows = np.arange(start, start + len(hashes))
    keys = Keys(rows, hashes, np.zeros(len(hashes), np.uint64) if others is None else others)
    return keys.take(present if mask is None else present & mask)


# -- repeats and references --------------------------------------------------------------------------------------------


def rises(columns: Iterable[pa.Array]) -> bool:
    """Return whether the arrays hold integers without null, each larger than the one before: then none repeats."""
    last: int | None = None
    for column in columns:
        if not pa.types.is_integer(column.type) or column.null_count:
            return False
        if not len(column):
            continue
        numbers = to_integers(column)
        if (last is not None and int(numbers[0]) <= last) or not bool((numbers[1:] > numbers[:-1]).all()):
            return False
        last = int(numbers[-1])
    return True


def repeated_hashes(source: Callable[[], Iterable[Hashes]], rows: int) -> Iterator[Hashes]:
    """Yield the hashes that occur more than once among at most `rows`, in sorted arrays."""
    for share in _shares(rows):
        hashes = np.concatenate([np.empty(0, np.uint64), *(each[_is_in(each, share)] for each in source())])
        hashes.sort()
        yield np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def repeated_rows(source: KeySource, rows: int) -> Iterator[Numbers]:
    """Yield the rows, at most `rows`, whose key a row before has."""
    for hashes in repeated_hashes(lambda: (keys.hashes for keys in source()), rows):
        if len(hashes):
            held = _sorted(keys.take(is_among(keys.hashes, hashes)) for keys in source())
            yield held.rows[1:][held.hashes[1:] == held.hashes[:-1]]


def is_among(hashes: Hashes, known: Hashes) -> Mask:
    """Return which hashes are in a sorted array."""
    if not len(known):
        return np.zeros(len(hashes), bool)
    mask: Mask = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
    return mask


def look_up(keys: KeySource, references: KeySource, rows: int) -> Iterator[tuple[Keys, Keys]]:
    """Yield references and, in the same positions, the first row with the key of each; its number is -1 if none has it.

    rows  at most so many are on either side
    """
    for share in _shares(rows):
        known, wanted = (
            _sorted(each.take(_is_in(each.hashes, share)) for each in source()) for source in (keys, references)
        )
        if not len(known.rows):
            yield wanted, Keys(np.full(len(wanted.rows), -1), wanted.hashes, wanted.others)
            continue
        matches = known.take(np.minimum(np.searchsorted(known.hashes, wanted.hashes), len(known.rows) - 1))
        yield wanted, Keys(np.where(matches.hashes == wanted.hashes, matches.rows, -1), matches.hashes, matches.others)


def _shares(rows: int) -> Iterator[Share]:
    count = max(1, -(-rows // KEYS_AT_ONCE))
    return ((count, share) for share in range(count))


def _is_in(hashes: Hashes, share: Share) -> Any:
    count, number = share
    return slice(None) if count == 1 else mix(hashes) % np.uint64(count) == np.uint64(number)


def _sorted(parts: Iterable[Keys]) -> Keys:
    """Return the keys in the order of their hashes; where these are equal, in that of the rows."""
    none = Keys(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64))
    every = [none, *parts]
    held = Keys(*(np.concatenate([getattr(part, name) for part in every]) for name in ("rows", "hashes", "others")))
    return held.take(np.argsort(held.hashes, kind="stable"))
