"""Where rows come from: what a paper cites, and what a saved workload remembers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..core.archive import Archive
from ..core.recipe import Workload


@dataclass(frozen=True)
class Origin:
    """A workload that rows come from. `sha256` is that of its file in the lock, empty if it is in no lock.

    recipe  the digest of what decides the bytes of its file
    """

    workload: str
    sha256: str
    recipe: str
    licence: str
    redistribute: bool
    citation: str
    arrivals: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return asdict(self)


def origin_of(archive: Archive, workload: Workload) -> Origin:
    """Return the origin of the rows of a workload."""
    return Origin(
        str(workload),
        str(archive.locked.get(str(workload), {}).get("hash", "")).removeprefix("sha256:"),
        workload.digest,
        workload.licence,
        workload.redistribute,
        workload.cite,
        str(workload.properties.get("arrivals", "absent")),
    )
