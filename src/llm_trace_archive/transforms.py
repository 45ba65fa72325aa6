"""The named transforms: each reads upstream values into our columns, and spells them as the upstream did.

`read` takes the upstream's values (text, or JSON's own numbers and lists) and gives our Arrow arrays; `spell` is its
inverse and gives text. Both work on whole columns. A column's spelling (how many decimals, say) is learnt while
reading: `Spellings` keeps those that have written back every value so far.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .recipe import Rule

Columns = dict[str, pa.Array]
MICRO = 1_000_000


class BadValue(Exception):
    """The first value of a column that can't be read: its index in the batch, what was expected, what came."""

    def __init__(self, index: int, expected: str, got: str) -> None:
        super().__init__(index, expected, got)
        self.index, self.expected, self.got = index, expected, got


# -- spelling numbers -------------------------------------------------------------------------------------------------

# fixed:k   k decimals, none for 0           1816.90
# float     shortest, at least one decimal   1816.9, 5.0      (Python's repr)
# shortest  shortest, none if whole          1816.9, 5        (C's %g)
Spelling = str
STYLES_WITHOUT_DIGITS = ("float", "shortest")


def spell_number(values: pa.Array, spelling: Spelling, decimals: int = 0) -> pa.Array:
    """Text of numbers in a spelling.

    values    int64 in units of 10**-decimals, or float64 (decimals is then ignored)
    spelling  "fixed:k", "float" or "shortest"
    """
    if pa.types.is_floating(values.type):
        if spelling.startswith("fixed:"):
            text = pc.cast(pc.cast(values, pa.decimal128(30, int(spelling[6:]))), pa.string())
            return text if spelling != "fixed:0" else pc.utf8_rtrim(text, characters=".")
        text = pc.cast(values, pa.string())
        if spelling != "float":
            return text
        whole = pc.invert(pc.match_substring_regex(text, r"[.en]"))
        text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
        # Arrow and Python go over to exponents at other sizes, which are rare: so row by row.
        size = pc.abs(values)
        odd = pc.or_(pc.greater_equal(size, 1e10), pc.and_(pc.less(size, 1e-4), pc.greater(size, 0)))
        odd = pc.fill_null(odd, False)
        return pc.replace_with_mask(text, odd, pa.array(map(repr, values.filter(odd).to_pylist()), pa.string()))
    if decimals == 0:
        text = pc.cast(values, pa.string())
        places = int(spelling[6:]) if spelling.startswith("fixed:") else int(spelling == "float")
        return pc.binary_join_element_wise(text, "0" * places, ".") if places else text
    unit = pa.scalar(10**decimals, pa.int64())
    whole = pc.divide(values, unit)
    fraction = pc.utf8_lpad(
        pc.cast(pc.subtract(values, pc.multiply(whole, unit)), pa.string()), width=decimals, padding="0"
    )
    whole = pc.cast(whole, pa.string())
    if spelling.startswith("fixed:"):
        places = int(spelling[6:])
        if places == 0:
            return whole
        return pc.binary_join_element_wise(whole, _resize(fraction, decimals, places), ".")
    fraction = pc.utf8_rtrim(fraction, characters="0")
    empty = pc.equal(fraction, "")
    if spelling == "float":
        return pc.binary_join_element_wise(whole, pc.if_else(empty, "0", fraction), ".")
    return pc.if_else(empty, whole, pc.binary_join_element_wise(whole, fraction, "."))


def _resize(digits: pa.Array, have: int, want: int) -> pa.Array:
    return pc.utf8_rpad(digits, width=want, padding="0") if want > have else pc.utf8_slice_codeunits(digits, 0, want)


class Spellings:
    """The spellings of one field that have written back every value seen, best first."""

    def __init__(self) -> None:
        self.left: list[Spelling] | None = None

    def narrow(self, text: pa.Array, values: pa.Array, decimals: int) -> None:
        """Drop the spellings that don't give `text` for `values`. Raises BadValue when none is left."""
        present = text.drop_null()
        if len(present) == 0:
            return
        if self.left is None:
            first = present[0].as_py()
            self.left = [f"fixed:{len(first.partition('.')[2])}", *STYLES_WITHOUT_DIGITS]
        left = [each for each in self.left if spell_number(values, each, decimals).equals(text)]
        if not left:
            again = spell_number(values, self.left[0], decimals)
            index = pc.index(pc.fill_null(pc.not_equal(again, text), False), True).as_py()
            raise BadValue(index, f"a number spelled like {again[index].as_py()}", text[index].as_py())
        self.left = left

    @property
    def best(self) -> Spelling:
        return self.left[0] if self.left else "fixed:0"


# -- transforms -------------------------------------------------------------------------------------------------------


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
        numbers = _cast(values, pa.float64()) if pa.types.is_floating(self.type) else _scaled(values, self.decimals)
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


def _scaled(values: pa.Array, decimals: int) -> pa.Array:
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


class IsZero(Transform):
    """Derived: whether the number is zero."""

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        return {self.rule.column: pc.equal(_scaled(self._known(values), 0), 0)}


class Segment(Transform):
    """Derived: how often the clock has been reset, that is, how often a value was smaller than the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.last: pa.Scalar | None = None
        self.count = 0

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        numbers = _scaled(self._known(values), 6)
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
        ids = _scaled(self._known(values), 0).to_numpy()
        parents = _scaled(self._known(more[0]), 0).to_numpy()
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
        numbers = _scaled(self._known(values), 0)
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


def transform_for(rule: Rule, kind: pa.DataType, epoch: str | None, block_tokens: int = 0) -> Transform:
    """The transform that a rule and the type of its column call for."""
    if rule.derive == "block_ids":
        return BlockIds(rule, kind, block_tokens)
    if rule.derive:
        return DERIVED[rule.derive](rule, kind)
    if rule.datetime:
        made = DateTime(rule, kind)
        if epoch:
            made.epoch = datetime.fromisoformat(epoch).replace(tzinfo=UTC)
        return made
    if pa.types.is_list(kind):
        return Ids(rule, kind) if pa.types.is_integer(kind.value_type) else Texts(rule, kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Number(rule, kind)
    return Text(rule, kind)


def transforms_for(rules: Sequence[Rule], types: dict[str, Any], properties: Mapping[str, Any]) -> list[Transform]:
    """A transform for each rule that has a source, under the properties of its workload."""
    epoch, block_tokens = properties.get("epoch"), properties.get("block_tokens", 0)
    return [transform_for(rule, types[rule.column], epoch, block_tokens) for rule in rules if rule.source is not None]
