"""The inverse of parse and canonicalise: a workload's Parquet file to its upstream files, byte for byte."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .archive import Archive
from .errors import BadUpstream, BadUse, Problem
from .parse import Layout
from .recipe import UpstreamFile, Workload
from .transforms import transforms_for
from .write import metadata

ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Held:
    """What a Parquet file knows of one upstream file it was built from."""

    name: str
    rows: int
    layout: Layout


def held_files(path: Path) -> list[Held]:
    """The upstream files a Parquet file was built from, in order. Raises Problem if it is not one of ours."""
    try:
        files = metadata(path).get("files")
        if files:
            return [Held(each["name"], each["rows"], Layout(**each["layout"])) for each in files]
        reason = "it does not say what it was built from"
    except (OSError, pa.ArrowInvalid, ValueError, TypeError, KeyError) as error:
        reason = str(error)[:200]
    raise Problem(
        path.name, "is not a Parquet file of this archive", reason=reason, next="build it again: llm-traces build"
    )


def restored(workload: Workload, path: Path) -> Iterator[tuple[UpstreamFile, Iterator[bytes]]]:
    """Each upstream file of the workload with its bytes in pieces; the pieces must be read in order."""
    files = {file.name: file for file in workload.files}
    start = 0
    for held in held_files(path):
        if held.name not in files:
            raise Problem(
                str(workload),
                f"was built from {held.name}, which recipes/{workload.trace}.toml no longer names",
                next=f"llm-traces build {workload}",
            )
        yield files[held.name], _pieces(workload, files[held.name], held, path, start)
        start += held.rows


def _pieces(workload: Workload, file: UpstreamFile, held: Held, path: Path, start: int) -> Iterator[bytes]:
    found = held.layout
    end = found.line_end.encode()
    left = held.rows
    first = True
    if found.format == "csv":
        yield found.header.encode() + (end if left else b"")
    for batch in _rows(path, start, held.rows):
        lines = _lines(workload, file, found, batch)
        # Every line gets its end before it, except the first: the last one's is the tail's matter.
        text = pc.binary_join_element_wise(lines, found.line_end, "") if left > batch.num_rows else _all_but_last(
            lines, found.line_end)  # fmt: skip
        yield _bytes(text)
        left -= batch.num_rows
        first = False
    if left or (first and held.rows):
        raise Problem(str(workload), f"{path.name} holds fewer rows than it says", missing=f"{left:,} rows")
    yield found.tail.encode()


def _all_but_last(lines: pa.Array, line_end: str) -> pa.Array:
    ends = pa.array([line_end]).take(pa.nulls(len(lines) - 1, pa.int8()).fill_null(0))
    return pc.binary_join_element_wise(lines, pa.concat_arrays([ends, pa.array([""])]), "")


def _rows(path: Path, start: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Rows [start, start + rows) of a Parquet file, from the row groups that hold them."""
    with pq.ParquetFile(path) as file:
        groups: list[int] = []
        before = skip = 0
        for index in range(file.num_row_groups):
            size = file.metadata.row_group(index).num_rows
            if before + size > start and before < start + rows:
                if not groups:
                    skip = start - before
                groups.append(index)
            before += size
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=groups) if groups else ():
            if skip:
                cut = min(skip, batch.num_rows)
                batch, skip = batch.slice(cut), skip - cut
            batch = batch.slice(0, rows)
            rows -= batch.num_rows
            if batch.num_rows:
                yield batch


