"""Numbers, dates and lists as text, compiled: over the buffers of Arrow arrays, row by row, without the interpreter.

Each function releases Python's lock, so that threads run side by side. `read_*` give the number of the first row that
they can't read, or -1; `write_*` fill `out` with the text of all rows and `offsets` with where each starts. The dates
are those of the proleptic Gregorian calendar, by the algorithms of Howard Hinnant's "chrono-compatible low-level date
algorithms" (days_from_civil and civil_from_days).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..columns.arrays import is_valid, to_integers, valid_bits
from ..core.extras import compiled

_Array: TypeAlias = npt.NDArray[Any]
NO_BYTES = np.frombuffer(b"", np.uint8)
ANOTHER_FORM, NO_DATE = 1, 2


@cache
def kernels() -> tuple[Callable[..., Any], ...]:
    """Return the functions below; without numba they are as they stand, and about a hundred times slower."""
    return compiled(_read_dates, _write_dates, _read_decimals, _write_decimals, _write_lists, _place)


def read_dates(text: pa.Array, digits: int, ending: bytes, epoch_us: int) -> tuple[_Array, _Array, int, int]:
    """Return microseconds since the epoch, rests of 100 ns, and the first row that is no date with why, or -1."""
    data, offsets = _bytes_of(text)
    micros, rests = np.zeros(len(text), np.int64), np.zeros(len(text), np.int8)
    end = np.frombuffer(ending, np.uint8)
    row, why = kernels()[0](data, offsets, is_valid(text), digits, end, epoch_us, micros, rests)
    return micros, rests, int(row), int(why)


def write_dates(
    micros: pa.Array, rests: pa.Array | None, epoch_us: int, marks: bytes, digits: int, optional: bool, ending: bytes
) -> pa.Array:
    """Return the text of dates.

    marks     the byte between the numbers of a date, and that between date and time
    digits    of the fraction, at most 6, without the one of `rests`
    optional  whether a fraction of 0 is left out
    """
    offsets = np.empty(len(micros) + 1, np.int32)
    out = np.empty(len(micros) * (28 + len(ending)), np.uint8)
    moments = _read_only(to_integers(micros))
    last = _read_only(np.empty(0, np.int8) if rests is None else to_integers(rests))
    mark, end = np.frombuffer(marks, np.uint8), np.frombuffer(ending, np.uint8)
    kernels()[1](moments, last, is_valid(micros), epoch_us, mark, digits, optional, end, out, offsets)
    return _text(micros, offsets, out)


def read_decimals(text: pa.Array, decimals: int) -> tuple[_Array, _Array, int]:
    """Return numbers in units of 10**-decimals, how they are spelled, and the first row not spelled plainly, or -1.

    How: the fewest and most decimals of all; and whether any is not spelled as Python's repr does, or as C's %g.
    """
    data, offsets = _bytes_of(text)
    values, spelled = np.zeros(len(text), np.int64), np.array([99, 0, 0, 0])
    row = kernels()[2](data, offsets, is_valid(text), decimals, values, spelled)
    return values, spelled, int(row)


def write_decimals(values: pa.Array, decimals: int, places: int, least: int) -> pa.Array:
    """Return the text of int64 in units of 10**-decimals.

    places  decimals to write; -1: as few as there are, but at least `least`
    """
    offsets = np.empty(len(values) + 1, np.int32)
    out = np.empty(len(values) * (22 + max(places, decimals)), np.uint8)
    with np.errstate(over="ignore"):  # of uint64, where it is meant
        kernels()[3](_read_only(to_integers(values)), is_valid(values), decimals, places, least, out, offsets)
    return _text(values, offsets, out)


def write_lists(lists: pa.Array, ids: _Array) -> pa.Array:
    """Return lists of int64 as JSON writes them; `ids` are the items, in the order of the lists."""
    starts = to_integers(lists.offsets).astype(np.int64)
    offsets = np.empty(len(lists) + 1, np.int32)
    out = np.empty(len(ids) * 22 + len(lists) * 2, np.uint8)
    with np.errstate(over="ignore"):
        kernels()[4](_read_only(ids), starts - starts[0], is_valid(lists), out, offsets)
    return _text(lists, offsets, out)


def join(parts: list[pa.Array | bytes], rows: int) -> _Array:
    """Return the bytes of all rows, one after another: each is its texts and the bytes between them, in order."""
    texts = [(*_bytes_of(each), NO_BYTES) if isinstance(each, pa.Array) else each for each in parts]
    widths = np.full(rows, sum(len(each) for each in texts if isinstance(each, bytes)), np.int64)
    for each in texts:
        if not isinstance(each, bytes):
            widths += np.diff(each[1])
    at = np.zeros(rows, np.int64)
    np.cumsum(widths[:-1], out=at[1:])
    out = np.empty(int(widths.sum()), np.uint8)
    for each in texts:
        if isinstance(each, bytes):
            kernels()[5](NO_BYTES, _read_only(np.zeros(rows + 1, np.int32)), np.frombuffer(each, np.uint8), out, at)
        else:
            kernels()[5](*each, out, at)
    return out


def all_bytes(text: pa.Array) -> bytes:
    """Return the bytes of all values of an array of text."""
    data, offsets = _bytes_of(text)
    return data[offsets[0] : offsets[-1]].tobytes()


def _bytes_of(text: pa.Array) -> tuple[_Array, _Array]:
    """Return the bytes of an array of text, and where each value starts and ends in them."""
    _, offsets, data = text.buffers()
    if not len(text):
        return NO_BYTES, _read_only(np.zeros(1, np.int32))
    bounds = np.frombuffer(offsets, np.int32, len(text) + 1, text.offset * 4)
    return (np.frombuffer(data, np.uint8) if data is not None and data.size else NO_BYTES), bounds


def _read_only(array: _Array) -> _Array:
    """Return a view as those of Arrow's buffers are: numba compiles a function again for another kind."""
    view = array.view()
    view.flags.writeable = False
    return view


