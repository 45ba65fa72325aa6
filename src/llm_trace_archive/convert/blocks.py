"""Prefix-block ids from the token ids of prompts: equal leading ids mean equal leading blocks, and nothing else.

A prompt is cut into blocks of so many tokens from its front. The last block holds what is left and may be shorter, so a
prompt of n tokens has ceil(n / block) ids, and one of none has none. The hash of a block is chained: with m the mixing
function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), ^ the
exclusive or, and 64-bit words,

    h = m(h ^ n), then h = m(h ^ t) for each of its n tokens t

from the hash of the block before, or from 0. So it stands for all tokens from the prompt's first to the block's last,
and a shorter last block is another one than the full block it may grow into. Two different beginnings get the same hash
with a probability of 2**-64: of ten million different blocks, any two do with one of 3 in a million.

The hashes are numbered from 0 in the order in which they first appear, and only these numbers are given out. They
depend on which beginnings are equal and on nothing else: whatever tokens are put in the place of others, one for one,
the ids stay the same. So no token, and no hash to try guesses against, can be computed from them. Who holds the same
prompts can recognise them, but by the numbers of their tokens already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..analysis.prefix import Numbering

_Array: TypeAlias = npt.NDArray[Any]


class BlockIds:
    """The block ids of prompts, numbered on over all the arrays of prompts that are given; `block` is in tokens."""

    def __init__(self, block: int) -> None:
        self.block = block
        self._number = Numbering()

    def __call__(self, tokens: pa.ListArray) -> pa.ListArray:
        """list<int64> of block ids for a list of the token ids of each prompt; no list is null."""
        lengths = pc.list_value_length(tokens).to_numpy().astype(np.int64)
        blocks = -(-lengths // self.block)
        hashes = np.empty(int(blocks.sum()), np.uint64)
        _compiled()(tokens.flatten().to_numpy(), lengths, self.block, hashes)
        offsets = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(self._number(hashes.view(np.int64)), pa.int64()))


@cache
def _compiled() -> Callable[..., None]:
    import numba  # slow to import, so only where it is used

    return numba.njit(nogil=True)(_hash)


def _hash(tokens: _Array, lengths: _Array, block: int, hashes: _Array) -> None:
    """Set `hashes` to the chained hashes of the blocks of all prompts, whose tokens stand one after another."""
    at = done = 0
    for length in lengths:
        h = np.uint64(0)
        end = at + length
        while at < end:
            size = min(block, end - at)
            # Word 0 of a block is its length, then come its tokens.
            for word in range(size + 1):
                h ^= np.uint64(size if word == 0 else tokens[at + word - 1])
                h += np.uint64(0x9E3779B97F4A7C15)
                h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                h ^= h >> np.uint64(31)
            at += size
            hashes[done] = h
            done += 1
