"""Numbers as upstreams spell them: text to Arrow and back.

fixed:k   k decimals, none for 0           1816.90
float     shortest, at least one decimal   1816.9, 5.0      (Python's repr)
shortest  shortest, none if whole          1816.9, 5        (C's %g)
"""

from __future__ import annotations

import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from ...columns.arrays import from_integers
from ..compiled import read_decimals, write_decimals
from .base import BadValue, check


def parse(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Return text or numbers as numbers of type `target`. Raises BadValue."""
    what = "an integer" if pa.types.is_integer(target) else "a number"
    try:
        # Arrow reads "0x1F"; no upstream means it.
        if pa.types.is_string(values.type):
            check(values, pc.match_substring_regex(values, r"[^0-9.+eE-]"), what)
        return pc.cast(values, target)
    except pa.ArrowInvalid:
        index = first_failure(values, target)
        raise BadValue(index, what, repr(values[index].as_py())) from None


def parse_scaled(values: pa.Array, decimals: int) -> pa.Array:
    """Return text or numbers as int64 in units of 10**-decimals. Raises BadValue if a digit would be lost."""
    if pa.types.is_integer(values.type):
        return pc.multiply_checked(values, pa.scalar(10**decimals, pa.int64())) if decimals else values
    if pa.types.is_floating(values.type):
        return parse(pc.round(pc.multiply(values, 10.0**decimals)), pa.int64())
    if decimals == 0:
        try:
            return parse(values, pa.int64())
        except BadValue as bad:
            if not re.fullmatch(r"'-?\d+\.0*'", bad.got):  # "472.0" is an integer, too
                raise
    exact = parse(values, pa.decimal128(30, decimals))
    scaled = pc.multiply(exact, pa.scalar(Decimal(10**decimals), pa.decimal128(7, 0))) if decimals else exact
    try:
        return pc.cast(scaled, pa.int64())
    except pa.ArrowInvalid:
        index = first_failure(scaled, pa.int64())
        raise BadValue(index, "a number within 64 bits", repr(values[index].as_py())) from None


def first_failure(values: pa.Array, target: pa.DataType) -> int:
    """Return the index of the first value whose cast fails, by bisection; at least one must."""
    start, end = 0, len(values)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            pc.cast(values.slice(start, middle - start), target)
            start = middle
        except pa.ArrowInvalid:
            end = middle
    return start


def spell(values: pa.Array, spelling: str, decimals: int = 0) -> pa.Array:
    """Return the text of numbers.

    values    int64 in units of 10**-decimals, or float64 (decimals is then ignored)
    spelling  "fixed:k", "float" or "shortest"
    """
    places = int(spelling[6:]) if spelling.startswith("fixed:") else None
    if pa.types.is_floating(values.type):
        return _spell_floats(values, spelling, places)
    return write_decimals(values, decimals, -1 if places is None else places, int(spelling == "float"))


def _spell_floats(values: pa.Array, spelling: str, places: int | None) -> pa.Array:
    if places is not None:
        text = pc.cast(pc.cast(values, pa.decimal128(30, places)), pa.string())
        return pc.utf8_rtrim(text, characters=".") if places == 0 else text
    text = pc.cast(values, pa.string())
    if spelling != "float":
        return text
    whole = pc.invert(pc.match_substring_regex(text, r"[.en]"))
    text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    # Arrow and Python switch to exponents at different sizes. Such sizes are rare, so go row by row.
    size = pc.abs(values)
    odd = pc.or_(pc.greater_equal(size, 1e10), pc.and_(pc.less(size, 1e-4), pc.greater(size, 0)))
    odd = pc.fill_null(odd, False)
    return pc.replace_with_mask(text, odd, pa.array(map(repr, values.filter(odd).to_pylist()), pa.string()))


class Spellings:
    """The spellings that restore every value of a field seen so far, or if none does most of them, best first."""

    def __init__(self) -> None:
        self.left: list[str] | None = None

    def narrow(self, text: pa.Array, values: pa.Array, decimals: int) -> None:
        """Drop the spellings that don't give `text` for `values`, as long as there are others."""
        present = text.drop_null()
        if len(present) == 0 or (self.left and len(self.left) == 1):
            return
        candidates = self.left or [f"fixed:{_decimals(present[:1])}", "float", "shortest"]
        self.left = [each for each in candidates if spell(values, each, decimals).equals(text)]
        if not self.left:
            candidates.append(f"fixed:{_decimals(present)}")
            self.left = [min(candidates, key=lambda each: _count(spell(values, each, decimals), text))]

    def read(self, text: pa.Array, decimals: int) -> pa.Array | None:
        """Return plain text as int64 in units of 10**-decimals, and narrow the spellings by how it is written.

        Returns None, and changes nothing, for text that has to be read by other means.
        """
        numbers, (fewest, most, not_float, not_shortest), row = read_decimals(text, decimals)
        if row >= 0:
            return None
        if fewest <= most and not (self.left and len(self.left) == 1):
            holds = {f"fixed:{most}": fewest == most, "float": not not_float, "shortest": not not_shortest}
            left = [each for each in self.left or holds if holds.get(each)]
            if not left:
                return None
            self.left = left
        return from_integers(numbers, text)


def _decimals(text: pa.Array) -> int:
    """Return how many decimals most of these numbers have."""
    fractions = pc.replace_substring_regex(text, r"^[^.]*\.?", "")
    most: int = pc.mode(pc.utf8_length(fractions))[0]["mode"].as_py()
    return most


def _count(spelled: pa.Array, text: pa.Array) -> int:
    different: int = pc.sum(pc.not_equal(spelled, text)).as_py() or 0
    return different
