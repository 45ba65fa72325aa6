"""The compiled readers and writers of text, against the same in plain Python."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_trace_archive.convert.compiled import (
    ANOTHER_FORM,
    NO_DATE,
    join,
    kernels,
    read_dates,
    read_decimals,
    write_dates,
    write_decimals,
    write_lists,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = st.integers(-(2**63), 2**63 - 1)


def texts(values: list[str | None]) -> pa.Array:
    """An array that starts within its buffers, as a slice does."""
    return pa.array(["x", *values], pa.string())[1:]


@given(st.lists(st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), max_size=5))
@example([datetime(2000, 2, 29), datetime(1900, 2, 28), datetime(1969, 12, 31, 23, 59, 59, 999999)])
def test_dates_are_read_and_written(dates: list[datetime | None]) -> None:
    written = texts([each and each.strftime("%Y/%m/%dT%H:%M:%S.%fZ").rjust(27, "0") for each in dates])
    micros, _, bad, _ = read_dates(written, 6, b"Z", 0)
    expected = [each and (each.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) for each in dates]
    assert bad == -1
    assert [m if each else None for m, each in zip(micros.tolist(), dates, strict=True)] == expected
    again = write_dates(pa.array(expected, pa.int64()), None, 0, b"/T", 6, False, b"Z")
    assert again.to_pylist() == written.to_pylist()


@given(st.integers(0, 10**16), st.integers(0, 9), st.integers(0, 6), st.booleans())
def test_fractions_are_written_as_the_recipe_says(micros: int, rest: int, digits: int, optional: bool) -> None:
    plain = (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%d %H:%M:%S.%f")
    cut = plain[: 20 + digits].rstrip(".")
    if optional and digits and not int(cut[20:]):
        cut = cut[:19]
    rests = None if optional or digits < 6 else pa.array([rest], pa.int8())
    found = write_dates(pa.array([micros + 5]), rests, -5, b"- ", digits, optional, b"+00:00")
    assert found.to_pylist() == [cut + (str(rest) if rests else "") + "+00:00"]
    if rests:
        read, read_rests, bad, _ = read_dates(found, 7, b"+00:00", -5)
        assert (read.tolist(), read_rests.tolist(), bad) == ([micros + 5], [rest], -1)


@given(st.text("0123456789-/: T.Z", min_size=17, max_size=28))
@example("2024-02-30 00:00:00")
@example("2024-01-01 24:00:00")
@example("2024-01-01 00:00:60")
@example("2024-13-01 00:00:00.5")
@example("2024-01-00 00:00:00.1234567")
@example("2024-01-01 00:00:00.")
@example("2024-01-01 00:00:00.12345678")
def test_no_other_text_is_a_date(text: str) -> None:
    _, _, bad, why = read_dates(texts(["2024-01-01 00:00:00", text]), 7, b"", 0)
    try:
        datetime.strptime(text[:26].replace("/", "-").replace("T", " "), "%Y-%m-%d %H:%M:%S" + ".%f" * (len(text) > 19))
        good = len(text) != 20 and len(text) <= 27 and len(text[:19]) == 19 and text[20:].isdigit() == (len(text) > 19)
        good = good and all(c not in "-/: T." for c in text[11:13])
    except ValueError:
        good = False
    assert (bad == -1) == good
    assert bad == -1 or (bad == 1 and why in (ANOTHER_FORM, NO_DATE))


@given(st.lists(st.none() | INT64, max_size=5), st.integers(0, 6), st.integers(-1, 8), st.integers(0, 1))
def test_numbers_are_written(values: list[int | None], decimals: int, places: int, least: int) -> None:
    def spell(value: int) -> str:
        sign, digits = "-" * (value < 0), str(abs(value)).rjust(decimals + 1, "0")
        whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
        shortest = fraction.rstrip("0").ljust(least, "0")
        fraction = fraction.ljust(places, "0")[:places] if places >= 0 else shortest
        return f"{sign}{whole}" + f".{fraction}" * bool(fraction)

    found = write_decimals(pa.array([0, *values], pa.int64())[1:], decimals, places, least)
    assert found.to_pylist() == [None if each is None else spell(each) for each in values]


@given(st.lists(st.none() | st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,8})?|[0-9.e+-]{0,4}", fullmatch=True), max_size=4))
@example(["007", "1"])
@example(["-0"])
@example(["5.0", "6.10"])
@example(["1.1234567"])
def test_numbers_are_read_as_decimals_or_not_at_all(values: list[str | None]) -> None:
    numbers, (fewest, most, not_float, not_shortest), bad = read_decimals(texts(values), 6)
    if bad >= 0:
        text = values[bad]
        assert text is not None
        plain = text.replace(".", "", 1).isdigit() and not text.startswith((".", "0")) and not text.endswith(".")
        assert not plain or len(text.split(".")[0]) > 12 or len(text.partition(".")[2].rstrip("0")) > 6
        return
    present = [each for each in values if each is not None]
    assert [n for n, each in zip(numbers.tolist(), values, strict=True) if each is not None] == [
        int(Decimal(each) * 10**6) for each in present
    ]
    scaled = pa.array([int(Decimal(each) * 10**6) for each in present], pa.int64())
    if present:
        assert (fewest == most) == (write_decimals(scaled, 6, int(most), 0).to_pylist() == present)
    assert (not not_float) == (write_decimals(scaled, 6, -1, 1).to_pylist() == present)
    assert (not not_shortest) == (write_decimals(scaled, 6, -1, 0).to_pylist() == present)


@given(st.lists(st.none() | st.lists(INT64, max_size=4), max_size=4))
def test_lists_are_written_as_json(lists: list[list[int] | None]) -> None:
    array = pa.array([[7], *lists], pa.list_(pa.int64()))[1:]
    ids = np.array([each for some in lists for each in some or ()], np.int64)
    assert write_lists(array, ids).to_pylist() == [None if each is None else json.dumps(each) for each in lists]


@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.text(max_size=3)), min_size=1, max_size=4))
def test_texts_are_joined(rows: list[tuple[str, str | None]]) -> None:
    first, second = texts([a for a, _ in rows]), texts([b for _, b in rows])
    expected = "".join(f"<{a}, {b or ''}>\n" for a, b in rows)
    assert join([b"<", first, b", ", second, b">\n"], len(rows)).tobytes().decode() == expected


def test_the_same_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    kernels.cache_clear()
    try:
        test_dates_are_read_and_written()
        test_numbers_are_written()
        test_numbers_are_read_as_decimals_or_not_at_all()
        test_lists_are_written_as_json()
        test_texts_are_joined()
    finally:
        kernels.cache_clear()
