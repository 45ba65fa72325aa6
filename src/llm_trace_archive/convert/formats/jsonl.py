"""JSON Lines with JSON's own types; a nested object's fields are named by their path, such as `hash_ids.history`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload
from .layout import FieldTexts, Layout, OpenFile, check_fields, file_error
from .text import BLOCK_BYTES, Edges, compression_of, join_records, lines, read_edges

_TYPES = {"string": pa.string(), "whole": pa.int64(), "float": pa.float64(), "ids": pa.list_(pa.int64())}
_WHAT = {"string": "a string", "whole": "an integer", "float": "a number with decimals", "ids": "a list of integers"}


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout, as the first line shows it. Raises BadUpstream if its keys are not the recipe's."""
    return layout_of(workload, file, read_edges(workload, file, path))


def layout_of(workload: Workload, file: UpstreamFile, edges: Edges) -> Layout:
    """Return the layout of a file with these edges. Raises BadUpstream as `read_layout` does."""
    leaves = _leaves(workload, file, edges.line)
    check_fields(workload, file, list(leaves))
    kinds = {name: _kind(value) for name, value in leaves.items()}
    return Layout("jsonl", "", list(leaves), kinds, edges.line_end, edges.tail, compression_of(file), edges.content)


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield rows with one column for each leaf. Raises BadUpstream that names the first bad line."""
    options = pyarrow.json.ParseOptions(explicit_schema=_schema(source.layout), unexpected_field_behavior="error")
    # Arrow reads up to 32 blocks ahead of a fast source, which the member of an archive is: take smaller ones there.
    blocks = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES // 4 if source.file.container else BLOCK_BYTES)
    try:
        with pyarrow.json.open_json(source.stream, read_options=blocks, parse_options=options) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                while any(pa.types.is_struct(column.type) for column in table.schema):
                    table = table.flatten()
                yield from table.to_batches()
    except pa.ArrowInvalid as error:
        raise _first_bad_line(source, str(error)) from None


def _schema(layout: Layout) -> pa.Schema:
    tree: dict[str, Any] = {}
    for name in layout.fields:
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = _TYPES.get(layout.kinds[name], pa.null())

    def fields(node: dict[str, Any]) -> list[pa.Field]:
        return [pa.field(k, pa.struct(fields(v)) if isinstance(v, dict) else v) for k, v in node.items()]

    return pa.schema(fields(tree))


def _leaves(workload: Workload, file: UpstreamFile, line: str) -> dict[str, Any]:
    def walk(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, each in value.items():
            if isinstance(each, dict):
                yield from walk(each, f"{path}{key}.")
            else:
                yield path + key, each

    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise file_error(workload, file, "is not JSON Lines", expected="a JSON object on line 1", got=repr(line[:80]))
    return dict(walk(value, ""))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "ids"
    if isinstance(value, bool) or value is None:
        return "other"
    return {str: "string", int: "whole", float: "float"}[type(value)]


def _first_bad_line(source: OpenFile, reason: str) -> BadUpstream:
    """Return the error for the first line that Arrow can't read: Arrow itself does not say which it is."""
    fields, kinds = source.layout.fields, source.layout.kinds

    def error(line: str, expected: str, got: str) -> BadUpstream:
        return source.error("can't be read as JSON Lines", line=line, expected=expected, got=got)

    for number, raw in enumerate(lines(source.workload, source.file, source.path), 1):
        if not raw.strip():
            continue
        try:
            leaves = _leaves(source.workload, source.file, raw.decode("utf-8"))
        except (BadUpstream, UnicodeDecodeError):
            cut = "" if raw.endswith(b"\n") else "  (the file ends within it)"
            return error(f"{number:,}{cut}", "a JSON object", repr(raw[:80].decode("utf-8", "replace")))
        if list(leaves) != fields:
            return error(f"{number:,}", "keys " + ", ".join(fields), ("keys " + ", ".join(leaves))[:500])
        for name, value in leaves.items():
            ids_are_bad = isinstance(value, list) and not all(type(each) is int for each in value)
            if isinstance(value, bool):
                return error(f"{number:,}, key '{name}'", "a string, a number or a list", json.dumps(value))
            if _kind(value) != kinds[name] or ids_are_bad or value != value:
                return error(f"{number:,}, key '{name}'", _WHAT.get(kinds[name], "null, as before"), repr(value)[:80])
    return source.error("can't be read as JSON Lines", reason=reason[:300])


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Yield the file's bytes from the text of its leaves, as Python's json.dumps writes them."""
    literals = list(_literals(layout.fields))
    closing = "}" * (layout.fields[-1].count(".") + 1)
    for columns, last in texts:
        parts: list[pa.Array | bytes] = []
        for name, literal in zip(layout.fields, literals, strict=True):
            text = columns[name]
            parts += [literal.encode(), _quote(text) if layout.kinds[name] == "string" else text]
        yield join_records([*parts, closing.encode()], layout, last)
    yield layout.tail.encode()


def _quote(text: pa.Array) -> pa.Array:
    # Python's json.dumps escapes everything but printable ASCII. Such values are rare, so go row by row.
    special = pc.match_substring_regex(text, r"[^ !#-\[\]-~]")
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    if not pc.any(special).as_py():
        return quoted
    escaped = pa.array([json.dumps(value) for value in text.filter(special).to_pylist()], pa.string())
    return pc.replace_with_mask(quoted, special, escaped)


def _literals(fields: list[str]) -> Iterator[str]:
    """Yield what comes before each leaf's value in a record: braces, keys, commas."""
    open_path: list[str] = []
    for index, name in enumerate(fields):
        *parents, leaf = name.split(".")
        common = 0
        while common < min(len(parents), len(open_path)) and parents[common] == open_path[common]:
            common += 1
        text = "{" if index == 0 else "}" * (len(open_path) - common) + ", "
        text += "".join(f"{json.dumps(parent)}: {{" for parent in parents[common:])
        yield text + f"{json.dumps(leaf)}: "
        open_path = parents
