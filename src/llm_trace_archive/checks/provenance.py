"""Provenance: the upstream files that a table restores have the hashes its recipe pins."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..convert.restore import restore_files
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.table import Table
from .result import Result


def check_provenance(workload: Workload, table: Table) -> Iterator[Result]:
    """Restore every upstream file and compare its hash with the pin, if the workload restores. Raises Problem."""
    if not workload.restores:
        return
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "restored"
        for restored, pieces in restore_files(workload, table):
            with written.open("wb") as stream:
                stream.writelines(pieces)
            kind, pinned = restored.pin or ("sha256", "a pin")
            name = f"{restored.name}, restored"
            yield Result("provenance", name, pinned, 0, hash_file(written, kind)[0], f"recipes/{workload.trace}.toml")
