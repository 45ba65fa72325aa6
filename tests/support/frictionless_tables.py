"""Generated tables and schemas, with faults of every kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Draw = Callable[[Any], Any]
SPELLINGS = "|a|b|ab|é|中文|-|NA|1|01| 2 |2.5|true|False|2024-01-02|12:30:00|2024-01-02T03:04:05Z|[1, 2]|1,2|a\n|nan"
TEXTS = st.sampled_from([*SPELLINGS.split("|"), '{"a": 1}', "a@b.org", "https://x.org", "2024-05", "1e3"])
FLOATS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, 1e300, 0.1, float("nan"), float("inf")]) | st.floats(width=32)
DATES = st.dates(dt.date(1999, 12, 30), dt.date(2000, 1, 3)) | st.dates()
TIMES = st.datetimes(dt.datetime(1999, 12, 31), dt.datetime(2000, 1, 1)) | st.datetimes(
    dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)
)
MIDNIGHTS = DATES.filter(lambda day: 1700 < day.year < 2200).map(lambda day: dt.datetime(day.year, day.month, day.day))
CLOCKS = st.sampled_from([dt.time(0), dt.time(12, 30), dt.time(12, 30, 1), dt.time(23, 59, 59)])
DECIMALS = st.decimals(-99, 99, places=2)


def small(low: int = -4, high: int = 4) -> Any:
    return st.integers(low, high)


def cut(values: Any, **parts: int) -> Any:
    return values.map(lambda value: value.replace(**parts))


def zoned(values: Any) -> Any:
    return values.map(lambda value: value.replace(tzinfo=dt.UTC))


ARROW: list[tuple[pa.DataType, Any]] = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.int8(), small()),
    (pa.int16(), small(-300, 300)),
    (pa.int32(), small() | st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), small() | st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), small(0, 5)),
    (pa.uint32(), small(0, 5)),
    (pa.uint64(), small(0, 4) | st.integers(0, 2**64 - 1)),
    (pa.float32(), FLOATS.filter(lambda number: abs(number) < 1e30 or number != number)),
    (pa.float64(), FLOATS),
    (pa.bool_(), st.booleans()),
    (pa.date32(), DATES),
    (pa.timestamp("s"), cut(TIMES, microsecond=0)),
    (pa.timestamp("ms"), cut(TIMES, microsecond=7000) | MIDNIGHTS),
    (pa.timestamp("us"), TIMES | MIDNIGHTS),
    (pa.timestamp("ns"), TIMES | MIDNIGHTS),
    (pa.timestamp("us", "UTC"), zoned(TIMES)),
    (pa.timestamp("ms", "Europe/Paris"), zoned(cut(TIMES, microsecond=0))),
    (pa.time32("s"), CLOCKS),
    (pa.time64("us"), CLOCKS),
    (pa.time64("ns"), CLOCKS),
    (pa.decimal128(9, 2), DECIMALS),
    (pa.list_(pa.int64()), st.lists(st.none() | small(), max_size=3)),
    (pa.list_(pa.string()), st.lists(TEXTS, max_size=3)),
    (pa.large_list(pa.float64()), st.lists(FLOATS, max_size=3)),
    (pa.list_(pa.list_(pa.int8())), st.lists(st.lists(small(), max_size=2), max_size=2)),
    (pa.struct({"a": pa.int64(), "b": pa.string()}), st.fixed_dictionaries({"a": small(), "b": TEXTS})),
    (pa.binary(), st.binary(max_size=3)),
    (pa.null(), st.none()),
    (pa.duration("us"), st.timedeltas(dt.timedelta(0), dt.timedelta(9))),
]
FITTING = {
    "string": ["string"],
    "large_string": ["string"],
    "dictionary": ["string", "any"],
    "int": ["integer", "number", "year"],
    "uint": ["integer", "number"],
    "float": ["number", "integer"],
    "double": ["number", "integer"],
    "bool": ["boolean"],
    "date": ["date"],
    "timestamp": ["datetime", "date"],
    "time32": ["time"],
    "time64": ["time"],
    "decimal": ["number", "integer"],
    "list": ["array", "list"],
    "large_list": ["array", "list"],
    "struct": ["object"],
}
TYPES = ["string", "integer", "number", "boolean", "date", "datetime", "time", "any", "array", "list", "object"]
TYPES += ["year", "yearmonth", "duration", "geopoint", "geojson"]
MISSING = [
    ["", "-"],
    ["0", "1", "NA"],
    ["nan", "None", "True", "2.5", "-1"],
    ["2000-01-01", "[]", "0.0", "12:30:00"],
    [],
]
BOUNDS: dict[str, Any] = {
    "integer": small(-3, 3) | st.sampled_from([2**40, -(2**70), 2**70, "2"]),
    "number": st.sampled_from([0, 1, -1, 0.5, 2.5, 0.1, "0.10", 1e300, "1.00000000000000000001"]),
    "date": st.sampled_from(["2000-01-01", "1999-12-31"]),
    "datetime": st.sampled_from(["2000-01-01T00:00:00", "1999-12-31T12:00:00Z"]),
    "time": st.sampled_from(["12:30:00", "00:00:00"]),
    "year": small(0, 3),
}
ENUMS: dict[str, Any] = {
    "string": st.lists(TEXTS, min_size=1, max_size=4),
    "integer": st.lists(small() | st.just(2**64), min_size=1, max_size=4),
    "number": st.lists(small() | st.sampled_from([0.5, 2.5, "1.0"]), min_size=1, max_size=4),
    "boolean": st.just([True]),
    "date": st.just(["2000-01-01"]),
    "any": st.lists(small() | TEXTS, min_size=1, max_size=4),
    "array": st.just([[], [1, 2]]),
}
LENGTHS = ("string", "array", "object", "list")


@st.composite
def fields(draw: Draw, name: str, kind: pa.DataType) -> dict[str, Any]:
    """A field for a column: its type fits in most cases, its constraints may or may not hold."""
    stem = next((key for key in sorted(FITTING, key=len, reverse=True) if str(kind).startswith(key)), "")
    fitting = FITTING.get(stem, ["any"])
    type_ = draw(st.sampled_from(fitting if draw(st.integers(0, 3)) else TYPES))
    field: dict[str, Any] = {"name": name, "type": type_}
    constraints: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        constraints["required"] = draw(st.booleans())
    if draw(st.integers(0, 5)) == 0:
        constraints["unique"] = True
    for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        if type_ in BOUNDS and draw(st.integers(0, 3)) == 0:
            constraints[bound] = draw(BOUNDS[type_])
    if type_ in ENUMS and draw(st.integers(0, 4)) == 0:
        constraints["enum"] = draw(ENUMS[type_])
    for length in ("minLength", "maxLength"):
        if type_ in LENGTHS and draw(st.integers(0, 4)) == 0:
            constraints[length] = draw(small(0, 3))
    if type_ == "string" and draw(st.integers(0, 3)) == 0:
        field["format"] = draw(st.sampled_from(["default", "email", "uri", "uuid", "binary"]))
        constraints["pattern"] = draw(st.sampled_from([r"[a-z]+", r"\w*", r"(?=a).+", r".*\d"]))
    if type_ == "array" and draw(st.booleans()):
        item = draw(st.sampled_from(["integer", "string", "number", "any"]))
        field["arrayItem"] = {
            "type": item,
            "constraints": draw(st.sampled_from([{}, {"required": True}, {"enum": [1]}])),
        }
        if item == "integer":
            field["arrayItem"]["constraints"] = draw(st.sampled_from([{}, {"minimum": 0}, {"required": True}]))
    if type_ == "list":
        field["itemType"] = draw(st.sampled_from(["string", "integer", "number", "boolean"]))
    if type_ == "number" and draw(st.integers(0, 4)) == 0:
        field["floatNumber"] = True
    if draw(st.integers(0, 7)) == 0:
        field["missingValues"] = draw(st.sampled_from(MISSING))
    return field | ({"constraints": constraints} if constraints else {})


@st.composite
def tables(
    draw: Draw, arrow: list[tuple[pa.DataType, Any]] = ARROW, nulls: bool = True
) -> tuple[pa.Table, dict[str, Any]]:
    """A table and a schema that is more or less its own."""
    rows = draw(st.integers(0, 12))
    columns: dict[str, pa.Array] = {}
    described = []
    for number in range(draw(st.integers(1, 4))):
        kind, values = draw(st.sampled_from(arrow))
        if nulls:
            values = st.none() | values
        name = f"c{number}"
        columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)
        described.append(draw(fields(name, kind)))
    schema: dict[str, Any] = {}
    names = [field["name"] for field in described]
    if draw(st.integers(0, 3)) == 0:
        schema["primaryKey"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    if draw(st.integers(0, 5)) == 0:
        own, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        schema["foreignKeys"] = [{"fields": [own], "reference": {"resource": "", "fields": [other]}}]
    if draw(st.integers(0, 4)) == 0:
        schema["missingValues"] = draw(st.sampled_from(MISSING))
    fault = draw(st.integers(0, 12))
    if fault == 0:
        described.append({"name": "more", "type": "string"})
    elif fault == 1 and len(described) > 1:
        described.pop()
    elif fault == 2:
        described.reverse()
    elif fault == 3:
        described[0]["name"] = "other"
    if fault in (2, 4, 5):
        schema["fieldsMatch"] = draw(st.sampled_from(["equal", "subset", "superset", "partial"]))
    if "foreignKeys" in schema:  # its reader changes the lists that the reference is then read from
        for field in described:
            field.pop("arrayItem", None)
        # Made of one object, NaN is in a set that has it; read from a file twice, it is not.
        if any(value != value for column in columns.values() for value in column.to_pylist()):
            del schema["foreignKeys"]
    known = [field["name"] for field in described]
    if not set(schema.get("primaryKey", [])) <= set(known):
        del schema["primaryKey"]
    if "foreignKeys" in schema and not {own, other} <= set(known):
        del schema["foreignKeys"]
    return pa.table(columns), schema | {"fields": described}
