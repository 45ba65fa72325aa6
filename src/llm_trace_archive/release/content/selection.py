"""Which workloads a release holds, and which it leaves out and why. Reads no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.archive import Archive
from ...core.recipe import Workload


@dataclass(frozen=True)
class Selection:
    """The workloads of an archive, in the order of its recipes: to release, and left out with the reason."""

    released: tuple[Workload, ...]
    left_out: tuple[tuple[Workload, str], ...]


def select(archive: Archive) -> Selection:
    """Return what to release. Missing content does not exclude a workload: the gate reports it."""
    locked = archive.locked
    reasons = [(each, _find_reason(archive, each, locked.get(str(each)))) for each in archive.select()]
    return Selection(
        tuple(each for each, reason in reasons if not reason),
        tuple((each, reason) for each, reason in reasons if reason),
    )


def _find_reason(archive: Archive, workload: Workload, resource: Mapping[str, Any] | None) -> str:
    """Return why to leave out a workload, or nothing. `resource` is its entry in the lock."""
    recipe = archive.recipe(workload.trace)
    if not workload.redistribute:
        return f"not redistributable ({recipe.licence['spdx']})"
    if recipe.synthetic:
        return "synthetic: a look-alike, not the published data"
    if resource is None:
        return "never built"
    unpinned = [pin.get("file") or pin["list"] for pin in resource["provenance"]["pins"] if pin.get("unpinned")]
    return f"built from files without a pin: {', '.join(unpinned)}" if unpinned else ""
