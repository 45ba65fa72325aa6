"""Prefix blocks in the size that a tool wants: kept, split, or put together, and never shared more than before.

Ids say which leading blocks two prompts share. Split into k parts, a block's id becomes k ids, shared as it was. k
blocks put together have the id of all blocks up to their end: two prompts share it if they share all of them. What no
id covers, such as the last block where only whole ones have one, gets ids that no other request has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..columns.splitmix import GAMMA, mix

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Regrouping:
    """From blocks of `own` tokens to blocks of `size`.

    own       tokens of a block in the table; None if there are no ids
    largest   the largest id in the table; -1 if there are none
    one_size  whether an id must stand for the same number of tokens everywhere
    is_tree   whether an id must always follow the same ids
    """

    own: int | None
    largest: int
    size: int
    one_size: bool = False
    is_tree: bool = False

    @property
    def per_group(self) -> int:
        """How many blocks of the table are put together."""
        return max(1, self.size // self.own) if self.own else 1

    @property
    def parts(self) -> int:
        """Into how many a block of the table is split."""
        return max(1, self.own // self.size) if self.own else 1

    @property
    def folds(self) -> bool:
        """Whether ids of blocks must become ids of prefixes, by `Folding`."""
        return self.own is not None and (self.per_group > 1 or self.is_tree)

    @property
    def has_sizes(self) -> bool:
        """Whether a partial block gets another id than a whole one."""
        return self.own is not None and (self.one_size or self.folds)

    @property
    def free(self) -> int:
        """The first number that is no id yet, before blocks are put together."""
        used = (self.largest + 1) * self.parts
        return used + (used * self.base + self.base if self.has_sizes else 0)

    @property
    def base(self) -> int:
        """Tokens of a block before blocks are put together."""
        return self.size // self.per_group

    @property
    def needed(self) -> str:
        """SQL: how many ids a prompt has in all."""
        return f"((input_tokens + {self.base - 1}) // {self.base})"

    @property
    def known(self) -> str:
        """SQL: the ids there are, split if need be."""
        if self.own is None:
            return "CAST([] AS BIGINT[])"
        ids = "coalesce(hash_ids, [])"
        if self.parts > 1:
            split = f"lambda id: list_transform(range({self.parts}), lambda part: id * {self.parts} + part)"
            ids = f"flatten(list_transform({ids}, {split}))"
        return f"{ids}[1:{self.needed}]"

    def complete(self, sql: str) -> str:
        """Return a SELECT that adds `ids` to the rows of another one: as many as each prompt needs.

        The ids that no other request has are numbered in the order of the rows.
        """
        short = f"SELECT *, {self.known} AS known, {self.needed} - len(known) AS short FROM ({sql})"
        ids = "known"
        if self.has_sizes:  # a partial block is another one than a whole one of the same id
            last = f"{(self.largest + 1) * self.parts} + known[-1] * {self.base} + input_tokens % {self.base}"
            is_partial = f"short = 0 AND input_tokens % {self.base} <> 0"
            ids = f"CASE WHEN {is_partial} THEN list_append(known[1:len(known) - 1], {last}) ELSE known END"
        before = "sum(short) OVER (ROWS UNBOUNDED PRECEDING) - short"
        new = f"range(CAST({self.free} + before AS BIGINT), CAST({self.free} + before + short AS BIGINT))"
        return (
            f"SELECT * EXCLUDE (known, short, before),"
            f" CASE WHEN short = 0 THEN {ids} ELSE list_concat(known, {new}) END AS ids"
            f" FROM (SELECT *, {before} AS before FROM ({short}))"
        )


class Folding:
    """Makes ids that stand for all blocks up to the end of a group; the last group of a prompt may be smaller.

    Groups of several blocks are numbered as they appear; single blocks, of which there may be many more, have 61 bits
    of a hash.
    """

    def __init__(self, per_group: int) -> None:
        self._per_group = per_group
        self._numbers: dict[int, int] = {}

    def __call__(self, lists: pa.Array) -> pa.Array:
        """Return the lists of the next rows."""
        import pyarrow as pa

        lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.uint64)
        starts = np.cumsum(lengths) - lengths
        place = (np.arange(len(values)) - np.repeat(starts, lengths)).astype(np.uint64)
        # A prefix is the sum of its blocks, each scrambled together with its place.
        scrambled = mix(mix(values + GAMMA) + (place + np.uint64(1)) * GAMMA)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(scrambled, dtype=np.uint64)])
        groups = -(-lengths // self._per_group)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(groups)])
        nth = np.arange(offsets[-1]) - np.repeat(offsets[:-1], groups) + 1
        ends = np.repeat(starts, groups) + np.minimum(nth * self._per_group, np.repeat(lengths, groups))
        ids = (mix(sums[ends] - np.repeat(sums[starts], groups) + GAMMA) >> np.uint64(3)).astype(np.int64)
        if self._per_group > 1:
            number: Callable[[int, int], Any] = self._numbers.setdefault
            ids = np.array([number(each, len(self._numbers)) for each in ids.tolist()], np.int64)
        return pa.LargeListArray.from_arrays(offsets, pa.array(ids))
