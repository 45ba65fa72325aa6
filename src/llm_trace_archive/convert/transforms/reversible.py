"""The transforms that keep everything: each reads a field into our column, and writes the field again from it.

What JSON has as numbers and lists comes as such; everything else comes as text. All work on whole columns.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...columns.arrays import from_integers, to_integers
from ..compiled import NO_DATE, read_dates, write_dates, write_lists
from .base import BadValue, Columns, Transform, check
from .numbers import Spellings, parse, parse_scaled, spell

MICRO = 1_000_000


class Text(Transform):
    """Text, without the constant prefix that the upstream puts before it; or true and false."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        text = self._present(values)
        if self.rule.prefix:
            bad = pc.invert(pc.starts_with(text, self.rule.prefix))
            check(text, bad, f"text that starts with {self.rule.prefix!r}")
            text = pc.utf8_slice_codeunits(text, len(self.rule.prefix))
        return {self.rule.column: pc.dictionary_encode(text) if pa.types.is_dictionary(self.type) else text}

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        text = columns[self.rule.column]
        if pa.types.is_dictionary(text.type):
            text = text.dictionary_decode()
        elif pa.types.is_boolean(text.type):
            text = pc.if_else(text, "true", "false")
        return self._restore_empty(
            pc.binary_join_element_wise(self.rule.prefix, text, "") if self.rule.prefix else text
        )


class Number(Transform):
    """A number, or a time in the upstream's unit, which becomes whole microseconds."""

    def __post_init__(self) -> None:
        self._spellings = Spellings()
        # Decimals of the upstream's unit that our integer holds.
        self._decimals = {"s": 6, "ms": 3, "us": 0, None: 0}[self.rule.unit]
        self._shift = 0 if self.rule.first is None else 1 - self.rule.first

    @property
    def spelling(self) -> str | None:
        return self._spellings.left[0] if self._spellings.left else None

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        values = self._present(values)
        is_float = pa.types.is_floating(self.type)
        is_text = pa.types.is_string(values.type)
        numbers = self._spellings.read(values, self._decimals) if is_text and not is_float else None
        if numbers is None:
            numbers = parse(values, pa.float64()) if is_float else parse_scaled(values, self._decimals)
            if is_float:
                check(values, pc.invert(pc.is_finite(numbers)), "a number")
            if is_text:
                self._spellings.narrow(values, numbers, self._decimals)
        return {self.rule.column: pc.add(numbers, self._shift) if self._shift else numbers}

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        values = columns[self.rule.column]
        if not pa.types.is_floating(values.type):
            values = pc.subtract(pc.cast(values, pa.int64()), self._shift)
        return self._restore_empty(spell(values, spelling or "fixed:0", self._decimals))


class DateTime(Transform):
    """A date and time, which becomes microseconds since the epoch and a rest of 100 ns.

    The recipe's format is how the values are restored. One that is written otherwise, such as with fewer decimals, is
    read all the same: the proof decides whether it can be restored.
    """

    def __post_init__(self) -> None:
        epoch = self.properties.get("epoch") or "1970-01-01"
        self._epoch_us = int(datetime.fromisoformat(epoch).replace(tzinfo=UTC).timestamp()) * MICRO

        pattern = self.rule.datetime or ""
        self._digits = pattern.count("f")
        self._ending = pattern[pattern.rindex("f") + 1 :].lstrip("]").encode()

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        text = self._present(values)
        micros, rests, bad, why = read_dates(text, self._digits, self._ending, self._epoch_us)
        if bad >= 0:
            expected = "a valid date and time" if why == NO_DATE else f"a time like {self.rule.datetime}"
            raise BadValue(bad, expected, repr(values[bad].as_py()))
        columns = {self.rule.column: from_integers(micros, text)}
        return columns | ({self.rule.rest: from_integers(rests, text)} if self.rule.rest else {})

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        pattern = self.rule.datetime or ""
        rest = columns[self.rule.rest] if self.rule.rest else None
        marks = (pattern[4] + pattern[10]).encode()
        text = write_dates(
            columns[self.rule.column], rest, self._epoch_us, marks, min(self._digits, 6), "[" in pattern, self._ending
        )
        return self._restore_empty(text)


class Ids(Transform):
    """A JSON list of integers; with an offset column, raised above all ids of earlier files."""

    def __post_init__(self) -> None:
        self.offset = self.next = 0

    def follow(self, previous: Ids) -> None:
        if self.rule.offset:
            self.offset = self.next = previous.next

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        values = self._present(values)
        if values.flatten().null_count:
            index = next(n for n, ids in enumerate(values.to_pylist()) if ids and None in ids)
            raise BadValue(index, "integers", "null in the list")
        if not self.rule.offset:
            return {self.rule.column: values}
        ids = pc.add_checked(values.flatten(), self.offset)
        self.next = max(self.next, 1 + (pc.max(ids).as_py() or 0))
        offsets = pc.subtract(values.offsets, values.offsets[0])
        raised = pa.ListArray.from_arrays(offsets, ids, mask=values.is_null() if values.null_count else None)
        return {self.rule.column: raised, self.rule.offset: pa.repeat(pa.scalar(self.offset), len(values))}

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        values = columns[self.rule.column]
        ids = to_integers(values.flatten())
        if self.rule.offset:
            lengths = to_integers(pc.list_value_length(values))
            ids = ids - np.repeat(to_integers(columns[self.rule.offset]), lengths)
        return write_lists(values, ids)


class Texts(Transform):
    """A JSON list of strings."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: self._present(values)}

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        lists = columns[self.rule.column].to_pylist()
        return pa.array([None if texts is None else json.dumps(texts) for texts in lists], pa.string())
