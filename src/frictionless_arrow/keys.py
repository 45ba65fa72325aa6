"""Keys as frictionless reads them: which rows may repeat one, and which refer to none.

A row may be taken for a repetition that is none, as two keys may share a hash: frictionless's own code decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from llm_trace_archive.columns.arrays import Mask, Numbers, from_integers, is_valid, to_integers
from llm_trace_archive.columns.keys import Hashes, hash_column, hash_columns, repeated_hashes, rises

from .field_check import FieldCheck

Batches: TypeAlias = Callable[[], Iterator[list[pa.Array]]]
KeySet: TypeAlias = set[tuple[Any, ...]]

UNHASHABLE = np.uint64(0xD1B54A32D192ED03)  # counts as repeated, for the row code must see it and fail


def hash_keys(checks: list[FieldCheck], columns: list[pa.Array]) -> tuple[Hashes, Mask]:
    """Return 64 bits for the key of each row, equal for equal keys, and which keys have any value."""
    hashed = [_hash_column(check, column) for check, column in zip(checks, columns, strict=True)]
    total, present = hash_columns(hashed)
    unhashable = np.any([hashes == UNHASHABLE for hashes, _ in hashed], axis=0)
    return np.where(unhashable, UNHASHABLE, total), present


def find_repeated(checks: list[FieldCheck], batches: Batches, rows: int) -> Hashes:
    """Return the hashes of keys that occur more than once among at most `rows`, sorted."""
    if len(checks) == 1 and checks[0].is_plain(pa.int64()) and rises(column for (column,) in batches()):
        return np.empty(0, np.uint64)

    def present() -> Iterator[Hashes]:
        for columns in batches():
            hashes, mask = hash_keys(checks, columns)
            yield hashes[mask]

    return np.sort(np.concatenate([[UNHASHABLE], *repeated_hashes(present, rows)]))


def distinct_keys(checks: list[FieldCheck], columns: list[pa.Array]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """Return the distinct keys of a batch as frictionless reads them, and for each row the position of its key."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        part = _codes(column)
        _, codes = np.unique(codes * (int(part.max(initial=0)) + 1) + part, return_inverse=True)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    rows = from_integers(first)
    values = [check.values(column.take(rows)) for check, column in zip(checks, columns, strict=True)]
    return list(zip(*values, strict=True)), codes


def find_unknown(checks: list[FieldCheck], columns: list[pa.Array], known: KeySet) -> Mask | None:
    """Return which rows have a key that is not known, or None for no row; a key without any value is none."""
    keys, codes = distinct_keys(checks, columns)
    wrong = np.fromiter((set(key) != {None} and key not in known for key in keys), bool, len(keys))
    return wrong[codes] if wrong.any() else None


def _codes(column: pa.Array) -> Numbers:
    """Return a number for each row: 0 for null, and equal only for equal values."""
    try:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    except pa.ArrowNotImplementedError:  # nested
        return np.arange(1, len(column) + 1)
    codes: Numbers = np.where(is_valid(coded), to_integers(coded.indices).astype(np.int64) + 1, 0)
    return codes


def _hash_column(check: FieldCheck, column: pa.Array) -> tuple[Hashes, Mask]:
    if check.is_plain(column.type):
        return hash_column(column)

    def hash_values(array: pa.Array) -> tuple[Hashes, Mask]:
        values = check.values(array)
        present = np.fromiter((value is not None for value in values), bool, len(values))
        return np.fromiter(map(_hash, values), np.uint64, len(values)), present

    return hash_column(column, hash_values)


def _hash(value: Any) -> int:
    try:
        return hash(value) % 2**64
    except TypeError:
        return int(UNHASHABLE)
