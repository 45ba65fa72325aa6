"""Random integers that are the same on every machine and with every version of NumPy.

Only the raw words of PCG64 are used: unlike the methods of `numpy.random.Generator`, they never change (NEP 19).
Everything else is integer arithmetic, which does not depend on compiler, processor or mathematical library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

from ...columns.splitmix import GAMMA, mix

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

ROWS_AT_ONCE = 1 << 16


class Draws:
    """A stream of random numbers, seeded by names such as those of the trace and the file."""

    def __init__(self, *names: str) -> None:
        digest = hashlib.sha256("/".join(names).encode()).digest()
        self._bits = PCG64(int.from_bytes(digest[:16], "big"))

    def words(self, count: int) -> Words:
        """Return random 64-bit words."""
        found: Any = self._bits.random_raw(count)
        return np.asarray(found, np.uint64)

    def below(self, count: int, bound: int) -> Ints:
        """Return integers from 0 to `bound` - 1, equally likely; bound is at most 2**31."""
        return ((self.words(count) >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)

    def choose(self, count: int, weights: Sequence[int]) -> Ints:
        """Return indices into `weights`, each with the frequency of its weight."""
        ends = np.cumsum(np.asarray(weights, np.int64))
        return np.searchsorted(ends, self.below(count, int(ends[-1])), side="right").astype(np.int64)


def mixed(numbers: Ints) -> Words:
    """Return the random word of each number, which need not be stored: SplitMix64."""
    words: Words = mix(numbers.astype(np.uint64) + GAMMA)
    return words


def chunks(rows: int, at_once: int = ROWS_AT_ONCE) -> Iterator[tuple[int, int]]:
    """Yield ranges [start, stop) that cover `rows`, so that memory does not grow with them."""
    for start in range(0, rows, at_once):
        yield start, min(start + at_once, rows)
