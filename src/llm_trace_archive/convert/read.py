"""The upstream files of a workload as batches of their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ..core.recipe import UpstreamFile, Workload
from .formats import jsonl, tar
from .formats.layout import Layout, OpenFile, file_error
from .formats.registry import FORMATS
from .formats.text import HEAD_BYTES, edges_of, open_content, tail_of


@dataclass
class FileRows:
    """The rows of an upstream file, or of a member of one; the layout is complete once the batches are read."""

    file: UpstreamFile
    layout: Layout
    batches: Iterator[pa.RecordBatch]


def read_files(workload: Workload, originals: Mapping[str, Path], left_out: dict[str, list[str]]) -> Iterator[FileRows]:
    """Yield every file of rows in order, each archive in one pass; read its batches before asking for the next file.

    originals maps a file's name to its verified bytes. Members of archives that the recipe does not name are added to
    `left_out`, by archive. Raises BadUpstream, also for an archive without a member that
    the recipe names.
    """
    helpers = {file.role: originals[file.name] for file in workload.files if file.role}
    for file in workload.tables:
        path = originals[file.name]
        if file.members:
            others = left_out[file.name] = []
            yield from _read_members(workload, file, path, others)
        else:
            layout = FORMATS[workload.format].read_layout(workload, file, path)
            yield FileRows(file, layout, _read_file(workload, file, path, layout, helpers))


def _read_file(
    workload: Workload, file: UpstreamFile, path: Path, layout: Layout, helpers: Mapping[str, Path]
) -> Iterator[pa.RecordBatch]:
    with open_content(path, layout.compression) as stream:
        yield from FORMATS[workload.format].read_batches(OpenFile(workload, file, path, layout, stream, helpers))


def _read_members(workload: Workload, file: UpstreamFile, path: Path, others: list[str]) -> Iterator[FileRows]:
    found = False
    for stream in tar.members(workload, file, path):
        member = file.member(stream.name)
        if member is None:
            others.append(stream.name)
            continue
        found = True
        layout = jsonl.layout_of(workload, member, edges_of(workload, member, stream.peek(HEAD_BYTES)))
        yield FileRows(member, layout, _read_member(workload, member, path, layout, stream))
    if not found:
        expected, got = " or ".join(file.members), ", ".join(others)[:500] or "nothing"
        raise file_error(workload, file, "has no member that the recipe names", expected=expected, got=got)


def _read_member(
    workload: Workload, member: UpstreamFile, path: Path, layout: Layout, stream: tar.Member
) -> Iterator[pa.RecordBatch]:
    yield from jsonl.read_batches(OpenFile(workload, member, path, layout, pa.PythonFile(stream), {}))
    layout.tail, layout.content = tail_of(stream.end), stream.sha256
