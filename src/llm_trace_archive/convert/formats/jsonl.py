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
from .layout import (
    BLOCK_BYTES,
    Edges,
    Layout,
    Reading,
    Spelled,
    check_fields,
    compare,
    compression_of,
    edges,
    joined,
    lines,
)


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """The layout, read off the first line. Raises BadUpstream if its keys are not the recipe's."""
    return layout_of(workload, file, edges(workload, file, path))


def layout_of(workload: Workload, file: UpstreamFile, found: Edges) -> Layout:
    """The layout of a file with these edges. Raises BadUpstream as `read_layout` does."""
    leaves = _leaves(workload, file, found.line)
    check_fields(workload, file, list(leaves))
    kinds = {name: _kind(value) for name, value in leaves.items()}
    return Layout("jsonl", "", list(leaves), kinds, found.line_end, found.tail, compression_of(file), found.content)


_JSON_TYPES = {"string": pa.string(), "whole": pa.int64(), "float": pa.float64(), "ids": pa.list_(pa.int64())}


def _json_schema(found: Layout) -> pa.Schema:
    tree: dict[str, Any] = {}
    for name in found.fields:
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = _JSON_TYPES.get(found.kinds[name], pa.null())

    def fields(node: dict[str, Any]) -> list[pa.Field]:
        return [pa.field(k, pa.struct(fields(v)) if isinstance(v, dict) else v) for k, v in node.items()]

    return pa.schema(fields(tree))


def read_batches(reading: Reading) -> Iterator[pa.RecordBatch]:
    """Rows with a column a leaf. Raises BadUpstream that names the first bad line."""
    options = pyarrow.json.ParseOptions(explicit_schema=_json_schema(reading.layout), unexpected_field_behavior="error")
    # Arrow reads 32 blocks ahead, if the source is as quick as unpacking is: of a member, smaller ones.
    blocks = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES // 4 if reading.file.container else BLOCK_BYTES)
    try:
        with pyarrow.json.open_json(reading.stream, read_options=blocks, parse_options=options) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                while any(pa.types.is_struct(column.type) for column in table.schema):
                    table = table.flatten()
                yield from table.to_batches()
    except pa.ArrowInvalid as error:
        raise _first_bad_line(reading.workload, reading.file, reading.path, reading.layout, str(error)) from None


def write(found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
    """The file's bytes from the text of its leaves, as Python's json.dumps writes them."""
    literals = list(_literals(found.fields))
    for columns, last in spelled:
        parts: list[Any] = []
        for name, literal in zip(found.fields, literals, strict=True):
            text = columns[name]
            parts += [literal, _json_text(text) if found.kinds[name] == "string" else text]
        yield joined(pc.binary_join_element_wise(*parts, _closing(found.fields[-1]), ""), found, last)
    yield found.tail.encode()


def _json_text(text: pa.Array) -> pa.Array:
    # Python's json.dumps escapes all that is not printable ASCII; such values are rare, so row by row.
    special = pc.match_substring_regex(text, r"[^ !#-\[\]-~]")
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    if not pc.any(special).as_py():
        return quoted
    escaped = pa.array([json.dumps(value) for value in text.filter(special).to_pylist()], pa.string())
    return pc.replace_with_mask(quoted, special, escaped)


def _literals(fields: list[str]) -> Iterator[str]:
    """What stands before each leaf's value in a record: braces, keys, commas."""
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


def _closing(last: str) -> str:
    return "}" * (last.count(".") + 1)


def _leaves(workload: Workload, file: UpstreamFile, line: str) -> dict[str, Any]:
    def walk(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, each in value.items():
            if isinstance(each, dict):
                yield from walk(each, f"{path}{key}.")
            else:
                yield path + key, each

    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadUpstream(
            str(workload),
            f"{file.name} is not JSON Lines",
            expected="a JSON object on line 1",
            got=repr(line[:80]),
            next=compare(file),
        )
    return dict(walk(value, ""))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "ids"
    if isinstance(value, bool) or value is None:
        return "other"
    return {str: "string", int: "whole", float: "float"}[type(value)]


def _first_bad_line(workload: Workload, file: UpstreamFile, path: Path, found: Layout, reason: str) -> BadUpstream:
    """Arrow doesn't say which line it could not read: look for it, now that there is one."""
    message = f"{file.name} can't be read as JSON Lines"
    for number, raw in enumerate(lines(workload, file, path), 1):
        if not raw.strip():
            continue
        try:
            leaves = _leaves(workload, file, raw.decode("utf-8"))
        except (BadUpstream, UnicodeDecodeError):
            cut = "" if raw.endswith(b"\n") else "  (the file ends within it)"
            return BadUpstream(
                str(workload), message, line=f"{number:,}{cut}", expected="a JSON object",
                got=repr(raw[:80].decode("utf-8", "replace")), next=compare(file),
            )  # fmt: skip
        if list(leaves) != found.fields:
            return BadUpstream(
                str(workload), message, line=f"{number:,}", expected="keys " + ", ".join(found.fields),
                got="keys " + ", ".join(leaves), next=compare(file),
            )  # fmt: skip
        for name, value in leaves.items():
            ids_are_bad = isinstance(value, list) and not all(type(each) is int for each in value)
            if _kind(value) != found.kinds[name] or ids_are_bad or value != value:
                return BadUpstream(
                    str(workload), message, line=f"{number:,}, key '{name}'",
                    expected={"whole": "a whole number", "float": "a number with decimals", "string": "a text",
                              "ids": "a list of whole numbers"}.get(found.kinds[name], "null"),
                    got=repr(value)[:80], next=compare(file),
                )  # fmt: skip
    return BadUpstream(str(workload), message, reason=reason[:300], next=compare(file))
