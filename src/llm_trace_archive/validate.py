"""Is the archive what it claims to be: every check of every workload that is here, all findings, not the first."""

from __future__ import annotations

from collections.abc import Iterator

from .archive import Archive
from .checks.figures import Figure, figures
from .checks.integrity import integrity
from .errors import Problem
from .recipe import Workload


def validate(archive: Archive, workload: Workload) -> Iterator[Figure]:
    """Integrity, expectations and published figures of a workload whose content is here.

    A damaged file ends the workload's checks: its figures would say nothing. Raises Problem if it was never built.
    """
    sound = True
    resource = archive.locked.get(str(workload))
    if resource is None:
        raise Problem(str(workload), "was never built", next=f"llm-traces build {workload}")
    for figure in integrity(archive, resource):
        sound = sound and figure.holds
        yield figure
    if sound:
        yield from figures(workload, archive.root / workload.path)
