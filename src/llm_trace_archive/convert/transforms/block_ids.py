"""Prefix-block ids from the token ids of prompts: two ids are equal exactly where the prompts are equal up to there.

A prompt is cut into blocks of a fixed number of tokens from its front. The last block holds the rest and may be
shorter, so a prompt of n tokens has ceil(n / block) ids; an empty prompt has none. The hash of a block is chained: with
m the mixing function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014), ^ the exclusive or, and 64-bit words,

    h = m(h ^ n), then h = m(h ^ t) for each of its n tokens t

starting from the hash of the block before, or from 0. So a hash stands for all tokens from the prompt's first to the
block's last, and a shorter last block differs from the full block it may grow into. Two different beginnings have the
same hash with a probability of 2**-64; among ten million different blocks, any two do with one of 3 in a million.

The hashes are numbered from 0 by first appearance, and only these numbers leave this module. They depend on which
beginnings are equal and on nothing else: replace tokens by others, one for one, and the ids stay the same. So neither a
token nor a hash to test guesses against can be computed from them. Anyone who has the same prompts can recognise them,
but the numbers of tokens reveal that already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...analysis.prefix import Numbering
from ...columns.arrays import from_integers, to_integers
from ...columns.splitmix import GAMMA, mix
from ...core.extras import compiled, require

_Array: TypeAlias = npt.NDArray[Any]


class BlockNumbering:
    """The block ids of prompts, numbered across all arrays of prompts; a block has `block` tokens."""

    def __init__(self, block: int) -> None:
        self.block = block
        self._number = Numbering()

    def __call__(self, tokens: pa.ListArray) -> pa.ListArray:
        """Return the block ids (list<int64>) of prompts, given their token ids; no list is null."""
        lengths = to_integers(pc.list_value_length(tokens)).astype(np.int64)
        blocks = -(-lengths // self.block)
        hashes = np.empty(int(blocks.sum()), np.uint64)
        _compiled()(to_integers(tokens.flatten()), lengths, self.block, hashes)
        offsets = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int32)
        ids = self._number(hashes.view(np.int64)).astype(np.int64)
        return pa.ListArray.from_arrays(from_integers(offsets), from_integers(ids))


@cache
def _compiled() -> Callable[..., None]:
    numba = require("numba", "analysis", "numbering prefix blocks")
    numba.extending.register_jitable(mix)
    return compiled(_hash, purpose="numbering prefix blocks")[0]


def _hash(tokens: _Array, lengths: _Array, block: int, hashes: _Array) -> None:
    """Set `hashes` to the chained hashes of the blocks of all prompts; `tokens` holds one prompt after another."""
    at = done = 0
    for length in lengths:
        h = np.uint64(0)
        end = at + length
        while at < end:
            size = min(block, end - at)
            # Word 0 of a block is its length, then come its tokens.
            for word in range(size + 1):
                h ^= np.uint64(size if word == 0 else tokens[at + word - 1])
                h = mix(h + GAMMA)
            at += size
            hashes[done] = h
            done += 1
