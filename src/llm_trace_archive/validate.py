"""Is the archive what it claims to be: every check of every workload that is here, all findings, not the first."""

from __future__ import annotations

from collections.abc import Iterator

from .archive import Archive
from .checks import UNREADABLE, Result, Table
from .checks.figures import figures
from .checks.integrity import integrity
from .checks.provenance import provenance
from .checks.table import table_checks
from .errors import Problem
from .fetch import Sources
from .recipe import Workload


def validate(archive: Archive, workload: Workload, deep: Sources | None = None) -> Iterator[Result]:
    """Integrity, schema, rows, relations, expectations and published figures of a workload whose content is here.

    deep  where upstream files come from, for the way back and the way here again; None to leave these out

    A damaged file ends the workload's checks: its figures would say nothing. Raises Problem if it was never built.
    """
    resource = archive.locked.get(str(workload))
    if resource is None:
        raise Problem(str(workload), "was never built", next=f"llm-traces build {workload}")
    sound = True
    for result in _checks_of_form(archive, workload):
        sound = sound and result.holds
        yield result
    if sound:
        yield from figures(workload, archive.root / workload.path)
    if sound and deep:
        yield from provenance(archive, workload, deep)


def _checks_of_form(archive: Archive, workload: Workload) -> Iterator[Result]:
    resource = archive.locked[str(workload)]
    results = list(integrity(archive, resource))
    yield from results
    if isinstance(results[-1].found, str):
        return  # integrity ended with a sha256 that differs or a footer that can't be read
    try:
        table = Table(archive.root / workload.path)
        yield from table_checks(workload, archive.schema(workload), table, resource["facts"]["rows"])
    except UNREADABLE as error:
        yield Result("integrity", "every page", "readable", 0, str(error)[:200], "the page's own checksum")
    except Problem as problem:
        yield Result("integrity", "what it was built from", "told in the file", 0, problem.message, "llm-traces build")
