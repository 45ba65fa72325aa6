"""The way from upstream files to a workload's Parquet file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.recipe import Workload
from .canonicalise import Canonicaliser
from .parquet import ParquetSink, Part
from .read import read_files


def write_table(
    workload: Workload,
    table_schema: Mapping[str, Any],
    originals: Mapping[str, Path],
    target: Path,
    stop: threading.Event | None = None,
) -> None:
    """Write a workload's Parquet file to `target`; originals maps the name of each upstream file to its verified bytes.

    Raises BadUpstream for files that can't be read or converted, and KeyboardInterrupt once `stop` is set.
    """
    canonicaliser = Canonicaliser(workload, table_schema)
    facts = workload.facts() | {"recipe_digest": workload.digest}
    with ParquetSink(target, canonicaliser.schema, facts) as sink:
        for each in read_files(workload, originals):
            start = canonicaliser.rows
            for batch in canonicaliser.convert(each):
                if stop and stop.is_set():
                    raise KeyboardInterrupt
                sink.write(batch)
            sink.parts.append(Part(each.file.name, canonicaliser.rows - start, each.layout))
