"""The transforms that restore: each reads upstream values into our columns, and spells them as the upstream did.

`read` takes the upstream's values (text, or JSON's own numbers and lists) and gives our Arrow arrays; `spell` is its
inverse and gives text. Both work on whole columns.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.recipe import Rule
from .spelling import BadValue, Spelling, Spellings, spell_number

Columns = dict[str, pa.Array]
MICRO = 1_000_000


@dataclass
class Transform:
    """One rule at work on one upstream file. `read` may be called for many batches, in order."""

    rule: Rule
    type: pa.DataType

    def __post_init__(self) -> None:
        self.spellings = Spellings()

    @property
    def spelling(self) -> Spelling | None:
        """What must be remembered to spell the values again; None if nothing."""
        return self.spellings.best if self.spellings.left else None

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        """Our columns from the upstream's values; `more` are those of the rule's other sources. Raises BadValue."""
        raise NotImplementedError

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        """Text of the upstream's values from our columns."""
        raise NotImplementedError

    def follow(self, before: Any) -> None:
        """Go on after the workload's file before, which the column's transform `before` has read."""

    def _known(self, values: pa.Array) -> pa.Array:
        """The values with empty text as null where the recipe allows it; refuses nulls where it does not."""
        if self.rule.empty == "null":
            return pc.if_else(pc.equal(values, ""), None, values) if pa.types.is_string(values.type) else values
        if values.null_count:
            raise BadValue(pc.index(values.is_null(), True).as_py(), "a value", "none")
        return values

    def _empty(self, text: pa.Array) -> pa.Array:
        return pc.fill_null(text, "") if self.rule.empty == "null" else text


class Text(Transform):
    """A text, less the constant prefix the upstream puts before it."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        text = self._known(values)
        if self.rule.prefix:
            bad = pc.fill_null(pc.invert(pc.starts_with(text, self.rule.prefix)), False)
            if (index := pc.index(bad, True).as_py()) >= 0:
                raise BadValue(index, f"a text that starts with {self.rule.prefix!r}", repr(text[index].as_py()))
            text = pc.utf8_slice_codeunits(text, len(self.rule.prefix))
        return {self.rule.column: pc.dictionary_encode(text) if pa.types.is_dictionary(self.type) else text}

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        text = columns[self.rule.column]
        if pa.types.is_dictionary(text.type):
            text = text.dictionary_decode()
        return self._empty(pc.binary_join_element_wise(self.rule.prefix, text, "") if self.rule.prefix else text)


class Number(Transform):
    """A number; or a time in the upstream's unit, which becomes whole microseconds."""

    @property
    def decimals(self) -> int:
        """Decimals of the upstream's unit that our integer holds."""
        return {"s": 6, "ms": 3, "us": 0, None: 0}[self.rule.unit]

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        values = self._known(values)
        text = values if pa.types.is_string(values.type) else None
        numbers = _cast(values, pa.float64()) if pa.types.is_floating(self.type) else scaled(values, self.decimals)
        if pa.types.is_floating(numbers.type):
            bad = pc.fill_null(pc.invert(pc.is_finite(numbers)), False)
            if (index := pc.index(bad, True).as_py()) >= 0:
                raise BadValue(index, "a number", str(values[index].as_py()))
        if text is not None:
            self.spellings.narrow(text, numbers, self.decimals)
        return {self.rule.column: pc.add(numbers, self._shift) if self._shift else numbers}

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        values = columns[self.rule.column]
        if not pa.types.is_floating(values.type):
            values = pc.subtract(pc.cast(values, pa.int64()), self._shift)
        return self._empty(spell_number(values, spelling or "fixed:0", self.decimals))

    @property
    def _shift(self) -> int:
        return 0 if self.rule.first is None else 1 - self.rule.first


def _cast(values: pa.Array, target: pa.DataType) -> pa.Array:
    what = "a whole number" if pa.types.is_integer(target) else "a number"
    try:
        # Arrow reads "0x1F"; no upstream means it.
        if pa.types.is_string(values.type):
            bad = pc.fill_null(pc.match_substring_regex(values, r"[^0-9.+eE-]"), False)
            if (index := pc.index(bad, True).as_py()) >= 0:
                raise BadValue(index, what, repr(values[index].as_py()))
        return pc.cast(values, target)
    except pa.ArrowInvalid:
        index = _first_failure(values, target)
        raise BadValue(index, what, repr(values[index].as_py())) from None


def scaled(values: pa.Array, decimals: int) -> pa.Array:
    """Whole numbers of 10**-decimals, from text or numbers; refuses digits that would be lost."""
    if pa.types.is_integer(values.type):
        return pc.multiply_checked(values, pa.scalar(10**decimals, pa.int64())) if decimals else values
    if pa.types.is_floating(values.type):
        return _cast(pc.round(pc.multiply(values, 10.0**decimals)), pa.int64())
    if decimals == 0:
        try:
            return _cast(values, pa.int64())
        except BadValue as bad:
            if not re.fullmatch(r"'-?\d+\.0*'", bad.got):  # "472.0" is a whole number all the same
                raise
    exact = _cast(values, pa.decimal128(30, decimals))
    scaled = pc.multiply(exact, pa.scalar(Decimal(10**decimals), pa.decimal128(7, 0))) if decimals else exact
    return _cast_decimal(scaled, values)


