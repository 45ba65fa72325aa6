"""The derived columns: what is computed from upstream fields, and not needed to write these back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.recipe import Rule
from .spelling import BadValue
from .transforms import Columns, Transform, scaled


class IsZero(Transform):
    """Derived: whether the number is zero."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: pc.equal(scaled(self._known(values), 0), 0)}


class Segment(Transform):
    """Derived: how often the clock has been reset, that is, how often a value was smaller than the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.last: pa.Scalar | None = None
        self.count = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        numbers = scaled(self._known(values), 6)
        if len(numbers) == 0:
            return {self.rule.column: pa.array([], self.type)}
        before = pa.concat_arrays([pa.array([self.last or numbers[0]], numbers.type), numbers[:-1]])
        resets = pc.cumulative_sum(pc.cast(pc.less(numbers, before), pa.int32()))
        segment = pc.add(resets, pa.scalar(self.count, pa.int32()))
        self.last, self.count = numbers[-1], segment[-1].as_py()
        return {self.rule.column: segment}

    def follow(self, before: Segment) -> None:
        self.last, self.count = before.last, before.count


class Turn(Transform):
    """Derived: which of the rows of its value each row is, in their order, from 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.turns: Counter[str] = Counter()

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        turns = []
        for value in self._known(values).to_pylist():
            self.turns[value] += 1
            turns.append(self.turns[value])
        return {self.rule.column: pa.array(turns, self.type)}


class ChainRoot(Transform):
    """Derived: the id of the root of each request's chain of parents, as text; a parent of -1 is none.

    A parent that has not come before stands for the root: the chain began outside the file.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ids = self.parents = self.roots = np.array([], np.int64)

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        ids = scaled(self._known(values), 0).to_numpy()
        parents = scaled(self._known(more[0]), 0).to_numpy()
        self.ids = np.concatenate([self.ids, ids])
        self.parents = np.concatenate([self.parents, parents])
        self.roots = np.concatenate([self.roots, np.where(parents == -1, ids, parents)])
        order = np.argsort(self.ids, kind="stable")
        ordered = self.ids[order]
        for _ in range(64):  # each round doubles the steps taken: 2**64 ends any chain
            at = order[np.minimum(np.searchsorted(ordered, self.roots), len(ordered) - 1)]
            known = self.ids[at] == self.roots
            further = np.where(known, self.roots[at], self.roots)
            if np.array_equal(further, self.roots):
                break
            self.roots = further
        endless = known & (self.parents[at] != -1)
        if endless.any():
            chat = self.ids[np.argmax(endless)]
            raise BadValue(len(ids) - 1, "parents that lead to a root", f"a circle of parents at {chat}")
        return {self.rule.column: pc.cast(pa.array(self.roots[len(self.roots) - len(ids) :]), pa.string())}


class Apart(Transform):
    """Derived: the number, raised above all those of the files before, so that none stands for two things."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.raised = self.next = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        numbers = scaled(self._known(values), 0)
        if (index := pc.index(pc.less(numbers, 0), True).as_py()) >= 0:
            raise BadValue(index, "0 or more", str(values[index].as_py()))
        numbers = pc.add(numbers, self.raised)
        self.next = max(self.next, 1 + (pc.max(numbers).as_py() or 0))
        return {self.rule.column: pc.cast(numbers, self.type)}

    def follow(self, before: Apart) -> None:
        self.raised = self.next = before.next


class BlockIds(Transform):
    """Derived: ids of the leading blocks of a prompt's tokens, as `blocks` defines them; they go on over all files."""

    def __init__(self, rule: Rule, kind: pa.DataType, block_tokens: int) -> None:
        from . import blocks  # numba is slow to import

        super().__init__(rule, kind)
        self.ids = blocks.BlockIds(block_tokens)

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: self.ids(self._known(values))}

    def follow(self, before: BlockIds) -> None:
        self.ids = before.ids


DERIVED: dict[str, type[Transform]] = {
    "is_zero": IsZero,
    "segment": Segment,
    "apart": Apart,
    "chain_root": ChainRoot,
    "turn": Turn,
}
