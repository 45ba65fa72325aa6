"""Upstream formats: one file a format, reading and writing side by side.

A format reads a file's `Layout`, then its rows as batches of upstream fields, and writes the file's bytes again from
the layout and the text of those fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ..recipe import UpstreamFile, Workload
from . import csv, jsonl
from .layout import Layout, Spelled, content

__all__ = ["Layout", "Spelled", "batches", "layout", "write"]


class Format(Protocol):
    """What a module of this package offers."""

    def read_layout(self, workload: Workload, file: UpstreamFile, path: Path) -> Layout:
        """The layout of a file; raises BadUpstream if its fields are not the recipe's."""

    def read_batches(
        self, workload: Workload, file: UpstreamFile, path: Path, found: Layout, stream: pa.NativeFile
    ) -> Iterator[pa.RecordBatch]:
        """Rows in order, a block at a time; columns are the upstream's fields. Raises BadUpstream."""

    def write(self, found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
        """The file's bytes again."""


FORMATS: dict[str, Format] = {"csv": csv, "jsonl": jsonl}


def layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """How the file is written. Raises BadUpstream if it is not of the workload's format, or its fields are others."""
    return FORMATS[workload.format].read_layout(workload, file, path)


def batches(workload: Workload, file: UpstreamFile, path: Path, found: Layout) -> Iterator[pa.RecordBatch]:
    """The file's rows in order, a block at a time; columns are the upstream's fields. Raises BadUpstream."""
    with content(path, found.compression) as stream:
        for batch in FORMATS[workload.format].read_batches(workload, file, path, found, stream):
            if batch.num_rows:
                yield batch


def write(found: Layout, spelled: Iterator[Spelled]) -> Iterator[bytes]:
    """The bytes of a file of that layout, in pieces, from the text of its fields."""
    return FORMATS[found.format].write(found, spelled)
