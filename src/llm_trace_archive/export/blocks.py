"""Prefix blocks in the size that a tool wants: kept, split, or put together, and never shared more than before.

Ids say which leading blocks two prompts share. Split into k parts, a block's id becomes k ids, shared as it was. k
blocks put together have the id of all blocks up to their end: two prompts share it if they share all of them. What no
id covers, such as the last block where only whole ones have one, gets ids that no other request has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..columns.splitmix import GAMMA, mix

if TYPE_CHECKING:
    import pyarrow as pa

# Upstream ids are below the first; ids of partial blocks and ids that no other request has are in ranges of their own.
PARTIAL, UNIQUE = 1 << 61, 1 << 62
MOST_BLOCKS = 1 << 20  # of a request


@dataclass(frozen=True)
class Regrouping:
    """From blocks of `own` tokens to blocks of `size`; `own` is None if the requests have no ids.

    one_size, is_tree  see `dialect.Blocks`
    """

    own: int | None
    size: int
    one_size: bool
    is_tree: bool

    @property
    def per_group(self) -> int:
        """How many blocks are put together."""
        return max(1, self.size // self.own) if self.own else 1

    @property
    def folds(self) -> bool:
        """Whether ids of blocks must become ids of prefixes, which `fold` does."""
        return self.own is not None and (self.per_group > 1 or self.is_tree)

    @property
    def known(self) -> str:
        """SQL: the ids there are, split if need be; those of the last blocks only if they make whole ones."""
        if self.own is None:
            return "CAST([] AS BIGINT[])"
        ids = "coalesce(hash_ids, [])"
        if self.per_group > 1:
            whole = f"len(hash_ids) // {self.per_group} * {self.per_group}"
            every = self.known_if_complete
            return f"{ids}[1:CASE WHEN len(hash_ids) >= {every} THEN {every} ELSE {whole} END]"
        if parts := self.own // self.size - 1:
            split = f"lambda id: list_transform(range({parts + 1}), lambda part: id * {parts + 1} + part)"
            ids = f"flatten(list_transform({ids}, {split}))"
        return f"{ids}[1:{self.needed}]"

    @property
    def known_if_complete(self) -> str:
        """SQL: how many ids `known` has if they cover the whole prompt."""
        if self.own is None or self.per_group == 1:
            return self.needed
        return f"((input_tokens + {self.own - 1}) // {self.own})"

    @property
    def needed(self) -> str:
        """SQL: how many ids a request must have."""
        return f"((input_tokens + {self.size - 1}) // {self.size})"

    @property
    def complete(self) -> str:
        """SQL over `known`: as many ids as the tool wants."""
        ids = "known"
        if self.one_size and self.own is not None:
            prefix = f"concat(CAST(known AS VARCHAR), ':', input_tokens % {self.size})"
            digest = f"CAST(md5_number_lower({prefix}) >> 3 AS BIGINT)"
            ids = (
                f"CASE WHEN len(known) = {self.needed} AND input_tokens % {self.size} <> 0"
                f" THEN list_append(known[1:len(known) - 1], {PARTIAL} + {digest}) ELSE known END"
            )
        first = UNIQUE if self.own is not None else 0
        more = f"range({self.needed} - len(known))"
        unique = f"list_transform({more}, lambda n: {first} + request_id * {MOST_BLOCKS} + n)"
        return f"CASE WHEN len(known) < {self.needed} THEN list_concat({ids}, {unique}) ELSE {ids} END"


def fold(lists: pa.Array, per_group: int) -> pa.Array:
    """Return lists whose ids stand for all blocks up to the end of a group of so many, the last one maybe smaller."""
    import pyarrow as pa

    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    place = (np.arange(len(values)) - np.repeat(starts, lengths)).astype(np.uint64)
    # A prefix is the sum of its blocks, each scrambled together with its place.
    scrambled = mix(mix(values + GAMMA) + (place + np.uint64(1)) * GAMMA)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(scrambled, dtype=np.uint64)])
    groups = -(-lengths // per_group)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(groups)])
    nth = np.arange(offsets[-1]) - np.repeat(offsets[:-1], groups) + 1
    ends = np.repeat(starts, groups) + np.minimum(nth * per_group, np.repeat(lengths, groups))
    prefixes = sums[ends] - np.repeat(sums[starts], groups)
    ids = (mix(prefixes + GAMMA) >> np.uint64(3)).astype(np.int64)
    return pa.LargeListArray.from_arrays(offsets, pa.array(ids))
