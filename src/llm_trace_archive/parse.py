"""Upstream files to Arrow batches, by column name, and what of their layout a restoration needs.

CSV fields stay text, so that nothing of their spelling is lost before it is understood. JSON Lines come with JSON's own
types; a nested object's fields are named by their path, such as `hash_ids.history`.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from .errors import BadUpstream
from .recipe import UpstreamFile, Workload

BLOCK_BYTES = 8 << 20  # fixed: the boundaries of batches must not depend on the machine
EDGE_BYTES = 1 << 20  # a header or a first line longer than this is not one of ours

Progress = Callable[[int], None]


@dataclass
class Layout:
    """How an upstream file is written, apart from its values.

    header    CSV: the header line. JSON Lines: empty
    fields    names in their order; in JSON the paths of the leaves
    kinds     JSON: the type of each leaf ("string", "number", "ids"); CSV: empty
    line_end  between records
    tail      what follows the last record
    spelling  how the numbers of a field are spelled, learnt while reading
    """

    format: str
    header: str
    fields: list[str]
    kinds: dict[str, str]
    line_end: str
    tail: str
    spelling: dict[str, str] = field(default_factory=dict)


def layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Read the layout off the first and the last bytes, and check the fields against the recipe.

    Raises BadUpstream that names the fields that are missing, unknown or, as it seems, renamed.
    """
    with path.open("rb") as stream:
        head = stream.read(EDGE_BYTES)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - 4096))
        end = stream.read()
    first, newline, _ = head.partition(b"\n")
    if not first.strip():
        raise BadUpstream(str(workload), f"{file.name} has no first line", next=_next(file))
    line_end = "\r\n" if first.endswith(b"\r") else "\n"
    tail = end[len(end.rstrip(b"\r\n")) :].decode()
    try:
        line = first.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise BadUpstream(str(workload), f"{file.name} is not UTF-8 text", next=_next(file)) from None
    if workload.format == "csv":
        found = Layout("csv", line, next(csv.reader([line])), {}, line_end if newline else "\n", tail)
    else:
        leaves = _leaves(workload, file, line)
        found = Layout(
            "jsonl", "", list(leaves), {name: _kind(value) for name, value in leaves.items()}, line_end, tail
        )
    _check_fields(workload, file, found.fields)
    return found


def batches(
    workload: Workload, file: UpstreamFile, path: Path, found: Layout, on_bytes: Progress | None = None
) -> Iterator[pa.RecordBatch]:
    """The file's rows in order, a block at a time; columns are the upstream's fields. Raises BadUpstream."""
    reader = _csv_batches if workload.format == "csv" else _json_batches
    with pa.OSFile(str(path)) as stream:
        for batch in reader(workload, file, path, found, stream):
            if on_bytes:
                on_bytes(stream.tell())
            if batch.num_rows:
                yield batch


def _check_fields(workload: Workload, file: UpstreamFile, fields: list[str]) -> None:
    missing = sorted(file.fields - set(fields))
    unknown = sorted(set(fields) - file.fields)
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if not (missing or unknown or twice):
        return
    renamed = [
        f"'{near}' may be '{name}' renamed"
        for name in missing
        for near in difflib.get_close_matches(name, unknown, n=1, cutoff=0.5)
    ]
    raise BadUpstream(
        str(workload),
        f"the columns of {file.name} are not those of recipes/{workload.trace}.toml",
        missing=", ".join(missing),
        unknown=", ".join(unknown)[:500],
        twice=", ".join(twice),
        hint="; ".join(renamed),
        next=f"if the upstream changed, mend [columns] in recipes/{workload.trace}.toml; nothing was built",
    )


def _next(file: UpstreamFile) -> str:
    return f"compare the file with its source {file.url}; nothing was built"


def _csv_batches(
    workload: Workload, file: UpstreamFile, path: Path, found: Layout, stream: pa.NativeFile
) -> Iterator[pa.RecordBatch]:
    def refuse(row: Any) -> str:
        refused.append((row.actual_columns, row.text))
        return "error"

    refused: list[tuple[int, str]] = []
    try:
        with pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(found.fields, pa.string()), strings_can_be_null=False
            ),
        ) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        if refused:
            columns, text = refused[0]
            raise BadUpstream(
                str(workload),
                f"{file.name} has a row of another length",
                line=f"{_line_of(path, text):,}: {text if len(text) < 120 else text[:117] + '...'}",
                expected=f"{len(found.fields)} columns",
                got=f"{columns} columns",
                next=_next(file),
            ) from None
        raise BadUpstream(
            str(workload), f"{file.name} can't be read as CSV", reason=str(error)[:300], next=_next(file)
        ) from None


def _line_of(path: Path, text: str) -> int:
    """The first line with that text, counted from 1; 0 if a quoted field spreads it over several."""
    with path.open("rb") as stream:
        wanted = text.encode()
        return next((number for number, line in enumerate(stream, 1) if line.rstrip(b"\r\n") == wanted), 0)


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
            next=_next(file),
        )
    return dict(walk(value, ""))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "ids"
    if isinstance(value, bool) or value is None:
        return "other"
    return {str: "string", int: "whole", float: "float"}[type(value)]


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


def _json_batches(
    workload: Workload, file: UpstreamFile, path: Path, found: Layout, stream: pa.NativeFile
) -> Iterator[pa.RecordBatch]:
    options = pyarrow.json.ParseOptions(explicit_schema=_json_schema(found), unexpected_field_behavior="error")
    try:
        with pyarrow.json.open_json(
            stream, read_options=pyarrow.json.ReadOptions(block_size=BLOCK_BYTES), parse_options=options
        ) as reader:
            for batch in reader:
                table = pa.Table.from_batches([batch])
                while any(pa.types.is_struct(column.type) for column in table.schema):
                    table = table.flatten()
                yield from table.to_batches()
    except pa.ArrowInvalid as error:
        raise _first_bad_line(workload, file, path, found, str(error)) from None


def _first_bad_line(workload: Workload, file: UpstreamFile, path: Path, found: Layout, reason: str) -> BadUpstream:
    """Arrow doesn't say which line it could not read: look for it, now that there is one."""
    message = f"{file.name} can't be read as JSON Lines"
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            if not raw.strip():
                continue
            try:
                leaves = _leaves(workload, file, raw.decode("utf-8"))
            except (BadUpstream, UnicodeDecodeError):
                cut = "" if raw.endswith(b"\n") else "  (the file ends within it)"
                return BadUpstream(
                    str(workload), message, line=f"{number:,}{cut}", expected="a JSON object",
                    got=repr(raw[:80].decode("utf-8", "replace")), next=_next(file),
                )  # fmt: skip
            if list(leaves) != found.fields:
                return BadUpstream(
                    str(workload), message, line=f"{number:,}", expected="keys " + ", ".join(found.fields),
                    got="keys " + ", ".join(leaves), next=_next(file),
                )  # fmt: skip
            for name, value in leaves.items():
                ids_are_bad = isinstance(value, list) and not all(type(each) is int for each in value)
                if _kind(value) != found.kinds[name] or ids_are_bad or value != value:
                    return BadUpstream(
                        str(workload), message, line=f"{number:,}, key '{name}'",
                        expected={"whole": "a whole number", "float": "a number with decimals", "string": "a text",
                                  "ids": "a list of whole numbers"}.get(found.kinds[name], "null"),
                        got=repr(value)[:80], next=_next(file),
                    )  # fmt: skip
    return BadUpstream(str(workload), message, reason=reason[:300], next=_next(file))
