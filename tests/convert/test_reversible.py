"""Every reversible transform and its inverse, over values that hypothesis draws."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.convert.transforms.base import BadValue
from llm_trace_archive.convert.transforms.numbers import Spellings, spell
from llm_trace_archive.convert.transforms.select import make_transform
from llm_trace_archive.core.recipe import Rule

WHOLE = st.integers(0, 2**53)


def round_trip(rule: Rule, kind: pa.DataType, text: list[str | None], epoch: str | None = None) -> list[str | None]:
    """Read texts in two batches, then spell them in one."""
    transform = make_transform(rule, kind, {"epoch": epoch})
    half = len(text) // 2
    parts = [transform.read(pa.array(part, pa.string())) for part in (text[:half], text[half:]) if part]
    columns = {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
    again: list[str | None] = transform.spell(columns, transform.spelling).to_pylist()
    return again


@pytest.mark.parametrize(
    ("rule", "kind", "values", "expected"),
    [
        (Rule("failed", "x"), pa.bool_(), ["ok"], 'a boolean (derive = "is_zero" makes one of a number)'),
        (Rule("failed", "x"), pa.bool_(), [0], 'a boolean (derive = "is_zero" makes one of a number)'),
        (Rule("hash_ids", "x"), pa.list_(pa.int64()), ["1"], "a list"),
        (Rule("tags", "x"), pa.list_(pa.string()), ["a"], "a list"),
        (Rule("input_tokens", "x"), pa.int32(), [[1]], "a value that is no list"),
        (Rule("model", "x"), pa.string(), [[1]], "a value that is no list"),
        (Rule("arrival_us", "x", datetime="YYYY/MM/DD hh:mm:ss.fff"), pa.int64(), [1], "a date and time as text"),
    ],
)
def test_values_of_another_type_are_refused(rule: Rule, kind: pa.DataType, values: list[Any], expected: str) -> None:
    with pytest.raises(BadValue) as caught:
        make_transform(rule, kind, {}).read(pa.array(values))
    assert (caught.value.index, caught.value.expected, caught.value.got) == (0, expected, repr(values[0]))


@given(st.lists(WHOLE, min_size=1))
def test_integers(values: list[int]) -> None:
    text = [str(value) for value in values]
    assert round_trip(Rule("input_tokens", "x"), pa.int64(), text) == text


@given(st.lists(st.integers(0, 10**12), min_size=1), st.integers(0, 6))
def test_seconds_with_a_fixed_number_of_decimals(values: list[int], places: int) -> None:
    text = [f"{Decimal(value).scaleb(-places):.{places}f}" for value in values]
    assert round_trip(Rule("arrival_us", "x", unit="s"), pa.int64(), text) == text


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_seconds_as_python_prints_floats(values: list[int]) -> None:
    text = [repr(value / 1e6) for value in values]
    if not any("e" in each for each in text):
        assert round_trip(Rule("arrival_us", "x", unit="s"), pa.int64(), text) == text


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(0, 5))
def test_numbers_as_python_prints_floats(values: list[int], places: int) -> None:
    text = [repr(value / 10**places) for value in values]
    if not any("e" in each for each in text):
        assert round_trip(Rule("tokens_per_s", "x"), pa.float64(), text) == text


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(0, 4))
def test_numbers_with_a_fixed_number_of_decimals(values: list[int], places: int) -> None:
    text = [f"{Decimal(value).scaleb(-places):.{places}f}" for value in values]
    assert round_trip(Rule("tokens_per_s", "x"), pa.float64(), text) == text


@given(st.lists(st.none() | WHOLE, min_size=1))
def test_empty_values_are_null_and_are_restored_empty(values: list[int | None]) -> None:
    text: list[str | None] = ["" if value is None else str(value) for value in values]
    rule = Rule("latency_us", "x", unit="us", empty="null")
    assert make_transform(rule, pa.int64(), {}).read(pa.array(text))["latency_us"].to_pylist() == values
    assert round_trip(rule, pa.int64(), text) == text


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20), st.sampled_from(["", " ", "model-"]))
def test_texts_with_a_prefix(values: list[str], prefix: str) -> None:
    rule = Rule("model", "x", prefix=prefix)
    text: list[str | None] = [prefix + value for value in values]
    kind = pa.dictionary(pa.int32(), pa.string())
    assert round_trip(rule, kind, text) == text


MOMENTS = st.lists(
    st.datetimes(datetime(2023, 1, 1), datetime(2030, 1, 1))
    | st.datetimes().map(lambda t: t.replace(2024, microsecond=0)),
    min_size=1,
)
EPOCH = "2023-01-01T00:00:00"


@given(MOMENTS, st.integers(0, 9))
def test_times_of_100_ns(moments: list[datetime], digit: int) -> None:
    text: list[str | None] = [moment.strftime("%Y-%m-%d %H:%M:%S.%f") + str(digit) for moment in moments]
    rule = Rule("arrival_us", "x", datetime="YYYY-MM-DD hh:mm:ss.fffffff", rest="arrival_100ns")
    assert round_trip(rule, pa.int64(), text, EPOCH) == text
    read = make_transform(rule, pa.int64(), {"epoch": EPOCH}).read(pa.array(text))
    since = [(moment - datetime(2023, 1, 1)) // timedelta(microseconds=1) for moment in moments]
    assert read["arrival_us"].to_pylist() == since
    assert set(read["arrival_100ns"].to_pylist()) == {digit}


@given(MOMENTS)
def test_times_without_a_fraction_when_it_is_zero(moments: list[datetime]) -> None:
    text: list[str | None] = [f"{moment}+00:00" for moment in moments]  # str() drops a fraction of zero
    rule = Rule("arrival_us", "x", datetime="YYYY-MM-DD hh:mm:ss[.ffffff]+00:00")
    assert round_trip(rule, pa.int64(), text, EPOCH) == text


@given(MOMENTS)
def test_times_of_milliseconds(moments: list[datetime]) -> None:
    moments = [moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments]
    for pattern, style in {
        "YYYY/MM/DD hh:mm:ss.fff": "%Y/%m/%d %H:%M:%S.%f",
        "YYYY-MM-DDThh:mm:ss.fffZ": "%Y-%m-%dT%H:%M:%S.%f",
    }.items():
        ending = "Z" if pattern.endswith("Z") else ""
        text: list[str | None] = [moment.strftime(style)[:-3] + ending for moment in moments]
        assert round_trip(Rule("sampled_us", "x", datetime=pattern), pa.int64(), text, EPOCH) == text


@given(st.lists(st.lists(st.integers(0, 2**62)), min_size=1))
def test_lists_of_ids_are_restored_as_json(values: list[list[int]]) -> None:
    transform = make_transform(Rule("hash_ids", "x"), pa.list_(pa.int64()), {})
    columns = transform.read(pa.array(values, pa.list_(pa.int64())))
    sliced = {name: column[1:] for name, column in columns.items()}
    assert transform.spell(columns, None).to_pylist() == [str(each) for each in values]
    assert transform.spell(sliced, None).to_pylist() == [str(each) for each in values[1:]]


@pytest.mark.parametrize(
    ("rule", "kind", "good", "bad"),
    [
        (
            Rule("c", "x"),
            pa.int32(),
            "5",
            ["abc", "", "5.5", "NaN", "0x1F", "1e5", " 5", "5_000", "99999999999999999999"],
        ),
        (Rule("c", "x", unit="s"), pa.int64(), "5", ["1.2345678", "nan", "inf", "", "--1", "9" * 30]),
        (Rule("c", "x"), pa.float64(), "5.5", ["nan", "inf", "x", ""]),
        (
            Rule("c", "x", datetime="YYYY/MM/DD hh:mm:ss.fff"),
            pa.int64(),
            "2025/06/13 18:44:04.479",
            [
                "2025.06.13 18:44:04.479",
                "2025/06/13 18:44:04,479",
                "2025/06/13 18:44:04.4790",
                "2025/13/13 18:44:04.479",
                "2025/06/13 24:44:04.479",
                "",
            ],
        ),
        (Rule("c", "x", prefix=" "), pa.string(), " a", ["a", ""]),
    ],
)
def test_the_first_bad_value_is_named(rule: Rule, kind: pa.DataType, good: str, bad: list[str]) -> None:
    for value in bad:
        with pytest.raises(BadValue) as caught:
            make_transform(rule, kind, {}).read(pa.array([good, good, value, good, value]))
        assert caught.value.index == 2, value


def test_the_spelling_of_most_values_is_kept_if_none_restores_all() -> None:
    spellings = Spellings()
    spellings.narrow(pa.array(["1.50", "2.25"]), pa.array([150, 225]), 2)
    spellings.narrow(pa.array(["3.00", "4.5", "6.00"]), pa.array([300, 450, 600]), 2)
    assert spellings.left == ["fixed:2"]


def test_spellings_of_one_number() -> None:
    values = pa.array([1_816_900_000, 5_000_000])
    assert spell(values, "fixed:2", 6).to_pylist() == ["1816.90", "5.00"]
    assert spell(values, "float", 6).to_pylist() == ["1816.9", "5.0"]
    assert spell(values, "shortest", 6).to_pylist() == ["1816.9", "5"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_are_spelled_as_python_does(numbers: list[float]) -> None:
    assert spell(pa.array(numbers, pa.float64()), "float").to_pylist() == [repr(each) for each in numbers]
