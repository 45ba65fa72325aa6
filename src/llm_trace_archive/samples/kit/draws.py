"""Random whole numbers that are the same on every machine and with every version of NumPy.

Only the raw words of PCG64 are used: unlike the methods of `numpy.random.Generator` they never change (NEP 19). What is
made of them is integer arithmetic, so that no compiler, processor or mathematical library has a say in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

ROWS_AT_ONCE = 1 << 16


class Draws:
    """A stream of random numbers, seeded by names: the trace and the file."""

    def __init__(self, *names: str) -> None:
        digest = hashlib.sha256("/".join(names).encode()).digest()
        self._bits = PCG64(int.from_bytes(digest[:16], "big"))

    def words(self, count: int) -> Words:
        """Random 64-bit words."""
        found: Any = self._bits.random_raw(count)
        return np.asarray(found, np.uint64)

    def below(self, count: int, bound: int) -> Ints:
        """Whole numbers from 0 to `bound` - 1, all alike; bound up to 2**31."""
        return ((self.words(count) >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)

    def choose(self, count: int, weights: Sequence[int]) -> Ints:
        """Indices into `weights`, each as often as its weight says."""
        ends = np.cumsum(np.asarray(weights, np.int64))
        return np.searchsorted(ends, self.below(count, int(ends[-1])), side="right").astype(np.int64)


def mixed(numbers: Ints) -> Words:
    """The random word that belongs to each number, so that it need not be kept: SplitMix64."""
    word = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def chunks(rows: int, at_once: int = ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Ranges [start, stop) that cover `rows`, so that memory does not grow with them."""
    for start in range(0, rows, at_once):
        yield start, min(start + at_once, rows)
