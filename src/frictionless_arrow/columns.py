"""Which values of a column may offend its field: never fewer than do, so that the rest need no second look.

A pair of a field type and an Arrow type with a rule here is judged by Arrow; any other pair by the field's own cell
reader, once for each distinct value. The last word on a value that may offend is frictionless's own row code's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from frictionless import Field

from .source import cells, is_text, microseconds

Mask = npt.NDArray[np.bool_]

BOUNDS: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": pc.greater_equal,
    "maximum": pc.less_equal,
    "exclusiveMinimum": pc.greater,
    "exclusiveMaximum": pc.less,
}
LOWER = ("minimum", "exclusiveMinimum")
EPOCH = dt.date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (dt.date.min - EPOCH).days, (dt.date.max - EPOCH).days
DAY_IN = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


class NoRule(Exception):
    """Arrow can't tell here; ask the field's own reader."""


@dataclass(frozen=True)
class Verdict:
    """Of every value of a column: may it offend, and does it read as missing. None stands for nowhere."""

    offends: Mask | None
    blank: Mask | None


class ColumnCheck:
    """The checks of one field on arrays of its column."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.read = field.create_cell_reader()
        missing = field.missing_values
        if not field.has_defined("missing_values") and field.schema:
            missing = field.schema.missing_values
        self.missing = sorted(set(missing))
        self.null_offends = bool(self.read(None)[1])
        self._constraints = {
            name: value
            for name, value in field.constraints.items()
            if name in field.supported_constraints and value is not None and name != "required"
        }
        self._seen: tuple[pa.Array, Verdict] | None = None

    def __call__(self, array: pa.Array) -> Verdict:
        """The verdict on an array."""
        if pa.types.is_dictionary(array.type):
            verdict = self._dictionary(array)
        else:
            checked(array)
            try:
                verdict = self._by_rule(array)
            except (NoRule, pa.ArrowException, OverflowError):
                verdict = self._by_reader(array)
        if not array.null_count:
            return verdict
        null = ~is_valid(array)
        offends = either(verdict.offends, null) if self.null_offends else verdict.offends
        return Verdict(offends, either(verdict.blank, null))

    def values(self, array: pa.Array) -> list[Any]:
        """The values as the field reads them: None for those that are missing or can't be read."""
        if pa.types.is_dictionary(array.type):
            dictionary = self.values(array.dictionary)
            return [None if index is None else dictionary[index] for index in array.indices.to_pylist()]
        return [self._read(value)[0] for value in microseconds(array).to_pylist()]

    def is_plain(self, kind: pa.DataType) -> bool:
        """Whether every value reads as what Arrow holds, so that equal is equal in both."""
        if any(self.missing) and not pa.types.is_integer(kind):
            return False
        return not any(_canonical_integer(text) is not None for text in self.missing) and any(
            self.field.type in types and matches(kind) for types, matches in _PLAIN
        )

    def _read(self, value: Any) -> tuple[Any, bool]:
        try:
            cell, notes = self.read(value)
        except Exception:  # the row code will fail in the same way, and be asked
            return None, True
        return cell, bool(notes)

    def _dictionary(self, array: pa.DictionaryArray) -> Verdict:
        checked(array)
        if self._seen is None or not self._seen[0].equals(array.dictionary):
            self._seen = array.dictionary, self(array.dictionary)
        return _spread(array, self._seen[1])

    def _by_reader(self, array: pa.Array) -> Verdict:
        try:
            coded = array.dictionary_encode()
        except (pa.ArrowException, TypeError):  # nested
            verdict = self._read_all(array)
            valid = is_valid(array)
            return Verdict(both(verdict.offends, valid), both(verdict.blank, valid))
        return _spread(coded, self._read_all(coded.dictionary))

    def _read_all(self, array: pa.Array) -> Verdict:
        try:
            found = [self._read(value) for (value,) in cells([array])]
        except (ValueError, OverflowError):  # a date beyond Python's, which the row code will meet too
            return Verdict(np.ones(len(array), bool), None)
        offends = np.fromiter((noted for _, noted in found), bool, len(array))
        blank = np.fromiter((cell is None and not noted for cell, noted in found), bool, len(array))
        return Verdict(offends, blank)

    def _by_rule(self, array: pa.Array) -> Verdict:
        blank = self._missing(array)
        constraints = dict(self._constraints)
        for types, matches, rule in _RULES:
            if self.field.type in types and matches(array.type):
                offends = rule(self, array, constraints)
                return Verdict(either(offends, blank) if self.null_offends else offends, blank)
        raise NoRule

    def _missing(self, array: pa.Array) -> Mask | None:
        texts = self.missing
        if not texts or array.null_count == len(array):
            return None
        if is_text(array.type):
            return some(pc.is_in(array, values(texts, array.type)))
        if pa.types.is_integer(array.type):
            lowest, highest = _integer_range(array.type)
            numbers = [number for text in texts if (number := _canonical_integer(text)) is not None]
            numbers = [number for number in numbers if lowest <= number <= highest]
            return some(pc.is_in(array, values(numbers, array.type))) if numbers else None
        if any(texts):
            raise NoRule
        return None

    def _text(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        if self.field.format != "default" or "pattern" in constraints:
            raise NoRule
        offends = self._lengths(pc.utf8_length(array), constraints)
        if "enum" in constraints:
            texts = [text for text in constraints["enum"] if isinstance(text, str)]
            offends = either(offends, self._outside(array, texts))
        return offends

    def _integers(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        offends = None
        lowest, highest = _integer_range(array.type)
        ends = pc.min_max(array).as_py()
        reader = self.field.create_value_reader()
        for name, bound in constraints.items():
            if name == "enum":
                numbers = [reader(value) for value in bound]
                if not all(isinstance(number, int) for number in numbers):
                    raise NoRule
                numbers = [number for number in numbers if lowest <= number <= highest]
                offends = either(offends, self._outside(array, numbers))
                continue
            limit = reader(bound)
            if name not in BOUNDS or not isinstance(limit, int | float | Decimal) or not math.isfinite(limit):
                raise NoRule
            if ends["min"] is None or _holds(name, ends["min" if name in LOWER else "max"], limit):
                continue
            last = math.ceil(limit) if name in ("minimum", "exclusiveMaximum") else math.floor(limit)
            if not lowest <= last <= highest:
                raise NoRule
            offends = either(offends, some(pc.invert(BOUNDS[name](array, values([last], array.type)[0]))))
        return offends

    def _floats(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        array = array.cast(pa.float64())
        offends = None
        reader = self.field.create_value_reader()
        for name, bound in constraints.items():
            limit = reader(bound)
            if name not in BOUNDS or not isinstance(limit, int | float | Decimal) or not math.isfinite(limit):
                raise NoRule
            # A number's cell is the decimal that a float prints as: they order alike if the limit is one of those.
            if Decimal(repr(float(limit))) != (Decimal(repr(limit)) if isinstance(limit, float) else limit):
                raise NoRule
            offends = either(offends, some(pc.invert(BOUNDS[name](array, values([float(limit)], array.type)[0]))))
        return offends

    def _times(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        kind = array.type
        if not pa.types.is_time(kind):
            day = 1 if pa.types.is_date32(kind) else DAY_IN["ms" if pa.types.is_date64(kind) else kind.unit]
            ends = pc.min_max(array.cast(pa.int32() if day == 1 else pa.int64())).as_py()
            # A day short of Python's own range, for any time zone.
            if ends["min"] is not None and not (
                (FIRST_DAY + 1) * day <= ends["min"] and ends["max"] < (LAST_DAY - 1) * day
            ):
                raise NoRule
        if not constraints:
            return None
        array = microseconds(array)
        zone = getattr(array.type, "tz", None)
        offends = None
        reader = self.field.create_value_reader()
        for name, bound in constraints.items():
            limit = reader(bound)
            if name not in BOUNDS or limit is None or (getattr(limit, "tzinfo", None) is None) != (zone is None):
                raise NoRule
            if zone is not None:
                array = array.cast(pa.timestamp("us", "UTC"))
                limit = limit.astimezone(dt.UTC)
            offends = either(offends, some(pc.invert(BOUNDS[name](array, pa.scalar(limit)))))
        return offends

    def _anything(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        if constraints:
            raise NoRule
        return None

    def _lists(self, array: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        if not _is_flat(array.type.value_type) or not constraints.keys() <= {
            "minLength",
            "maxLength",
        }:
            raise NoRule
        item = getattr(self.field, "array_item", None)
        if self.field.type == "list":
            item = {"type": getattr(self.field, "item_type", "string")}
        offends = self._lengths(pc.list_value_length(array), constraints)
        if item:
            inner = {"name": self.field.name, "type": "any", **item}
            inner.pop("arrayItem", None)
            verdict = ColumnCheck(Field.from_descriptor(inner))(array.flatten())
            wrong = either(verdict.offends, verdict.blank) if self.field.type == "list" else verdict.offends
            if wrong is not None:
                lists = np.zeros(len(array), bool)
                lists[integers(pc.list_parent_indices(array))[wrong]] = True
                offends = either(offends, lists)
        return offends

    def _lengths(self, lengths: pa.Array, constraints: dict[str, Any]) -> Mask | None:
        shortest, longest = constraints.get("minLength"), constraints.get("maxLength")
        offends = None if shortest is None else some(pc.less(lengths, shortest))
        return offends if longest is None else either(offends, some(pc.greater(lengths, longest)))

    def _outside(self, array: pa.Array, inside: list[Any]) -> Mask | None:
        found = pc.is_in(array, values(inside, array.type))
        return some(pc.and_(pc.invert(found), pc.is_valid(array)))


def checked(array: pa.Array) -> None:
    """Raise if an array holds what Python can't: text that is not UTF-8, offsets that lead nowhere."""
    if pa.types.is_primitive(array.type):
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        array.to_pylist()  # says which byte it is
        raise


# `to_numpy`, `fill_null` and `pa.array` import pandas; these don't, and reading a table costs less than that import.


def is_valid(array: pa.Array) -> Mask:
    """Which values are not null."""
    if not array.null_count:
        return np.ones(len(array), bool)
    return np.zeros(len(array), bool) if pa.types.is_null(array.type) else _bits(array, array.buffers()[0])


def to_mask(array: pa.Array) -> Mask:
    """A boolean array in numpy; null is False."""
    mask = _bits(array, array.buffers()[1])
    return mask & is_valid(array) if array.null_count else mask


def integers(array: pa.Array) -> npt.NDArray[Any]:
    """An array of integers in numpy; null is 0."""
    kind = np.dtype(str(array.type))
    if not len(array):
        return np.empty(0, kind)
    numbers = np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)
    return np.where(is_valid(array), numbers, kind.type(0)) if array.null_count else numbers


def _bits(array: pa.Array, buffer: pa.Buffer | None) -> Mask:
    if not len(array) or buffer is None:
        return np.zeros(len(array), bool)
    end = array.offset + len(array)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")
    return bits[array.offset :].view(np.bool_)


def values(cells: list[Any], kind: pa.DataType) -> pa.Array:
    """Texts or numbers as an array."""
    if not is_text(kind):
        return pa.Array.from_buffers(kind, len(cells), [None, pa.py_buffer(np.array(cells, np.dtype(str(kind))))])
    texts = [text.encode() for text in cells]
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64 if pa.types.is_large_string(kind) else np.int32)
    return pa.Array.from_buffers(kind, len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))])


def places(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """An array of places to take."""
    numbers = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def some(array: pa.Array) -> Mask | None:
    """A mask, or None where nothing is set."""
    return to_mask(array) if pc.any(array).as_py() else None


def either(one: Mask | None, other: Mask | None) -> Mask | None:
    """Set in one mask or the other."""
    if one is None or other is None:
        return other if one is None else one
    return one | other


def both(one: Mask | None, other: Mask | None) -> Mask | None:
    """Set in one mask and the other."""
    return None if one is None or other is None else one & other


def _spread(array: pa.DictionaryArray, entries: Verdict) -> Verdict:
    """The verdicts on the entries of a dictionary, for the rows that have them."""
    if not len(array.dictionary):
        return Verdict(None, None)
    indices = integers(array.indices)
    valid = is_valid(array)
    return Verdict(*(None if mask is None else mask[indices] & valid for mask in (entries.offends, entries.blank)))


def _holds(name: str, value: int, limit: Any) -> bool:
    compare = {"minimum": value >= limit, "maximum": value <= limit, "exclusiveMinimum": value > limit}
    return bool(compare.get(name, value < limit))


def _integer_range(kind: pa.DataType) -> tuple[int, int]:
    bits = kind.bit_width
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if pa.types.is_signed_integer(kind) else (0, 2**bits - 1)


def _canonical_integer(text: str) -> int | None:
    """The integer that prints as this text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text else None


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_flat(kind: pa.DataType) -> bool:
    return is_text(kind) or _is_float(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind))


_Rule = Callable[[ColumnCheck, pa.Array, dict[str, Any]], Mask | None]
_RULES: list[tuple[tuple[str, ...], Callable[[pa.DataType], bool], _Rule]] = [
    (("string",), is_text, ColumnCheck._text),
    (("integer", "number"), pa.types.is_integer, ColumnCheck._integers),
    (("number",), _is_float, ColumnCheck._floats),
    (("boolean",), pa.types.is_boolean, ColumnCheck._anything),
    (("date",), pa.types.is_date, ColumnCheck._times),
    (("datetime",), pa.types.is_timestamp, ColumnCheck._times),
    (("time",), pa.types.is_time, ColumnCheck._times),
    (("array", "list"), _is_list, ColumnCheck._lists),
    (("any",), _is_flat, ColumnCheck._anything),
]
_PLAIN: list[tuple[tuple[str, ...], Callable[[pa.DataType], bool]]] = [
    (("integer", "number", "any"), pa.types.is_integer),
    (("date",), pa.types.is_date32),
    (("boolean",), pa.types.is_boolean),
]
