"""The way from upstream files to a workload's Parquet file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.recipe import Workload
from ..core.table import Table
from .ahead import ahead
from .canonicalise import Canonicaliser
from .parquet import ParquetSink, Part
from .prove import OddLines, prove
from .read import read_files


def list_facts(workload: Workload) -> dict[str, str]:
    """Return what a workload's file says of itself."""
    return workload.facts() | {"recipe_digest": workload.digest}


def write_proven_table(
    workload: Workload,
    table_schema: Mapping[str, Any],
    originals: Mapping[str, Path],
    target: Path,
    stop: threading.Event | None = None,
) -> dict[str, list[str]]:
    """Write a workload's Parquet file to `target`, and prove that it restores its upstream files if it is to.

    originals maps the name of each upstream file to its verified bytes. Returns the members of each archive that the
    recipe does not name, and which are not in the table. Raises BadUpstream and KeyboardInterrupt as
    `write_table` does, and BadUpstream if a file can't be restored.
    """
    odd_lines: OddLines = {}
    for _ in range(2):
        left_out = write_table(workload, table_schema, originals, target, stop, odd_lines)
        if not workload.restores:
            return left_out
        with Table(target) as table:
            odd_lines = prove(workload, table_schema, table, originals)
        if not odd_lines:
            return left_out
    raise AssertionError(f"{workload}: odd lines that were kept differ still")


def write_table(
    workload: Workload,
    table_schema: Mapping[str, Any],
    originals: Mapping[str, Path],
    target: Path,
    stop: threading.Event | None = None,
    odd_lines: OddLines | None = None,
) -> dict[str, list[str]]:
    """Write a workload's Parquet file to `target`; originals maps the name of each upstream file to its verified bytes.

    odd_lines  lines to be kept as they are, by file

    Returns the members of each archive that the recipe does not name. Raises BadUpstream for files that can't be read
    or converted, and KeyboardInterrupt once `stop` is set.
    """
    canonicaliser = Canonicaliser(workload, table_schema)
    left_out: dict[str, list[str]] = {}
    with ParquetSink(target, canonicaliser.schema, list_facts(workload)) as sink:
        for each in read_files(workload, originals, left_out):
            start = canonicaliser.rows
            for batch in ahead(canonicaliser.convert(each)):
                if stop and stop.is_set():
                    raise KeyboardInterrupt
                sink.write(batch)
            each.layout.odd_lines = (odd_lines or {}).get(each.file.name, {})
            sink.parts.append(Part(each.file.name, canonicaliser.rows - start, each.layout))
    return left_out
