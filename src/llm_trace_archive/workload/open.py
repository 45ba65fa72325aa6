"""From names to tables."""

from __future__ import annotations

from ..core.archive import Archive
from ..core.errors import Absent, BadUse
from ..core.recipe import Workload
from ..core.settings import archive_folder
from .records import Records, Source
from .requests import open_records


def open(*names: str) -> Records:
    """Return a lazy table of workloads ("azure-2024/code") or of all requests of a trace ("azure-2024").

    Raises Absent that names every workload whose content is not here, BadUse for unknown names.
    """
    archive = Archive.find(archive_folder())
    workloads = select(archive, names)
    if absent := [str(each) for each in workloads if not archive.is_present(each)]:
        problem = Absent(", ".join(absent), "the content is not here", next=f"llm-traces get {' '.join(absent)}")
        problem.workloads = tuple(absent)
        raise problem
    return open_records(Source(archive, tuple(workloads)))


def select(archive: Archive, names: tuple[str, ...]) -> list[Workload]:
    """Return the workloads that names stand for; a trace stands for its requests. Raises BadUse."""
    if not names:
        raise BadUse("lta.open", "no name was given", next="llm-traces list")
    wanted: dict[str, Workload] = {}
    for name in names:
        found = archive.select([name])
        if len(found) > 1:
            found = [each for each in found if each.is_requests]
        wanted |= {str(each): each for each in found}
    return list(wanted.values())