def _cast_decimal(scaled: pa.Array, values: pa.Array) -> pa.Array:
    try:
        return pc.cast(scaled, pa.int64())
    except pa.ArrowInvalid:
        index = _first_failure(scaled, pa.int64())
        raise BadValue(index, "a number within 64 bits", repr(values[index].as_py())) from None


def _first_failure(values: pa.Array, target: pa.DataType) -> int:
    """Index of the first value whose cast fails, by halving: only reached when a cast failed."""
    start, end = 0, len(values)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            pc.cast(values.slice(start, middle - start), target)
            start = middle
        except pa.ArrowInvalid:
            end = middle
    return start


class DateTime(Transform):
    """A date and time of a fixed spelling, which becomes microseconds since the epoch and a rest of 100 ns.

    Reading is strict because it is checked by writing: a value that does not come back as it was is refused.
    """

    epoch: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        text = self._known(values)
        pattern = self.rule.datetime or ""
        shape = re.escape(pattern.partition("[")[0])
        regex = "^" + re.sub(r"[YMDhmsf]", "[0-9]", shape)
        if "[" in pattern:
            fraction, _, ending = pattern.partition("[")[2].partition("]")
            regex += "(" + re.sub("f", "[0-9]", re.escape(fraction)) + ")?" + re.escape(ending)
        bad = pc.fill_null(pc.invert(pc.match_substring_regex(text, regex + "$")), False)
        if (index := pc.index(bad, True).as_py()) >= 0:
            raise BadValue(index, f"a time like {pattern}", repr(text[index].as_py()))
        plain = pc.replace_substring(pc.utf8_slice_codeunits(text, 0, 26), "/", "-")
        plain = pc.replace_substring_regex(plain, r"(\+.*|Z)$", "")
        try:
            stamp = pc.cast(plain, pa.timestamp("us"))
        except pa.ArrowInvalid:
            index = _first_failure(plain, pa.timestamp("us"))
            raise BadValue(index, "a date and time that exist", repr(text[index].as_py())) from None
        since = pc.subtract(pc.cast(stamp, pa.int64()), pa.scalar(self._epoch_us, pa.int64()))
        columns = {self.rule.column: since}
        if self.rule.rest:
            columns[self.rule.rest] = pc.cast(pc.utf8_slice_codeunits(text, 26, 27), pa.int8())
        again = self.spell(columns, None)
        if not again.equals(text):
            index = pc.index(pc.fill_null(pc.not_equal(again, text), False), True).as_py()
            raise BadValue(index, again[index].as_py(), repr(text[index].as_py()))
        return columns

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        pattern = self.rule.datetime or ""
        stamp = pc.add(columns[self.rule.column], pa.scalar(self._epoch_us, pa.int64()))
        text = pc.cast(pc.cast(stamp, pa.timestamp("us")), pa.string())  # YYYY-MM-DD hh:mm:ss.ffffff
        if pattern[4] != "-":
            text = pc.replace_substring(text, "-", pattern[4])
        if pattern[10] != " ":
            text = pc.replace_substring(text, " ", pattern[10])
        digits, ending = pattern.count("f"), pattern[pattern.rindex("f") + 1 :].lstrip("]")
        if digits < 6:
            text = pc.utf8_slice_codeunits(text, 0, 20 + digits)
        if "[" in pattern:
            text = pc.replace_substring_regex(text, r"\.0+$", "")
        if self.rule.rest:
            text = pc.binary_join_element_wise(text, pc.cast(columns[self.rule.rest], pa.string()), "")
        return self._empty(pc.binary_join_element_wise(text, ending, "") if ending else text)

    @property
    def _epoch_us(self) -> int:
        return int(self.epoch.timestamp()) * MICRO


class Ids(Transform):
    """A list of whole numbers, as JSON has it."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        values = self._known(values)
        if values.flatten().null_count:
            index = next(n for n, ids in enumerate(values.to_pylist()) if ids and None in ids)
            raise BadValue(index, "whole numbers", "null in the list")
        return {self.rule.column: values}

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        values = columns[self.rule.column]
        text = pa.ListArray.from_arrays(
            pc.subtract(values.offsets, values.offsets[0]), pc.cast(values.flatten(), pa.string()), mask=_mask(values)
        )
        return pc.binary_join_element_wise("[", pc.binary_join(text, ", "), "]", "")


class Texts(Transform):
    """A list of texts, as JSON has it."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: self._known(values)}

    def spell(self, columns: Columns, spelling: Spelling | None) -> pa.Array:
        lists = columns[self.rule.column].to_pylist()
        return pa.array([None if texts is None else json.dumps(texts) for texts in lists], pa.string())


def _mask(values: pa.Array) -> pa.Array | None:
    return values.is_null() if values.null_count else None
