"""Is the archive what it claims to be: every check of every workload that is here, all findings, not the first."""

from __future__ import annotations

from collections.abc import Iterator

from .archive import Archive
from .checks import Result
from .checks.apart import apart
from .checks.contents import contents
from .checks.integrity import READABLE, integrity, whole
from .checks.provenance import provenance
from .fetch import Sources
from .recipe import Workload


def validate(archive: Archive, workload: Workload, deep: Sources | None = None) -> Iterator[Result]:
    """Integrity, schema, rows, relations, expectations and published figures of a workload whose content is here.

    deep  where upstream files come from, for the way back and the way here again; None to leave these out

    A damaged file ends the workload's checks: its figures would say nothing. A whole file that is not the lock's is
    checked like any, so that what differs is named. One that `datalad get` built and no lock has is held against its
    recipe, its upstream and its own checksums.
    """
    resource = archive.locked.get(str(workload))
    found = list(integrity(archive, resource) if resource else whole(archive.root / workload.path))
    yield from found
    if any(each.expected == READABLE and not each.holds for each in found):
        return
    is_ours = any(each.holds for each in found if each.name == "sha256")
    for result in contents(archive, workload) if is_ours else apart(archive, workload):
        found.append(result)
        yield result
    if deep and all(each.holds for each in found):
        yield from provenance(archive, workload, deep)
