"""What every transform offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...core.recipe import Rule

Columns = dict[str, pa.Array]


class BadValue(Exception):
    """The first value of a batch that can't be converted: its index, what was expected, what came."""

    def __init__(self, index: int, expected: str, got: str) -> None:
        super().__init__(index, expected, got)
        self.index, self.expected, self.got = index, expected, got


def check(values: pa.Array, bad: pa.Array, expected: str) -> None:
    """Raise BadValue for the first of `values` where `bad` is true."""
    if (index := pc.index(bad, True).as_py()) >= 0:
        raise BadValue(index, expected, repr(values[index].as_py()))


@dataclass
class Transform:
    """One rule applied to one upstream file, whose batches are read in order.

    type        of the rule's column
    properties  of the workload, such as its epoch
    """

    rule: Rule
    type: pa.DataType
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start without having read anything."""

    @property
    def spelling(self) -> str | None:
        """How the upstream spells what was read, if `spell` must know."""
        return None

    def read(self, values: pa.Array, *more: pa.Array) -> Columns:
        """Return our columns for the values of the rule's first source, and `more` of its others. Raises BadValue."""
        raise NotImplementedError

    def spell(self, columns: Columns, spelling: str | None) -> pa.Array:
        """Return the text of the upstream's values for our columns: the inverse of `read`."""
        raise NotImplementedError

    def follow(self, previous: Any) -> None:
        """Continue where `previous` stopped: the transform of the same column in the workload's previous file."""

    def _present(self, values: pa.Array) -> pa.Array:
        """Return the values, with empty text as null if the recipe allows that.

        Raises BadValue for other nulls, and for the first value if the column can't hold values of its type.
        """
        if expected := self._misfit(values.type):
            raise BadValue(0, expected, repr(values[0].as_py()))
        if self.rule.empty == "null":
            return pc.if_else(pc.equal(values, ""), None, values) if pa.types.is_string(values.type) else values
        if values.null_count:
            raise BadValue(pc.index(values.is_null(), True).as_py(), "a value", "null")
        return values

    def _misfit(self, given: pa.DataType) -> str:
        """Return what the rule needs in place of values of a type; empty if it can read these."""
        if self.rule.derive or pa.types.is_null(given):
            return ""
        if pa.types.is_list(self.type) != pa.types.is_list(given):
            return "a list" if pa.types.is_list(self.type) else "a value that is no list"
        if self.rule.datetime:
            return "" if pa.types.is_string(given) else "a date and time as text"
        if pa.types.is_boolean(self.type) and not pa.types.is_boolean(given):
            return 'a boolean (derive = "is_zero" makes one of a number)'
        return ""

    def _restore_empty(self, text: pa.Array) -> pa.Array:
        return pc.fill_null(text, "") if self.rule.empty == "null" else text
