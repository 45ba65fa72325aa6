"""How upstreams spell numbers: learnt while reading, so that they can be written again.

`Spellings` keeps those spellings that have written back every value so far.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


class BadValue(Exception):
    """The first value of a column that can't be read: its index in the batch, what was expected, what came."""

    def __init__(self, index: int, expected: str, got: str) -> None:
        super().__init__(index, expected, got)
        self.index, self.expected, self.got = index, expected, got


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
