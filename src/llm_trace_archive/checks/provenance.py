"""Provenance: the upstream files that a table restores have the hashes its recipe pins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..convert.restore import restore_files
from ..core.archive import LOCK
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.table import Table
from .result import Result

# What a layout that does not fit its table ends in.
MISFITS = (LookupError, ValueError, TypeError, AttributeError, pa.ArrowException)


def check_provenance(
    workload: Workload, table: Table, resource: Mapping[str, Any] | None, folder: Path
) -> Iterator[Result]:
    """Restore every upstream file, if the workload restores, and compare it with its pin and with that of the lock.

    resource  the workload's resource of the lock, if it is locked
    folder    takes the files, laid out as a mirror

    Raises Problem.
    """
    if not workload.restores:
        return
    locked = {pin.get("file"): pin for pin in resource["provenance"]["pins"]} if resource else {}
    source = f"recipes/{workload.trace}.toml"
    try:
        for restored, pieces in restore_files(workload, table):
            written = folder / restored.file.trace / restored.name
            written.parent.mkdir(exist_ok=True)
            with written.open("wb") as stream:
                stream.writelines(pieces)
            kind, pinned = restored.pin or ("sha256", "a pin")
            name = f"{restored.name}, restored"
            yield Result("provenance", name, pinned, 0, hash_file(written, kind)[0], source)
            if restored.name in locked and not restored.file.container:
                sha256, size = hash_file(written)
                pin = locked[restored.name]
                yield Result("provenance", f"sha256 of {name}", sha256, 0, str(pin["sha256"]), LOCK)
                yield Result("provenance", f"bytes of {name}", size, 0, pin["bytes"], LOCK)
    except MISFITS as error:
        found = f"the file describes a layout that does not fit: {type(error).__name__}: {error}"[:200]
        yield Result("provenance", "restored files", "as pinned", 0, found, source)
