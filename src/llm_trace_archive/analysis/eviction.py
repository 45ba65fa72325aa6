"""Caches that one LRU stack can't serve: FIFO and Belady's optimal policy, one compiled pass per capacity.

Both hit and count as `prefix` does. FIFO evicts the block that was inserted first, whether it was hit since or not.
Belady's policy knows the future: it keeps the blocks that are used again soonest, and inserts no block that would be
used again later than every block it holds. Belady, "A study of replacement algorithms for a virtual-storage computer",
IBM Systems Journal 5(2), 1966.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from ..core.extras import compiled
from .prefix import Run, _Array


def fifo(run: Run, capacities: Iterable[int]) -> dict[int, int]:
    """Return the weight of the hits of FIFO caches, by their capacity in blocks."""
    replay, *_ = _compiled()
    hits = {}
    for capacity in capacities:
        ring = np.empty(min(capacity, run.distinct), np.int32)
        cached = np.zeros(run.distinct, np.bool_)
        inserted = total = 0
        for chunk in run.trace:
            inserted, gained = replay(*chunk, cached, ring, inserted)
            total += gained
        hits[capacity] = total
    return hits


def belady(run: Run, capacities: Iterable[int]) -> dict[int, int]:
    """Return the weight of the hits of the best possible caches, by their capacity in blocks.

    Raises ValueError if a block of the run follows different blocks: then a cache may hold blocks that it can't use,
    and no order of eviction is known to be the best.
    """
    if not run.is_tree():
        raise ValueError(
            "Belady's policy needs blocks that always follow the same blocks; definition='folded' has them"
        )
    _, set_next_uses, replay = _compiled()
    after = np.full(run.distinct, run.blocks, np.int64)
    uses = []
    end = run.blocks
    for blocks, *_ in reversed(run.trace):
        end -= len(blocks)
        uses.append(np.empty(len(blocks), np.int64))
        set_next_uses(blocks, end, after, uses[-1])
    uses.reverse()

    hits = {}
    for capacity in capacities:
        words, levels = _bits(run.blocks)
        held = total = start = 0
        for (blocks, lengths, weights, last), next_uses in zip(run.trace, uses, strict=True):
            held, gained = replay(next_uses, lengths, weights, last, start, run.blocks, words, levels, held, capacity)
            total += gained
            start += len(blocks)
        hits[capacity] = total
    return hits


def _bits(size: int) -> tuple[_Array, _Array]:
    """Return `size` bits, all 0, as words of 64, and where each level starts: a bit of it is a word of that below."""
    starts = [0]
    while size > 1:
        size = -(-size // 64)
        starts.append(starts[-1] + size)
    return np.zeros(max(starts[-1], 1), np.uint64), np.array(starts if len(starts) > 1 else [0, 1], np.int64)


@cache
def _compiled() -> tuple[Callable[..., Any], ...]:
    return compiled(_replay_fifo, _set_next_uses, _replay_belady, purpose="computing hit ratios")


def _replay_fifo(
    blocks: _Array,
    lengths: _Array,
    weights: _Array,
    weights_of_last: _Array,
    cached: _Array,
    ring: _Array,
    inserted: int,
) -> tuple[int, int]:
    """Replay requests on a queue, the ring; return how many blocks were ever inserted, and the weight of the hits."""
    hits = 0
    start = 0
    for request in range(len(lengths)):
        end = start + lengths[request]
        for at in range(start, end):
            if not cached[blocks[at]]:
                break
            hits += weights[request] if at < end - 1 else weights_of_last[request]
        if len(ring):
            for at in range(start, end):
                if not cached[blocks[at]]:
                    slot = inserted % len(ring)
                    if inserted >= len(ring):
                        cached[ring[slot]] = False
                    ring[slot] = blocks[at]
                    cached[blocks[at]] = True
                    inserted += 1
        start = end
    return inserted, hits


def _set_next_uses(blocks: _Array, start: int, after: _Array, uses: _Array) -> None:
    """Set where each block is used next, in positions of the whole run; `after` holds this for what follows."""
    for at in range(len(blocks) - 1, -1, -1):
        uses[at] = after[blocks[at]]
        after[blocks[at]] = start + at


def _replay_belady(
    uses: _Array,
    lengths: _Array,
    weights: _Array,
    weights_of_last: _Array,
    position: int,
    never: int,
    words: _Array,
    levels: _Array,
    held: int,
    capacity: int,
) -> tuple[int, int]:
    """Replay requests on the set of the positions at which the blocks in the cache are used next.

    A block hits if its position is in the set. Then its next use takes its place, and the latest use of all leaves a
    full cache. Returns how many blocks it holds, and the weight of the hits.
    """
    one, top = np.uint64(1), len(levels) - 2
    hits = 0
    at = 0
    for request in range(len(lengths)):
        leading = True
        for step in range(lengths[request]):
            here = position + at
            is_held = words[here >> 6] >> np.uint64(here & 63) & one
            leading = leading and is_held == one
            if leading:
                hits += weights[request] if step < lengths[request] - 1 else weights_of_last[request]
            drop = -1
            if is_held:
                drop = here
                held -= 1
            if uses[at] < never and capacity > 0:
                index = uses[at]
                for level in range(top + 1):
                    words[levels[level] + (index >> 6)] |= one << np.uint64(index & 63)
                    index >>= 6
                held += 1
            if drop < 0 and held > capacity:
                drop = 0
                for level in range(top, -1, -1):
                    word = words[levels[level] + drop]
                    highest = 0
                    for shift in (32, 16, 8, 4, 2, 1):
                        if word >> np.uint64(shift):
                            word >>= np.uint64(shift)
                            highest += shift
                    drop = (drop << 6) + highest
                held -= 1
            for level in range(top + 1):
                if drop < 0:
                    break
                word = levels[level] + (drop >> 6)
                words[word] &= ~(one << np.uint64(drop & 63))
                if words[word]:
                    break
                drop >>= 6
            at += 1
    return held, hits
