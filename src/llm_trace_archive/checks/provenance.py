"""Provenance: the way back to the upstream's pinned bytes, and the way here again from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import verify
from ..archive import LOCK, Archive
from ..build import build_file
from ..errors import Unavailable
from ..fetch import Sources
from ..recipe import Workload
from ..restore import restored
from . import Result

# The name of the way here again, which is left out where the upstream can't be had.
REBUILT = "built anew from the upstream"


def provenance(archive: Archive, workload: Workload, sources: Sources) -> Iterator[Result]:
    """Restore every upstream file and compare it with its pin; build anew where the sources have the upstream.

    Raises Problem as restoring and building do.
    """
    with tempfile.TemporaryDirectory() as folder:
        written, again = Path(folder) / "restored", Path(folder) / "built.parquet"
        for each, pieces in restored(workload, archive.root / workload.path) if workload.restores else ():
            with written.open("wb") as stream:
                stream.writelines(pieces)
            kind, pinned = each.pin or ("sha256", "a pin")
            found = verify.digest(written, kind)[0]
            yield Result("provenance", f"{each.name}, restored", pinned, 0, found, f"recipes/{workload.trace}.toml")
        try:
            built = build_file(archive, workload, again, sources)
        except Unavailable as problem:
            # Not at hand says nothing; at hand and wrong does.
            for line in problem.details.get("tried", "").splitlines():
                if "wrong bytes" in line:
                    yield Result("provenance", "the upstream at hand", "as pinned", 0, line, problem.subject)
            return
        locked = archive.locked.get(str(workload))
        if locked:
            wanted, source = locked["hash"].removeprefix("sha256:"), LOCK
        else:
            wanted, source = verify.digest(archive.root / workload.path)[0], "the file here, which no lock has"
        yield Result("provenance", REBUILT, wanted, 0, built.sha256, source)
