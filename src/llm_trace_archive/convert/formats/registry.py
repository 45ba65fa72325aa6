"""Which module reads and writes which format."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ...core.errors import BadUse
from ...core.extras import require
from ...core.recipe import UpstreamFile, Workload
from . import conversations, copilot, csv, jsonl, records, weka
from .layout import FieldTexts, Layout, OpenFile


class Format(Protocol):
    """What the module of a format offers."""

    def read_layout(self, workload: Workload, file: UpstreamFile, path: Path) -> Layout:
        """Return the layout of a file. Raises BadUpstream if it has another format, or not the recipe's fields."""

    def read_batches(self, source: OpenFile) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, a block at a time; the columns are the upstream's fields. Raises BadUpstream."""

    def write(self, layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
        """Yield the file's bytes again, in pieces, from the text of its fields."""


FORMATS: dict[str, Format] = {
    "conversations": conversations,
    "copilot": copilot,
    "csv": csv,
    "jsonl": jsonl,
    "records": records,
    "weka": weka,
    "weka-session-times": weka,
}
# The Python package that only this format needs, and the extra that installs it.
_PACKAGES = {"conversations": ("tokenizers", "lmsys")}


def packages(workload: Workload) -> tuple[str, ...]:
    """Return the names of the Python packages that only the workload's format needs."""
    return _PACKAGES[workload.format][:1] if workload.format in _PACKAGES else ()


def package_versions(workload: Workload) -> dict[str, str]:
    """Return the versions of the Python packages that only the workload's format needs. Raises BadUse without them."""
    if workload.format not in _PACKAGES:
        return {}
    package, extra = _PACKAGES[workload.format]
    try:
        require(package, extra, str(workload))
    except BadUse as missing:
        raise BadUse(str(workload), f"the Python package {package} is not installed", **missing.details) from None
    return {package: importlib.metadata.version(package)}
