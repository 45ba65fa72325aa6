"""Prefix reuse: the hit ratios of prefix caches, computed exactly from the prefix-block ids of a trace's requests.

Two compiled passes over the trace: one numbers the blocks, the other replays them on one LRU stack, which gives the
hits of every capacity at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import to_integers
from ..core.extras import compiled

_Array: TypeAlias = npt.NDArray[Any]
Chunk: TypeAlias = tuple[_Array, _Array, _Array, _Array]

_MOST_DISTINCT = 2**31 - 1  # what an int32 can number
_SCRAMBLE = 0x2545F4914F6CDD1D  # odd, to lose no bit; below 2**63, because numba makes int64 * uint64 a float
_FIRST_SLOTS = 2**16


LEADING, FOLDED = "leading", "folded"


@dataclass(frozen=True)
class PrefixReuse:
    """The hit ratios of a trace, from 0 to 1."""

    definition: str
    """LEADING or FOLDED: what a block is, see `hit_ratios`."""
    blocks: int
    """Blocks of all requests, counting every occurrence."""
    distinct: int
    """Distinct blocks among them, counted anew in each segment."""
    unlimited: float
    """Hit ratio of a cache that never evicts."""
    by_share: Mapping[float, float] = field(default_factory=dict)
    """Hit ratios of LRU caches, by their capacity as a share of the distinct blocks of each segment."""
    by_blocks: Mapping[int, float] = field(default_factory=dict)
    """Hit ratios of LRU caches, by their capacity in blocks."""
    by_bytes: Mapping[int, float] = field(default_factory=dict)
    """Hit ratios of LRU caches, by their capacity in bytes."""
    segments: Mapping[int, PrefixReuse] = field(default_factory=dict)
    """The same of each segment, if there are several."""


def hit_ratios(
    hash_ids: pa.ChunkedArray | Iterable[pa.ListArray | pa.LargeListArray],
    shares: Sequence[float] = (),
    *,
    blocks: Sequence[int] = (),
    bytes: Sequence[int] = (),
    block_bytes: int | None = None,
    segments: pa.ChunkedArray | Iterable[pa.Array] | None = None,
    definition: str = LEADING,
) -> PrefixReuse | None:
    """Return the prefix-cache hit ratios of a trace, for an unlimited cache and for LRU caches; None without ids.

    hash_ids     one list<int64> or large_list<int64> per request, in the order of arrival: the ids of its prefix blocks
                 from front to back, any 64-bit numbers. A null list is a request without blocks. The chunks of an
                 iterable are read once, and none is kept.
    shares       LRU capacities, as shares (0 to 1) of the distinct blocks
    blocks       LRU capacities in blocks
    bytes        LRU capacities in bytes, of which a block takes `block_bytes`
    segments     the segment of each request, chunked like hash_ids: each segment starts with an empty cache, and the
                 ratios are over all of them
    definition   LEADING: a block is its id, and a request hits its leading blocks that are in the cache. FOLDED: a
                 block is its id together with all ids before it, so that one id after two predecessors is two blocks,
                 which compete for room. They differ where the upstream's ids are of a block alone (Qwen-Bailian).

    A request hits its leading blocks, up to the first that is not in the cache before the request. Then its blocks are
    touched or inserted from front to back, and a full cache evicts the least recently used. A ratio is hit blocks /
    blocks over all requests. A capacity is floor(share * distinct) blocks, where the share is the decimal number as
    written: 0.29 of 100 blocks are 29, although the double 0.29 is a little less. One LRU stack serves all capacities,
    because a smaller LRU cache is always a subset of a larger one: Mattson et al., "Evaluation techniques for storage
    hierarchies", IBM Systems Journal 9(2), 1970.

    Raises ValueError for a share outside 0 to 1, a negative capacity, bytes without block_bytes, an unknown definition
    or a null inside a list, TypeError for other types, OverflowError for more than 2**31 - 1 distinct blocks.
    """
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"a capacity must be a share of the distinct blocks, from 0 to 1, not {share}")
    if min((*blocks, *bytes), default=0) < 0:
        raise ValueError(f"a capacity must be at least 0, not {min((*blocks, *bytes))}")
    if bytes and not block_bytes:
        raise ValueError("capacities in bytes need block_bytes, the bytes of one block")
    if definition not in (LEADING, FOLDED):
        raise ValueError(f"a definition must be {LEADING!r} or {FOLDED!r}, not {definition!r}")

    runs: dict[int, Run] = {}
    has_ids = False
    for segment, chunk in _by_segment(hash_ids, segments):
        ids, lengths = ids_and_lengths(chunk)
        has_ids = has_ids or chunk.null_count < len(chunk)
        runs.setdefault(segment, Run(definition)).add(ids, lengths)
    if not has_ids:
        return None
    sizes = [size // (block_bytes or 1) for size in bytes]
    found = {segment: run.replay(shares, blocks, sizes) for segment, run in runs.items()}
    parts = {segment: _reuse(definition, [hits], shares, blocks, bytes) for segment, hits in found.items()}
    total = _reuse(definition, list(found.values()), shares, blocks, bytes)
    return replace(total, segments=parts) if len(parts) > 1 else total


def _by_segment(
    hash_ids: pa.ChunkedArray | Iterable[Any], segments: pa.ChunkedArray | Iterable[pa.Array] | None
) -> Iterator[tuple[int, Any]]:
    """Yield the chunks of each segment in order."""
    chunks = hash_ids.iterchunks() if isinstance(hash_ids, pa.ChunkedArray) else hash_ids
    if segments is None:
        yield from ((0, chunk) for chunk in chunks)
        return
    if isinstance(hash_ids, pa.ChunkedArray) and isinstance(segments, pa.ChunkedArray):
        both = pa.table({"ids": hash_ids, "segments": segments}).to_batches()
        pairs: Iterable[tuple[Any, Any]] = ((batch.column("ids"), batch.column("segments")) for batch in both)
    else:
        pairs = zip(chunks, segments, strict=True)
    for chunk, segment in pairs:
        numbers = segment.to_numpy(zero_copy_only=False)
        for number in np.unique(numbers):
            yield int(number), chunk if (numbers == number).all() else chunk.filter(pa.array(numbers == number))


@dataclass(frozen=True)
class _Hits:
    """Blocks, distinct blocks, and the hits of an unlimited cache and of each capacity, in the order given."""

    blocks: int
    distinct: int
    unlimited: int
    by_share: list[int]
    by_blocks: list[int]
    by_bytes: list[int]


class Run:
    """The requests that share one cache, their blocks numbered (int32) from 0 by first appearance.

    `trace` holds a tuple for each chunk: the numbers of all blocks, and for each request how many it has, the weight of
    a block and the weight of its last block.
    """

    def __init__(self, definition: str) -> None:
        self.definition = definition
        self.trace: list[Chunk] = []
        self._number = Numbering()
        self._fold = Folding() if definition == FOLDED else None

    def add(self, ids: _Array, lengths: _Array, weights: _Array | None = None, last: _Array | None = None) -> None:
        """Add a chunk of requests: the ids of all, how many each has, and what a hit counts (1 by default)."""
        numbers = self._number(ids)
        blocks = self._fold(numbers, lengths) if self._fold else numbers
        ones = np.ones(len(lengths), np.int64)
        self.trace.append((blocks, lengths, ones if weights is None else weights, ones if last is None else last))

    @property
    def blocks(self) -> int:
        """Blocks of all requests."""
        return sum(len(chunk[0]) for chunk in self.trace)

    @property
    def requests(self) -> int:
        """Requests, with and without blocks."""
        return sum(len(chunk[1]) for chunk in self.trace)

    @property
    def distinct(self) -> int:
        """Distinct blocks."""
        return self._fold.distinct if self._fold else self._number.distinct

    def is_tree(self) -> bool:
        """Return whether a block follows the same blocks wherever it appears."""
        if self._fold:
            return True
        fold = Folding()
        for blocks, lengths, *_ in self.trace:
            fold(blocks, lengths)
        return fold.distinct == self.distinct

    def without(self, requests: int) -> Run:
        """Return the run with the hits of its first requests not counted."""
        run = copy(self)
        run.trace = []
        for blocks, lengths, weights, last in self.trace:
            counted = np.arange(len(lengths)) >= requests
            run.trace.append((blocks, lengths, weights * counted, last * counted))
            requests -= len(lengths)
        return run

    def of_share(self, share: float) -> int:
        """Return the capacity in blocks that is a share of the distinct blocks."""
        return math.floor(Fraction(str(share)) * self.distinct)

    def lru(self, capacities: Iterable[int], *, leaves: bool = False) -> tuple[dict[int, int], int]:
        """Return the weight of the hits of LRU caches by capacity in blocks, and that of an unlimited cache.

        leaves  a request touches its blocks from back to front, so that the deepest is evicted first
        """
        # A cache that holds every block is one without a limit.
        wanted = list(capacities)
        limited = sorted({size for size in wanted if 0 < size < self.distinct})
        *counts, unlimited = _hits(self.trace, self.distinct, limited, leaves)
        hits = {0: 0, **dict(zip(limited, counts, strict=True))}
        return {size: hits.get(size, unlimited) for size in wanted}, unlimited

    def replay(self, shares: Sequence[float], blocks: Sequence[int], sizes: Sequence[int]) -> _Hits:
        """Replay the requests on LRU caches of these capacities; `sizes` are those in bytes, as blocks."""
        of_share = [self.of_share(share) for share in shares]
        hits, unlimited = self.lru((*of_share, *blocks, *sizes))

        def of(wanted: Sequence[int]) -> list[int]:
            return [hits[size] for size in wanted]

        return _Hits(self.blocks, self.distinct, unlimited, of(of_share), of(blocks), of(sizes))


def _reuse(
    definition: str,
    hits: list[_Hits],
    shares: Sequence[float],
    blocks: Sequence[int],
    bytes: Sequence[int],
) -> PrefixReuse:
    count = sum(each.blocks for each in hits)

    def ratios(keys: Sequence[Any], counts: list[list[int]]) -> dict[Any, float]:
        return {key: sum(column) / max(count, 1) for key, column in zip(keys, zip(*counts, strict=True), strict=True)}

    return PrefixReuse(
        definition,
        count,
        sum(each.distinct for each in hits),
        sum(each.unlimited for each in hits) / max(count, 1),
        ratios(shares, [each.by_share for each in hits]),
        ratios(blocks, [each.by_blocks for each in hits]),
        ratios(bytes, [each.by_bytes for each in hits]),
    )


class Numbering:
    """Numbers ids (any 64-bit numbers) from 0 by first appearance, across arrays; `distinct` are known so far."""

    def __init__(self) -> None:
        self.distinct = 0
        self._keys, self._slots = _table(_FIRST_SLOTS)

    def __call__(self, ids: _Array) -> _Array:
        """Return the numbers (int32) of ids (int64). Raises OverflowError for more than 2**31 - 1 distinct ones."""
        number, *_ = _compiled()
        numbers = np.empty(len(ids), np.int32)
        done = 0
        while True:
            done, self.distinct = number(ids, numbers, done, self._keys, self._slots, self.distinct)
            if done == len(ids):
                return numbers
            if self.distinct == _MOST_DISTINCT:
                raise OverflowError(f"more than {_MOST_DISTINCT} distinct blocks")
            # Numbering the known ids again, in their order, gives them the same numbers.
            known, (self._keys, self._slots) = self._keys, _table(2 * len(self._slots))
            number(known, np.empty(self.distinct, np.int32), 0, self._keys, self._slots, 0)
            del known


class Folding:
    """Numbers the prefixes of requests from 0 by first appearance: equal numbers mean equal ids up to that block."""

    def __init__(self) -> None:
        self.distinct = 0
        self._keys, self._slots = _table(_FIRST_SLOTS)

    def __call__(self, blocks: _Array, lengths: _Array) -> _Array:
        """Return the numbers (int32) of blocks (int32, at least 0) of requests of these lengths.

        Raises OverflowError for more than 2**31 - 1 distinct prefixes.
        """
        *_, fold = _compiled()
        numbers = np.empty(len(blocks), np.int32)
        request = start = 0
        while request < len(lengths):
            request, start, self.distinct = fold(
                blocks, lengths, numbers, request, start, self._keys, self._slots, self.distinct
            )
            if request < len(lengths):
                if self.distinct + int(lengths[request]) > _MOST_DISTINCT:
                    raise OverflowError(f"more than {_MOST_DISTINCT} distinct prefixes")
                self._grow(int(lengths[request]))
        return numbers

    def _grow(self, room: int) -> None:
        number, *_ = _compiled()
        size = 2 * len(self._slots)
        while size // 4 * 3 < self.distinct + room:
            size *= 2
        known, (self._keys, self._slots) = self._keys, _table(size)
        number(known[: self.distinct], np.empty(self.distinct, np.int32), 0, self._keys, self._slots, 0)


def _table(size: int) -> tuple[_Array, _Array]:
    """Return an empty hash table: ids by number, and `size` (a power of 2) slots of number + 1, or 0 for none."""
    return np.empty(min(size // 4 * 3, _MOST_DISTINCT), np.int64), np.zeros(size, np.int32)


def ids_and_lengths(chunk: Any) -> tuple[_Array, _Array]:
    """Return the ids of all requests of a chunk (int64), and how many each has (int64).

    Raises TypeError for anything but lists of int64, and ValueError for a null inside a list.
    """
    kind = getattr(chunk, "type", None)
    if not isinstance(kind, pa.ListType | pa.LargeListType) or kind.value_type != pa.int64():
        raise TypeError(f"expected arrays of list<int64> or large_list<int64>, got {kind or type(chunk).__name__}")
    ids = chunk.flatten()  # skips values under a null list or outside a slice
    if ids.null_count:
        raise ValueError("a list of block ids holds a null")
    return to_integers(ids), to_integers(pc.list_value_length(chunk)).astype(np.int64)


def _hits(trace: list[Chunk], distinct: int, capacities: list[int], leaves: bool) -> list[int]:
    """Return the weight of the hits for each capacity (in blocks, above 0, ascending) and, last, without a limit."""
    _, replay, _ = _compiled()
    unseen = len(capacities) + 1
    zones = np.full(distinct, unseen, np.min_scalar_type(unseen))
    # A ring through `distinct`, which is not a block; both links of a block share a cache line.
    newer, older = np.full((distinct + 1, 2), distinct, np.int32).T
    limits = np.array(capacities, np.int64)
    last = np.empty(len(capacities), np.int64)
    counts = np.zeros(unseen, np.int64)
    stacked = 0
    for chunk in trace:
        stacked = replay(*chunk, leaves, limits, zones, newer, older, last, counts, stacked)
    return [int(count) for count in counts.cumsum()]


@cache
def _compiled() -> tuple[Callable[..., Any], ...]:
    return compiled(_number, _replay, _fold, purpose="computing hit ratios")


def _number(ids: _Array, blocks: _Array, start: int, keys: _Array, slots: _Array, distinct: int) -> tuple[int, int]:
    """Set blocks[start:] to the numbers of ids[start:] until `keys` is full.

    Returns where it stopped, and the number of distinct blocks by then.
    """
    mask = len(slots) - 1
    for at in range(start, len(ids)):
        key = ids[at]
        scrambled = (key ^ (key >> 32)) * _SCRAMBLE
        slot = (scrambled ^ (scrambled >> 32)) & mask
        while slots[slot] and keys[slots[slot] - 1] != key:
            slot = (slot + 1) & mask
        if not slots[slot]:
            if distinct == len(keys):
                return at, distinct
            keys[distinct] = key
            distinct += 1
            slots[slot] = distinct
        blocks[at] = slots[slot] - 1
    return len(ids), distinct


def _fold(
    blocks: _Array,
    lengths: _Array,
    numbers: _Array,
    request: int,
    start: int,
    keys: _Array,
    slots: _Array,
    distinct: int,
) -> tuple[int, int, int]:
    """Set numbers[start:] to the numbers of the prefixes that end at blocks[start:], from that request on.

    Returns the request for which `keys` may not have room and its start, and the number of distinct prefixes by then.
    """
    mask = len(slots) - 1
    while request < len(lengths) and distinct + lengths[request] <= len(keys):
        parent = np.int64(-1)
        for at in range(start, start + lengths[request]):
            key = (parent + 1) << 32 | np.int64(blocks[at])
            scrambled = (key ^ (key >> 32)) * _SCRAMBLE
            slot = (scrambled ^ (scrambled >> 32)) & mask
            while slots[slot] and keys[slots[slot] - 1] != key:
                slot = (slot + 1) & mask
            if not slots[slot]:
                keys[distinct] = key
                distinct += 1
                slots[slot] = distinct
            parent = np.int64(slots[slot] - 1)
            numbers[at] = parent
        start += lengths[request]
        request += 1
    return request, start, distinct


def _replay(
    blocks: _Array,
    lengths: _Array,
    weights: _Array,
    weights_of_last: _Array,
    leaves: bool,
    capacities: _Array,
    zones: _Array,
    newer: _Array,
    older: _Array,
    last: _Array,
    counts: _Array,
    stacked: int,
) -> int:
    """Replay requests on the LRU stack and count their hits; return how many blocks are on the stack by then.

    The stack is the ring of `newer` and `older`, entered at its last index. A block's zone is the index of the smallest
    capacity that holds it, len(capacities) if only an unlimited cache does, and one more if it was never seen. `last`
    is the last block of each zone that the stack fills. `counts` adds the weights of hits by the zone that decides
    them: the outermost zone of the block and those in front of it. `leaves` touches blocks from back to front.
    """
    ring = len(zones)
    unseen = len(capacities) + 1
    reached = 0  # capacities that the stack fills
    while reached < len(capacities) and capacities[reached] <= stacked:
        reached += 1
    start = 0
    for request in range(len(lengths)):
        end = start + lengths[request]

        outermost = 0
        for at in range(start, end):
            outermost = max(outermost, zones[blocks[at]])
            if outermost == unseen:
                break
            counts[outermost] += weights[request] if at < end - 1 else weights_of_last[request]

        for step in range(start, end):
            at = start + end - 1 - step if leaves else step
            block = blocks[at]
            zone = zones[block]
            if older[ring] == block:  # already on top
                continue
            if zone == unseen:
                stacked += 1
            else:
                above, below = newer[block], older[block]
                older[above], newer[below] = below, above
                if zone < reached and last[zone] == block:
                    last[zone] = above
            top = older[ring]
            newer[block], older[block] = ring, top
            newer[top] = older[ring] = block
            zones[block] = 0
            # Everything above the block moved down one place, so each zone that the block passed drops its last one.
            for inner in range(min(zone, reached)):
                dropped = last[inner]
                zones[dropped] = inner + 1
                last[inner] = newer[dropped]
            if reached < len(capacities) and stacked == capacities[reached]:
                last[reached] = newer[ring]
                reached += 1
        start = end
    return stacked
