"""The transforms that derive a column: the upstream can be restored without it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import block_ids
from .base import BadValue, Columns, Transform, check
from .numbers import parse_scaled


class IsZero(Transform):
    """Whether the number is zero."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: pc.equal(parse_scaled(self._present(values), 0), 0)}


class Segment(Transform):
    """The number of clock resets so far: how often a value was smaller than the one before."""

    def __post_init__(self) -> None:
        self.last: pa.Scalar | None = None
        self.count = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        numbers = parse_scaled(self._present(values), 6)
        if len(numbers) == 0:
            return {self.rule.column: pa.array([], self.type)}
        before = pa.concat_arrays([pa.array([self.last or numbers[0]], numbers.type), numbers[:-1]])
        resets = pc.cumulative_sum(pc.cast(pc.less(numbers, before), pa.int32()))
        segment = pc.add(resets, pa.scalar(self.count, pa.int32()))
        self.last, self.count = numbers[-1], segment[-1].as_py()
        return {self.rule.column: segment}

    def follow(self, previous: Segment) -> None:
        self.last, self.count = previous.last, previous.count


class FileNumber(Transform):
    """The number of the row's file, or of its member of an archive, from 0."""

    def __post_init__(self) -> None:
        self.number = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: pa.repeat(pa.scalar(self.number, self.type), len(values))}

    def follow(self, previous: FileNumber) -> None:
        self.number = previous.number + 1


class Turn(Transform):
    """The row's place among the rows with its value, from 1."""

    def __post_init__(self) -> None:
        self.turns: Counter[str] = Counter()

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        turns = []
        for value in self._present(values).to_pylist():
            self.turns[value] += 1
            turns.append(self.turns[value])
        return {self.rule.column: pa.array(turns, self.type)}


class ChainRoot(Transform):
    """The id, as text, of the root of each request's chain of parents; -1 means no parent.

    A parent that did not come before is itself the root: the chain began outside the file.
    """

    def __post_init__(self) -> None:
        self.ids = self.parents = self.roots = np.array([], np.int64)

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        ids = parse_scaled(self._present(values), 0).to_numpy()
        parents = parse_scaled(self._present(more[0]), 0).to_numpy()
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


class UniqueAcrossFiles(Transform):
    """The number, raised above all numbers of earlier files, so that no number means two things."""

    def __post_init__(self) -> None:
        self.offset = self.next = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        numbers = parse_scaled(self._present(values), 0)
        check(values, pc.less(numbers, 0), "at least 0")
        numbers = pc.add(numbers, self.offset)
        self.next = max(self.next, 1 + (pc.max(numbers).as_py() or 0))
        return {self.rule.column: pc.cast(numbers, self.type)}

    def follow(self, previous: UniqueAcrossFiles) -> None:
        self.offset = self.next = previous.next


class BlockIds(Transform):
    """Ids of the leading blocks of a prompt's tokens, numbered over all files of the workload."""

    def __post_init__(self) -> None:
        self.number = block_ids.BlockNumbering(self.properties["block_tokens"])

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: self.number(self._present(values))}

    def follow(self, previous: BlockIds) -> None:
        self.number = previous.number


class LastInput(Transform):
    """When the last input among the events of a row arrived, in microseconds since the epoch; null without any.

    Given the JSON of the events, each with event_type and timestamp: a request is sent once it has all its inputs.
    """

    def __post_init__(self) -> None:
        self.epoch = datetime.fromisoformat(self.properties.get("epoch") or "1970-01-01").replace(tzinfo=UTC)

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        times = []
        for index, text in enumerate(values.to_pylist()):
            try:
                inputs = [each["timestamp"] for each in json.loads(text or "[]") if each["event_type"] in _INPUTS]
                moments = [datetime.fromisoformat(each) for each in inputs]
                times.append(max((each - self.epoch) // _MICRO for each in moments) if moments else None)
            except (ValueError, TypeError, LookupError):
                expected = "events with event_type and timestamp, a date and time in UTC"
                raise BadValue(index, expected, text[:80]) from None
        return {self.rule.column: pa.array(times, pa.int64())}


_INPUTS = ("user_message", "tool_result")
_MICRO = timedelta(microseconds=1)
DERIVED: dict[str, type[Transform]] = {
    "is_zero": IsZero,
    "file_number": FileNumber,
    "segment": Segment,
    "unique_across_files": UniqueAcrossFiles,
    "block_ids": BlockIds,
    "chain_root": ChainRoot,
    "turn": Turn,
    "last_input": LastInput,
}
