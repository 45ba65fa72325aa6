"""Which module reads and writes which format, and an upstream file as batches of rows."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ...core.errors import BadUpstream, BadUse
from ...core.recipe import UpstreamFile, Workload
from . import conversations, csv, jsonl, tar, weka
from .layout import EDGE_BYTES, Layout, Reading, Spelled, compare, content, edges_of, tail_of

__all__ = ["Layout", "Opened", "Spelled", "batches", "layout", "opened", "tools", "write"]


class Format(Protocol):
    """What a module of this package offers."""

    def read_layout(self, workload: Workload, file: UpstreamFile, path: Path) -> Layout:
        """The layout of a file; raises BadUpstream if its fields are not the recipe's."""

    def read_batches(self, reading: Reading) -> Iterator[pa.RecordBatch]:
        """Rows in order, a block at a time; columns are the upstream's fields. Raises BadUpstream."""

    def write(self, found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
        """The file's bytes again."""


FORMATS: dict[str, Format] = {"conversations": conversations, "csv": csv, "jsonl": jsonl, "weka": weka}
# The Python package that only this format needs.
NEEDS = {"conversations": "tokenizers"}


def tools(workload: Workload) -> dict[str, str]:
    """Versions of the Python packages that only the workload's format needs. Raises BadUse if one is not installed."""
    if workload.format not in NEEDS:
        return {}
    package = NEEDS[workload.format]
    try:
        return {package: importlib.metadata.version(package)}
    except importlib.metadata.PackageNotFoundError:
        raise BadUse(
            str(workload),
            f"needs the Python package {package}, which is not installed",
            next=f"pip install {package}",
        ) from None


def layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """How the file is written. Raises BadUpstream if it is not of the workload's format, or its fields are others."""
    return FORMATS[workload.format].read_layout(workload, file, path)


def batches(
    workload: Workload, file: UpstreamFile, path: Path, found: Layout, helpers: Mapping[str, Path] | None = None
) -> Iterator[pa.RecordBatch]:
    """The file's rows in order, a block at a time; columns are the upstream's fields. Raises BadUpstream.

    helpers maps a role to the workload's verified file of that role, such as its tokenizer.
    """
    with content(path, found.compression) as stream:
        reading = Reading(workload, file, path, found, stream, helpers or {})
        for batch in FORMATS[workload.format].read_batches(reading):
            if batch.num_rows:
                yield batch


@dataclass
class Opened:
    """An upstream file, or a member of one, that is being read: read its `batches` before the next file is opened.

    The layout is complete when the batches are done.
    """

    file: UpstreamFile
    layout: Layout
    batches: Iterator[pa.RecordBatch]


def opened(workload: Workload, originals: Mapping[str, Path]) -> Iterator[Opened]:
    """Every file of rows in order, each archive in one pass; originals maps a file's name to its verified bytes.

    Raises BadUpstream as `layout` and `batches` do, for a bad archive, and for one without a member that is wanted.
    """
    helpers = {file.role: originals[file.name] for file in workload.files if file.role}
    for file in workload.tables:
        path = originals[file.name]
        if file.members:
            yield from _members(workload, file, path)
        else:
            found = layout(workload, file, path)
            yield Opened(file, found, batches(workload, file, path, found, helpers))


def _members(workload: Workload, file: UpstreamFile, path: Path) -> Iterator[Opened]:
    held, others = 0, []
    for stream in tar.members(workload, file, path):
        member = file.member(stream.name)
        if member is None:
            others.append(stream.name)
            continue
        found = jsonl.layout_of(workload, member, edges_of(workload, member, stream.head(EDGE_BYTES), b"", ""))
        held += 1
        yield Opened(member, found, _rows(workload, member, path, found, stream))
    if not held:
        raise BadUpstream(
            str(workload),
            f"{file.name} holds no member that is wanted",
            expected=" or ".join(file.members),
            got=", ".join(others)[:500] or "nothing",
            next=compare(file),
        )


def _rows(
    workload: Workload, member: UpstreamFile, path: Path, found: Layout, stream: tar.Member
) -> Iterator[pa.RecordBatch]:
    for batch in jsonl.read_batches(Reading(workload, member, path, found, pa.PythonFile(stream), {})):
        if batch.num_rows:
            yield batch
    found.tail, found.content = tail_of(stream.end), stream.sha256


def write(found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
    """The bytes of a file of that layout, in pieces, from the text of its fields."""
    return FORMATS[found.format].write(found, spelled)