def _text(values: pa.Array, offsets: _Array, out: _Array) -> pa.Array:
    data = pa.py_buffer(out[: offsets[-1]])
    return pa.Array.from_buffers(pa.string(), len(values), [valid_bits(values), pa.py_buffer(offsets), data])


def _read_dates(
    data: _Array,
    offsets: _Array,
    valid: _Array,
    digits: int,
    ending: _Array,
    epoch: int,
    micros: _Array,
    rests: _Array,
) -> tuple[int, int]:
    parts = np.zeros(6, np.int64)
    for row in range(len(valid)):
        if not valid[row]:
            continue
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1]) - len(ending)
        if end - at < 19:
            return row, ANOTHER_FORM
        for n in range(len(ending)):
            if data[end + n] != ending[n]:
                return row, ANOTHER_FORM
        part = 0
        number: Any = 0
        for n in range(20):
            if n in (4, 7, 10, 13, 16, 19):
                parts[part] = number
                part, number = part + 1, 0
                mark = data[at + n] if n < 19 else np.uint8(0)
                if n < 10 and mark != 45 and mark != 47:  # - /
                    return row, ANOTHER_FORM
                if n == 10 and mark != 32 and mark != 84:  # space T
                    return row, ANOTHER_FORM
                if 10 < n < 19 and mark != 58:  # :
                    return row, ANOTHER_FORM
            else:
                digit = np.int64(data[at + n]) - 48
                if digit < 0 or digit > 9:
                    return row, ANOTHER_FORM
                number = number * 10 + digit
        fraction: Any = 0
        rest: Any = 0
        if end > at + 19:
            length: Any = end - at - 20
            if data[at + 19] != 46 or length < 1 or length > digits:
                return row, ANOTHER_FORM
            for n in range(max(6, length)):
                digit = np.int64(data[at + 20 + n] if n < length else 48) - 48
                if digit < 0 or digit > 9:
                    return row, ANOTHER_FORM
                if n < 6:
                    fraction = fraction * 10 + digit
                elif n == 6:
                    rest = digit
        year, month, day = parts[0], parts[1], parts[2]
        leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
        days = 31 - (month in (4, 6, 9, 11)) if month != 2 else 28 + leap
        if month < 1 or month > 12 or day < 1 or day > days or parts[3] > 23 or parts[4] > 59 or parts[5] > 59:
            return row, NO_DATE
        year -= month <= 2
        era = year // 400
        of_era = year - era * 400
        of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
        since = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
        seconds = ((since * 24 + parts[3]) * 60 + parts[4]) * 60 + parts[5]
        micros[row] = seconds * 1_000_000 + fraction - epoch
        rests[row] = rest
    return -1, 0


