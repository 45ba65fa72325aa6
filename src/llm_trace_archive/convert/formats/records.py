"""JSON Lines whose records have lists and objects of their own, such as TraceLab's rounds of coding agents.

A field is a key of the record. Numbers and texts are read as such; a list or an object is a field of text, which is its
JSON, so that it comes back as it was. What a file shows is kept in the layout, and all of its lines must agree on it:
spacing, the order of the keys, whether text is ASCII, and whether a missing value is left out or null.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...core.recipe import UpstreamFile, Workload
from .layout import FieldTexts, KeyOrder, Layout, OpenFile, check_fields, file_error
from .text import compression_of, join_records, read_edges

ROWS = 1 << 13  # of a batch
SPACED, UTF8 = "spaced", "utf-8"
_TYPES = {"string": pa.string(), "whole": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
_WHAT = {
    "string": "a string",
    "whole": "an integer",
    "float": "a number with decimals",
    "bool": "true or false",
    "json": "a list or an object",
}
_MISSING = ("absent", "null", '""')


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout, which reading completes. Raises BadUpstream if the first line lacks fields of the recipe."""
    edges = read_edges(workload, file, path)
    try:
        first = json.loads(edges.line)
    except (ValueError, RecursionError):
        first = None
    if not isinstance(first, dict):
        raise file_error(
            workload, file, "is not JSON Lines", expected="a JSON object on line 1", got=repr(edges.line[:80])
        )
    optional = {rule.source for rule in file.rules if rule.empty}
    check_fields(workload, file, [*first, *(name for name in sorted(file.fields & optional) if name not in first)])
    spaced = SPACED if edges.line == json.dumps(first, ensure_ascii=edges.line.isascii()) else ""
    return Layout(
        "records", "", list(first), {}, edges.line_end, edges.tail, compression_of(file), edges.content, document=spaced
    )


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield rows with one column for each field. Raises BadUpstream that names the first bad line."""
    reader = _Reader(source)
    lines = enumerate(io.BufferedReader(source.stream, 1 << 20), 1)
    while batch := list(itertools.islice(lines, ROWS)):
        yield reader.read(batch)
    source.layout.kinds |= {f"missing {name}": how for name, how in reader.missing.items()}


class _Reader:
    """Reads the records of a file, and learns its layout from them."""

    def __init__(self, source: OpenFile) -> None:
        self.source = source
        self.layout = source.layout
        self.fields = sorted(source.file.fields)
        self.known = frozenset(self.fields)
        self.may_miss = {rule.source for rule in source.file.rules if rule.empty}
        self.missing: dict[str, str] = {}
        self.order = KeyOrder()
        self.order.agrees(tuple(self.layout.fields))

    def read(self, lines: list[tuple[int, bytes]]) -> pa.RecordBatch:
        """Return the rows of some lines, each with its number."""
        columns: dict[str, list[Any]] = {name: [] for name in self.fields}
        for number, line in lines:
            record = self._record(number, line)
            for name, values in columns.items():
                values.append(self._value(number, name, record))
        arrays = []
        for name, values in columns.items():
            try:
                arrays.append(pa.array(values, _TYPES.get(self.layout.kinds.get(name, ""), pa.string())))
            except (OverflowError, pa.ArrowInvalid) as error:
                raise self.source.error("has numbers beyond 64 bits", reason=str(error)[:200]) from None
        return pa.RecordBatch.from_arrays(arrays, names=self.fields)

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            text = line.decode("utf-8")
            record = json.loads(text)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            cut = "" if line.endswith(b"\n") else "  (the file ends within it)"
            got = repr(line[:80].decode("utf-8", "replace"))
            raise self._error(number, cut, "a JSON object", got)
        if not text.isascii() and UTF8 not in self.layout.document:
            self.layout.document += UTF8
        if list(record) == self.layout.fields:
            return record
        if unknown := sorted(set(record) - self.known):
            raise self._error(number, "", "keys " + ", ".join(self.fields), f"unknown keys {', '.join(unknown)}"[:500])
        if not self.order.agrees(tuple(record)):
            expected = ", ".join(key for key in self.order.order if key in record)
            raise self._error(number, "", f"keys {expected}, in this order", f"keys {', '.join(record)}"[:500])
        self.layout.fields = self.order.order
        return record

    def _value(self, number: int, name: str, record: dict[str, Any]) -> Any:
        value = record.get(name)
        if value is None or value == "":
            how = "absent" if name not in record else "null" if value is None else '""'
            if name in self.may_miss:
                before = self.missing.setdefault(name, how)
                if how != before:
                    raise self._error(number, f", key '{name}'", f"a missing value as before: {before}", how)
                return None
            if value is None:
                raise self._error(number, f", key '{name}'", 'a value (empty = "null" accepts none)', how)
        kind = _kind(value)
        if kind != self.layout.kinds.setdefault(name, kind) or (kind == "float" and not math.isfinite(value)):
            raise self._error(number, f", key '{name}'", _WHAT[self.layout.kinds[name]], repr(value)[:80])
        return self._dump(value) if kind == "json" else value

    def _dump(self, value: Any) -> str:
        return _dump(value, self.layout)

    def _error(self, number: int, where: str, expected: str, got: str) -> Exception:
        return self.source.error("can't be read", line=f"{number:,}{where}", expected=expected, got=got)


def _kind(value: Any) -> str:
    return {str: "string", int: "whole", float: "float", bool: "bool"}.get(type(value), "json")


def _dump(value: Any, layout: Layout) -> str:
    separators = (", ", ": ") if layout.document.startswith(SPACED) else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=UTF8 not in layout.document)


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Yield the file's bytes from the text of its fields."""
    comma, colon = (", ", ": ") if layout.document.startswith(SPACED) else (",", ":")
    for columns, last in texts:
        members = []
        for name in layout.fields:
            text = columns[name]
            if layout.kinds.get(name, "string") == "string":
                text = _quoted(text, layout)
            how = layout.kinds.get(f"missing {name}")
            if how:
                empty = pc.or_kleene(pc.is_null(text), pc.is_in(text, pa.array(["", '""'])))
                text = pc.if_else(empty, None if how == "absent" else how, text)
            members.append(pc.binary_join_element_wise(f"{json.dumps(name)}{colon}", text, ""))
        joined = pc.binary_join_element_wise(*members, comma, null_handling="skip")
        yield join_records([b"{", joined, b"}"], layout, last)
    yield layout.tail.encode()


def _quoted(text: pa.Array, layout: Layout) -> pa.Array:
    """Return text as JSON; what has no special sign is only put in quotes."""
    special = pc.fill_null(pc.match_substring_regex(text, r"[^ !#-\[\]-~]"), False)
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    if not pc.any(special).as_py():
        return quoted
    escaped = pa.array([_dump(value, layout) for value in text.filter(special).to_pylist()], pa.string())
    return pc.replace_with_mask(quoted, special, escaped)
