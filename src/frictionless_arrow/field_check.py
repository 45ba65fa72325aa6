"""Which values of a column may break their field: all that do, and perhaps more, so the others need no second look.

Arrow decides for the pairs of a field type and an Arrow type that have a rule here. For any other pair the field's own
cell reader decides, once for each distinct value. Frictionless's own row code has the last word on each suspect value.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from frictionless import Field

from llm_trace_archive.columns.arrays import (
    Mask,
    from_values,
    is_list,
    is_text,
    is_valid,
    lists_with,
    to_integers,
    to_mask,
)
from llm_trace_archive.columns.constraints import BOUNDS, breaks

from .source import cells, to_microseconds

LOWER_BOUNDS = ("minimum", "exclusiveMinimum")
EPOCH = dt.date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (dt.date.min - EPOCH).days, (dt.date.max - EPOCH).days
UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}

Constraints: TypeAlias = dict[str, Any]


class NoRule(Exception):
    """Arrow can't decide here; the field's own reader can."""


@dataclass(frozen=True)
class Verdict:
    """For each value of a column, whether it may break its field and whether it reads as missing; None for no value."""

    suspect: Mask | None
    missing: Mask | None


class FieldCheck:
    """The checks of one field, on arrays of its column."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.read = field.create_cell_reader()
        missing = field.missing_values
        if not field.has_defined("missing_values") and field.schema:
            missing = field.schema.missing_values
        self.missing = sorted(set(missing))
        self.null_is_suspect = bool(self.read(None)[1])
        self._constraints = {
            name: value
            for name, value in field.constraints.items()
            if name in field.supported_constraints and value is not None and name != "required"
        }
        self._checked: tuple[pa.Array, Verdict] | None = None  # a dictionary, which batches may share

    def __call__(self, array: pa.Array) -> Verdict:
        """Return the verdict on an array."""
        _check_encoding(array)
        if pa.types.is_dictionary(array.type):
            verdict = self._check_dictionary(array)
        else:
            try:
                verdict = self._check_by_rule(array)
            except (NoRule, pa.ArrowException, OverflowError):
                verdict = self._check_by_reader(array)
        if not array.null_count:
            return verdict
        null = ~is_valid(array)
        suspect = either(verdict.suspect, null) if self.null_is_suspect else verdict.suspect
        return Verdict(suspect, either(verdict.missing, null))

    def values(self, array: pa.Array) -> list[Any]:
        """Return the values as the field reads them: None for those that are missing or can't be read."""
        if pa.types.is_dictionary(array.type):
            dictionary = self.values(array.dictionary)
            return [None if index is None else dictionary[index] for index in array.indices.to_pylist()]
        return [self._read(value)[0] for value in to_microseconds(array).to_pylist()]

    def is_plain(self, kind: pa.DataType) -> bool:
        """Return whether every value of an Arrow type reads as what Arrow holds, so that equal is equal in both."""
        if any(self.missing) and not pa.types.is_integer(kind):
            return False
        return not any(_as_integer(text) is not None for text in self.missing) and any(
            self.field.type in types and matches(kind) for types, matches in _PLAIN
        )

    def _read(self, value: Any) -> tuple[Any, bool]:
        try:
            cell, notes = self.read(value)
        except Exception:  # the row code will fail in the same way
            return None, True
        return cell, bool(notes)

    def _check_dictionary(self, array: pa.DictionaryArray) -> Verdict:
        if self._checked is None or not self._checked[0].equals(array.dictionary):
            self._checked = array.dictionary, self(array.dictionary)
        return _spread(array, self._checked[1])

    def _check_by_reader(self, array: pa.Array) -> Verdict:
        try:
            coded = array.dictionary_encode()
        except (pa.ArrowException, TypeError):  # nested
            verdict = self._read_all(array)
            valid = is_valid(array)
            return Verdict(_both(verdict.suspect, valid), _both(verdict.missing, valid))
        return _spread(coded, self._read_all(coded.dictionary))

    def _read_all(self, array: pa.Array) -> Verdict:
        try:
            readings = [self._read(value) for (value,) in cells([array])]
        except (ValueError, OverflowError):  # a date beyond Python's, which the row code will meet too
            return Verdict(np.ones(len(array), bool), None)
        suspect = np.fromiter((noted for _, noted in readings), bool, len(array))
        missing = np.fromiter((cell is None and not noted for cell, noted in readings), bool, len(array))
        return Verdict(suspect, missing)

    def _check_by_rule(self, array: pa.Array) -> Verdict:
        missing = self._find_missing(array)
        for types, matches, rule in _RULES:
            if self.field.type in types and matches(array.type):
                suspect = rule(self, array, self._constraints)
                return Verdict(either(suspect, missing) if self.null_is_suspect else suspect, missing)
        raise NoRule

    def _find_missing(self, array: pa.Array) -> Mask | None:
        if not self.missing or array.null_count == len(array):
            return None
        if is_text(array.type):
            return _some(pc.is_in(array, from_values(self.missing, array.type)))
        if pa.types.is_integer(array.type):
            numbers = [number for text in self.missing if (number := _as_integer(text)) is not None]
            numbers = _within(array.type, numbers)
            return _some(pc.is_in(array, from_values(numbers, array.type))) if numbers else None
        if any(self.missing):
            raise NoRule
        return None

    def _limits(self, constraints: Constraints) -> list[tuple[str, Any]]:
        """Return bounds and enums as the field reads them. Raises NoRule for any other constraint."""
        read = self.field.create_value_reader()
        if not constraints.keys() <= {*BOUNDS, "enum"}:
            raise NoRule
        return [
            (name, [read(each) for each in value] if name == "enum" else read(value))
            for name, value in constraints.items()
        ]

    def _check_texts(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        if self.field.format != "default" or "pattern" in constraints:
            raise NoRule
        suspect = _check_lengths(array, constraints)
        if "enum" in constraints:
            texts = [text for text in constraints["enum"] if isinstance(text, str)]
            suspect = either(suspect, _some(breaks("enum", array, from_values(texts, array.type))))
        return suspect

    def _check_integers(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        suspect = None
        for name, limit in self._limits(constraints):
            if name == "enum":
                if not all(isinstance(number, int) for number in limit):
                    raise NoRule
                suspect = either(
                    suspect, _some(breaks(name, array, from_values(_within(array.type, limit), array.type)))
                )
                continue
            _require_finite(limit)
            last = math.ceil(limit) if name in ("minimum", "exclusiveMaximum") else math.floor(limit)
            if _within(array.type, [last]):
                suspect = either(suspect, _some(breaks(name, array, from_values([last], array.type)[0])))
            elif (name in LOWER_BOUNDS) != (last < 0):  # no value of the type keeps it; otherwise all do
                raise NoRule
        return suspect

    def _check_floats(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        array = array.cast(pa.float64())
        suspect = None
        for name, limit in self._limits(constraints):
            if name == "enum":
                raise NoRule
            _require_finite(limit)
            # A number's cell is the decimal that a float prints as: they order alike if the limit is one of those.
            if Decimal(repr(float(limit))) != (Decimal(repr(limit)) if isinstance(limit, float) else limit):
                raise NoRule
            suspect = either(suspect, _some(breaks(name, array, from_values([float(limit)], array.type)[0])))
        return suspect

    def _check_times(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        kind = array.type
        if not pa.types.is_time(kind):
            day = 1 if pa.types.is_date32(kind) else UNITS_PER_DAY["ms" if pa.types.is_date64(kind) else kind.unit]
            ends = pc.min_max(array.cast(pa.int32() if day == 1 else pa.int64())).as_py()
            # A day short of Python's own range, for any time zone.
            if ends["min"] is not None and not (
                (FIRST_DAY + 1) * day <= ends["min"] and ends["max"] < (LAST_DAY - 1) * day
            ):
                raise NoRule
        if not constraints:
            return None
        array = to_microseconds(array)
        zone = getattr(array.type, "tz", None)
        suspect = None
        for name, limit in self._limits(constraints):
            if name == "enum" or limit is None or (getattr(limit, "tzinfo", None) is None) != (zone is None):
                raise NoRule
            if zone is not None:
                array = array.cast(pa.timestamp("us", "UTC"))
                limit = limit.astimezone(dt.UTC)
            suspect = either(suspect, _some(breaks(name, array, pa.scalar(limit))))
        return suspect

    def _check_anything(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        if constraints:
            raise NoRule
        return None

    def _check_lists(self, array: pa.Array, constraints: Constraints) -> Mask | None:
        if not _is_flat(array.type.value_type) or not constraints.keys() <= {"minLength", "maxLength"}:
            raise NoRule
        item = getattr(self.field, "array_item", None)
        if self.field.type == "list":
            item = {"type": getattr(self.field, "item_type", "string")}
        suspect = _check_lengths(array, constraints)
        if item:
            inner = {"name": self.field.name, "type": "any", **item}
            inner.pop("arrayItem", None)
            verdict = FieldCheck(Field.from_descriptor(inner))(array.flatten())
            wrong = either(verdict.suspect, verdict.missing) if self.field.type == "list" else verdict.suspect
            if wrong is not None:
                suspect = either(suspect, lists_with(array, wrong))
        return suspect


def either(one: Mask | None, other: Mask | None) -> Mask | None:
    """Return where one mask or the other is True; None stands for nowhere."""
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _both(one: Mask | None, other: Mask) -> Mask | None:
    return None if one is None else one & other


def _some(array: pa.Array) -> Mask | None:
    return to_mask(array) if pc.any(array).as_py() else None


def _spread(array: pa.DictionaryArray, entries: Verdict) -> Verdict:
    """Return the verdicts on the entries of a dictionary for the rows that have them."""
    if not len(array.dictionary):
        return Verdict(None, None)
    positions = to_integers(array.indices)
    valid = is_valid(array)
    return Verdict(*(None if mask is None else mask[positions] & valid for mask in (entries.suspect, entries.missing)))


def _check_encoding(array: pa.Array) -> None:
    """Raise if an array holds what Python can't: text that is not UTF-8, offsets that lead nowhere."""
    if pa.types.is_primitive(array.type):
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        array.to_pylist()  # its error says which byte it is
        raise


def _check_lengths(array: pa.Array, constraints: Constraints) -> Mask | None:
    suspect = None
    for name in ("minLength", "maxLength"):
        if name in constraints:
            suspect = either(suspect, _some(breaks(name, array, constraints[name])))
    return suspect


def _require_finite(limit: Any) -> None:
    if not isinstance(limit, int | float | Decimal) or not math.isfinite(limit):
        raise NoRule


def _within(kind: pa.DataType, numbers: list[int]) -> list[int]:
    """Return the numbers that an integer type can hold."""
    bits = kind.bit_width
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if pa.types.is_signed_integer(kind) else (0, 2**bits - 1)
    return [number for number in numbers if low <= number <= high]


def _as_integer(text: str) -> int | None:
    """Return the integer that prints as this text."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text else None


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _is_flat(kind: pa.DataType) -> bool:
    return is_text(kind) or _is_float(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind))


_Rule: TypeAlias = Callable[[FieldCheck, pa.Array, Constraints], Mask | None]
_RULES: list[tuple[tuple[str, ...], Callable[[pa.DataType], bool], _Rule]] = [
    (("string",), is_text, FieldCheck._check_texts),
    (("integer", "number"), pa.types.is_integer, FieldCheck._check_integers),
    (("number",), _is_float, FieldCheck._check_floats),
    (("boolean",), pa.types.is_boolean, FieldCheck._check_anything),
    (("date",), pa.types.is_date, FieldCheck._check_times),
    (("datetime",), pa.types.is_timestamp, FieldCheck._check_times),
    (("time",), pa.types.is_time, FieldCheck._check_times),
    (("array", "list"), is_list, FieldCheck._check_lists),
    (("any",), _is_flat, FieldCheck._check_anything),
]
_PLAIN: list[tuple[tuple[str, ...], Callable[[pa.DataType], bool]]] = [
    (("integer", "number", "any"), pa.types.is_integer),
    (("date",), pa.types.is_date32),
    (("boolean",), pa.types.is_boolean),
]