def _write_dates(
    micros: _Array,
    rests: _Array,
    valid: _Array,
    epoch: int,
    marks: _Array,
    digits: int,
    optional: bool,
    ending: _Array,
    out: _Array,
    offsets: _Array,
) -> None:
    at = 0
    offsets[0] = 0
    numbers = np.zeros(6, np.int64)
    for row in range(len(valid)):
        if valid[row]:
            moment = micros[row] + epoch
            seconds = moment // 1_000_000
            fraction = moment - seconds * 1_000_000
            days = seconds // 86400
            second = seconds - days * 86400
            shifted = days + 719468
            era = shifted // 146097
            of_era = shifted - era * 146097
            years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
            of_year = of_era - (365 * years + years // 4 - years // 100)
            month = (5 * of_year + 2) // 153
            numbers[2] = of_year - (153 * month + 2) // 5 + 1
            numbers[1] = month + 3 if month < 10 else month - 9
            numbers[0] = years + era * 400 + (numbers[1] <= 2)
            numbers[3], numbers[4], numbers[5] = second // 3600, second // 60 % 60, second % 60
            for n in range(6):
                number, width = numbers[n], 4 if n == 0 else 2
                for place in range(width):
                    out[at + width - 1 - place] = 48 + number % 10
                    number //= 10
                at += width
                if n < 5:
                    out[at] = marks[0] if n < 2 else marks[1] if n == 2 else 58
                    at += 1
            for _ in range(6 - digits):
                fraction //= 10
            if digits and not (optional and fraction == 0):
                out[at] = 46
                for place in range(digits):
                    out[at + digits - place] = 48 + fraction % 10
                    fraction //= 10
                at += 1 + digits
            if len(rests):
                out[at] = 48 + rests[row]
                at += 1
            for n in range(len(ending)):
                out[at + n] = ending[n]
            at += len(ending)
        offsets[row + 1] = at


def _read_decimals(data: _Array, offsets: _Array, valid: _Array, decimals: int, values: _Array, spelled: _Array) -> int:
    fewest, most, not_float, not_shortest = spelled
    for row in range(len(valid)):
        if not valid[row]:
            continue
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        negative = at < end and data[at] == 45
        at += negative
        start = at
        number: Any = 0
        while at < end and 48 <= data[at] <= 57:
            number = number * 10 + (np.int64(data[at]) - 48)
            at += 1
            if at - start > 18 - decimals:
                return row
        if at == start or (data[start] == 48 and at - start > 1) or (negative and (number == 0 or decimals)):
            return row
        places = 0
        if at < end:
            if data[at] != 46 or at + 1 == end:
                return row
            for n in range(at + 1, end):
                digit: Any = np.int64(data[n]) - 48
                if digit < 0 or digit > 9 or (places >= decimals and digit):
                    return row
                if places < decimals:
                    number = number * 10 + digit
                places += 1
        for _ in range(places, decimals):
            number *= 10
        values[row] = -number if negative else number
        fewest, most = min(fewest, places), max(most, places)
        ends_in_0 = places > 0 and data[end - 1] == 48
        if places == 0 or (ends_in_0 and places > 1):
            not_float = 1
        if ends_in_0:
            not_shortest = 1
    spelled[0], spelled[1], spelled[2], spelled[3] = fewest, most, not_float, not_shortest
    return -1


def _write_decimals(
    values: _Array, valid: _Array, decimals: int, places: int, least: int, out: _Array, offsets: _Array
) -> None:
    at = 0
    offsets[0] = 0
    ten = np.uint64(10)
    digits = np.zeros(24, np.uint8)
    for row in range(len(valid)):
        if valid[row]:
            number = np.uint64(values[row])
            if values[row] < 0:
                number = np.uint64(0) - number  # also of the smallest
                out[at] = 45
                at += 1
            count = 0
            while number or count <= decimals:
                rest = number // ten
                digits[count] = 48 + (number - rest * ten)
                number = rest
                count += 1
            for n in range(count - 1, decimals - 1, -1):
                out[at] = digits[n]
                at += 1
            wanted = places
            if places < 0:
                wanted, n = decimals, 0
                while wanted > least and digits[n] == 48:
                    wanted -= 1
                    n += 1
                wanted = max(wanted, least)
            if wanted:
                out[at] = 46
                for n in range(wanted):
                    out[at + 1 + n] = digits[decimals - 1 - n] if n < decimals else 48
                at += 1 + wanted
        offsets[row + 1] = at


def _write_lists(ids: _Array, starts: _Array, valid: _Array, out: _Array, offsets: _Array) -> None:
    at = 0
    offsets[0] = 0
    ten = np.uint64(10)
    digits = np.zeros(24, np.uint8)
    for row in range(len(valid)):
        if valid[row]:
            out[at] = 91
            at += 1
            for each in range(starts[row], starts[row + 1]):
                if each > starts[row]:
                    out[at], out[at + 1] = 44, 32
                    at += 2
                number = np.uint64(ids[each])
                if ids[each] < 0:
                    number = np.uint64(0) - number
                    out[at] = 45
                    at += 1
                count = 0
                while number or not count:
                    rest = number // ten
                    digits[count] = 48 + (number - rest * ten)
                    number = rest
                    count += 1
                for n in range(count - 1, -1, -1):
                    out[at] = digits[n]
                    at += 1
            out[at] = 93
            at += 1
        offsets[row + 1] = at


def _place(data: _Array, offsets: _Array, literal: _Array, out: _Array, at: _Array) -> None:
    for row in range(len(at)):
        position = at[row]
        for n in range(offsets[row], offsets[row + 1]):
            out[position] = data[n]
            position += 1
        for n in range(len(literal)):
            out[position] = literal[n]
            position += 1
        at[row] = position
