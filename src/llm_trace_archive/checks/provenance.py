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


def provenance(workload: Workload, table: Table) -> Iterator[Result]:
    """Restore every upstream file and compare its hash with the pin; nothing for a workload that can't be restored.

    Raises Problem as restoring does.
    """
    if not workload.restores:
        return
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "restored"
        for each, pieces in restore_files(workload, table.path):
            with written.open("wb") as stream:
                stream.writelines(pieces)
            kind, pinned = each.pin or ("sha256", "a pin")
            found, _ = hash_file(written, kind)
            yield Result("provenance", f"{each.name}, restored", pinned, 0, found, f"recipes/{workload.trace}.toml")
