"""The proof of a table: its upstream files, restored, have the bytes of the originals.

A file is written in one style, which the recipe and the first lines give. Lines in another style are no reason to
refuse it, as long as they are few and mean the same: they are returned as odd lines, to be kept as they are.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..core.errors import BadUpstream
from ..core.files import hash_file
from ..core.recipe import UpstreamFile, Workload
from ..core.table import Table
from .canonicalise import Canonicaliser
from .formats.layout import Layout, OpenFile
from .formats.registry import FORMATS
from .formats.text import lines
from .parquet import read_parts
from .read import FileRows
from .restore import RestoredFile, restore_files

# Of the odd lines of a file, which stand in the footer of the Parquet file: at most so many bytes, and so large a share
# of the lines unless they are few.
ODD_BYTES = 1 << 18
ODD_SHARE = 0.01
FEW = 100

OddLines = dict[str, dict[str, str]]


def prove(workload: Workload, table_schema: Mapping[str, Any], table: Table, originals: Mapping[str, Path]) -> OddLines:
    """Restore every upstream file from the table and compare its sha256 with the original's.

    originals maps a file's name to its verified bytes. Returns the lines that would be restored in another style, by
    file and by number from 0: none, if the proof holds. Raises BadUpstream that shows the first line that differs if
    they are too many, or mean something else.
    """
    odd: OddLines = {}
    for restored, pieces in restore_files(workload, table):
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        original = originals[restored.file.container or restored.file.name]
        is_inside = restored.compression or restored.file.container
        if hashed.hexdigest() != (restored.sha256 if is_inside else hash_file(original)[0]):
            odd[restored.file.name] = _odd_lines(workload, table_schema, table, restored, original)
    return odd


def _odd_lines(
    workload: Workload, table_schema: Mapping[str, Any], table: Table, wanted: RestoredFile, original: Path
) -> dict[str, str]:
    theirs, ours = {}, {}
    count = size = 0
    for number, their, our in _pairs(workload, table, wanted, original):
        count = number + 1
        if their != our:
            theirs[number], ours[number] = their, our
            size += len(their)
            if not (their and our) or size > ODD_BYTES:
                break
    number = next(iter(theirs))
    limit = max(FEW, int(ODD_SHARE * count))
    if (
        wanted.file.name.endswith((".csv", ".csv.gz", ".jsonl"))
        and all(ours.values())
        and all(theirs.values())
        and number > 0
        and size <= ODD_BYTES
        and len(theirs) <= limit
        and _mean_the_same(workload, table_schema, table, wanted.file, list(theirs.values()), list(ours.values()))
    ):
        return {str(number): line.decode() for number, line in theirs.items()}
    their, our = theirs[number], ours[number]
    # A line may be as long as its file: show where the two start to differ.
    same = next(n for n, (a, b) in enumerate(itertools.zip_longest(their, our)) if a != b)
    start = same - 60 if same > 120 else 0
    raise BadUpstream(
        str(workload),
        f"{wanted.name} can't be restored byte for byte",
        where=f"line {number + 1:,}" + (f", the first of at least {len(theirs):,}" if len(theirs) > 1 else ""),
        expected=repr(their[start:])[1:160],
        got=repr(our[start:])[1:160],
        reason=f"recipes/{workload.trace}.toml does not describe this formatting; nothing was built",
    )


def _pairs(
    workload: Workload, table: Table, wanted: RestoredFile, original: Path
) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number from 0, the upstream's line and ours; where one has fewer, nothing."""
    for restored, pieces in restore_files(workload, table):
        if restored.file.name != wanted.file.name:
            for _ in pieces:  # the files share one pass over the rows
                pass
            continue
        both = itertools.zip_longest(lines(workload, restored.file, original), _whole_lines(pieces), fillvalue=b"")
        yield from ((number, their, our) for number, (their, our) in enumerate(both))


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _mean_the_same(
    workload: Workload,
    table_schema: Mapping[str, Any],
    table: Table,
    file: UpstreamFile,
    theirs: list[bytes],
    ours: list[bytes],
) -> bool:
    """Return whether two spellings of the same lines give the same rows."""
    layout = next(part.layout for part in read_parts(table) if part.name == file.name)
    try:
        return bool(
            _rows(workload, table_schema, file, layout, theirs) == _rows(workload, table_schema, file, layout, ours)
        )
    except BadUpstream:
        return False


def _rows(
    workload: Workload, table_schema: Mapping[str, Any], file: UpstreamFile, layout: Layout, odd: list[bytes]
) -> pa.Table:
    header = f"{layout.header}{layout.line_end}".encode() if layout.header else b""
    plain = replace(file, name=f"lines.{layout.format}", container=None)
    layout = replace(layout, compression="", spelling={}, odd_lines={})
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / plain.name
        copy.write_bytes(header + b"".join(odd))
        with pa.OSFile(str(copy)) as stream:
            batches = FORMATS[layout.format].read_batches(OpenFile(workload, plain, copy, layout, stream, {}))
            converted = Canonicaliser(workload, table_schema).convert(FileRows(plain, layout, batches))
            return pa.Table.from_batches(converted)