def _lines(workload: Workload, file: UpstreamFile, found: Layout, batch: pa.RecordBatch) -> pa.Array:
    """The batch's records as upstream writes them, without line ends."""
    types = {field.name: field.type for field in batch.schema}
    columns = {name: batch.column(name) for name in batch.schema.names}
    rules = [rule for rule in file.rules if rule.restores]
    spelled = {
        transform.rule.source: transform.spell(columns, found.spelling.get(str(transform.rule.source)))
        for transform in transforms_for(rules, types, workload.properties.get("epoch"))
    }
    if found.format == "csv":
        texts = [_csv_field(spelled[name]) for name in found.fields]
        return pc.binary_join_element_wise(*texts, ",") if len(texts) > 1 else texts[0]
    quoted = {name: _json_text(text) if found.kinds[str(name)] == "string" else text for name, text in spelled.items()}
    parts: list[Any] = []
    for name, literal in zip(found.fields, _literals(found.fields), strict=False):
        parts += [literal, quoted[name]]
    return pc.binary_join_element_wise(*parts, _closing(found.fields[-1]), "")


def _csv_field(text: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(text, '[",\r\n]')
    if not pc.any(special).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(special, quoted, text)


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


def _bytes(text: pa.Array) -> bytes:
    """All strings of an array one after another, without a copy per row."""
    if len(text) == 0:
        return b""
    offsets = pa.Array.from_buffers(pa.int32(), len(text) + 1, [None, text.buffers()[1]], offset=text.offset)
    data: bytes = text.buffers()[2].slice(offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py()).to_pybytes()
    return data


def prove(workload: Workload, path: Path, originals: dict[str, Path]) -> None:
    """Restore every upstream file of a workload and compare its sha256 with the original's.

    originals maps a file's name to its verified bytes. Raises BadUpstream that shows the first line that differs.
    """
    for file, pieces in restored(workload, path):
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        with originals[file.name].open("rb") as stream:
            if hashed.hexdigest() == hashlib.file_digest(stream, "sha256").hexdigest():
                continue
        line, expected, got = _first_difference(workload, path, file, originals[file.name])
        raise BadUpstream(
            str(workload),
            f"{file.name} would not come back as it was",
            where=f"line {line:,}",
            expected=expected,
            got=got,
            next=f"the spelling is one recipes/{workload.trace}.toml does not tell; nothing was built",
        )


def _first_difference(workload: Workload, path: Path, file: UpstreamFile, original: Path) -> tuple[int, str, str]:
    """Line number, the upstream's line, ours: only reached when the whole differs."""
    pieces = next(pieces for each, pieces in restored(workload, path) if each.name == file.name)
    with original.open("rb") as theirs:
        pairs = itertools.zip_longest(theirs, _whole_lines(pieces), fillvalue=b"")
        for number, (their, our) in enumerate(pairs, 1):
            if their != our:
                return number, repr(their)[1:160], repr(our)[1:160]
    raise AssertionError("the files are the same")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            lines, rest = [*lines, rest], b""
        yield from lines
    if rest:
        yield rest


def restore_to(archive: Archive, workload: Workload, output: Path) -> Iterator[tuple[Path, UpstreamFile, str]]:
    """Write a workload's upstream files again: (path, file, sha256) of each, once it is complete.

    output is the file, or, for a workload of several files, the folder. Raises Problem if the content is not here or a
    sha256 is not the pin; what was written is then kept beside `output` under another name, and `output` is untouched.
    """
    source = archive.root / workload.path
    if not source.exists():
        raise BadUse(
            str(workload), "its content is not here", expected=workload.path, next=f"llm-traces get {workload}"
        )
    several = len(workload.files) > 1
    for file, pieces in restored(workload, source):
        path = output / file.name if several else output
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hashed = hashlib.sha256()
            with part.open("wb") as stream:
                for piece in pieces:
                    hashed.update(piece)
                    stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BadUse(str(path), f"can't be written: {error.strerror or error}", next="give another -o") from None
        digest = hashed.hexdigest()
        if file.sha256 not in (None, digest):
            wrong = path.with_name(f"{path.name}.wrong")
            part.replace(wrong)
            raise BadUpstream(
                str(workload),
                f"what was restored is not {file.name}",
                expected=f"sha256 {file.sha256}",
                got=f"sha256 {digest}",
                kept_at=str(wrong),
                next=f"llm-traces build {workload}",
            )
        part.replace(path)
        yield path, file, digest
