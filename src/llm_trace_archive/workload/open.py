"""From names to tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.recipe import Workload
from . import store
from .records import Records, Source
from .requests import Requests, open_records


def open(*names: str, fetch: bool = False) -> Records:
    """Return a lazy table of workloads ("azure-2024/code") or of all requests of a trace ("azure-2024").

    A path opens a workload that was saved.

    Several workloads are one table of the canonical columns, in the order of the names. Of a trace, a workload that has
    the same requests as another one is left out. Content is that of the clone around the current directory
    (or of `LLM_TRACES_ARCHIVE`), and elsewhere that of the user's data folder.

    fetch  bring content that is not here, which may take a while: a bar shows the progress

    Raises Absent that names every workload whose content is not here and what brings it, BadUse for unknown names and
    for tables that don't fit into one, Problem for corrupt content.
    """
    return open_in(Archive.find_or_installed(), *names, fetch=fetch)


def open_in(archive: Archive, *names: str, fetch: bool = False) -> Records:
    """Do as `open` does, with the content of an archive."""
    if len(names) == 1 and is_saved(archive, names[0]):
        from .save import read_saved  # which imports what writes Parquet

        saved = read_saved(archive, Path(names[0]))
        return Requests(saved, saved.sql)
    workloads = select(archive, names)
    if fetch and (missing := [each for each in workloads if not store.is_good(archive, each)]):
        fetch_content(archive, missing)
    store.require(archive, workloads)
    return open_records(Source(archive, tuple(workloads)))


def open_requests(archive: Archive, *names: str) -> Requests:
    """Do as `open_in` does. Raises BadUse also for another kind of table."""
    opened = open_in(archive, *names)
    if not isinstance(opened, Requests):
        kind = opened.source.workloads[0].table
        raise BadUse(", ".join(opened.names), f"a table of {kind}, not of requests", next="llm-traces list")
    return opened


def open_each(archive: Archive, names: Iterable[str]) -> list[Requests]:
    """Return a table for each of the workloads of requests that names stand for. Raises as `open_requests` does."""
    names = list(names)
    others = [each for each in names if not is_saved(archive, each)]
    workloads = select(archive, others) if others or not names else []
    store.require(archive, workloads)
    saved = [each for each in names if each not in others]
    return [open_requests(archive, each) for each in (*map(str, workloads), *saved)]


def is_saved(archive: Archive, name: str) -> bool:
    """Return whether a name is the path of a file that is not a table of the archive."""
    path = Path(name)
    return path.suffix == ".parquet" and path.is_file() and archive.root / "data" not in path.resolve().parents


def fetch_content(archive: Archive, workloads: list[Workload]) -> None:
    """Bring what is not here, from the mirror of the environment or the internet, with a bar. Raises Problem."""
    import os

    from ..core.settings import cache_folder
    from ..lock.progress import Progress
    from ..upstream.sources import Sources

    with Progress() as progress:
        mirror = os.environ.get("LLM_TRACES_MIRROR") or None
        sources = Sources(cache=cache_folder(), mirror=mirror, on_progress=progress.bytes, on_wait=progress.waiting)
        store.fetch(archive, workloads, sources)


def select(archive: Archive, names: Iterable[str]) -> list[Workload]:
    """Return the workloads that names stand for, in their order; a trace stands for its requests, each once.

    Raises BadUse for an unknown name, and for workloads that have the same requests.
    """
    wanted: dict[str, Workload] = {}
    for name in names:
        wanted |= {str(each): each for each in _find(archive, name)}
    if not wanted:
        raise BadUse("lta.open", "no name was given", next="llm-traces list")
    for each in wanted.values():
        if twice := [other for other in each.same_requests_as if other in wanted]:
            raise BadUse(
                str(each),
                f"has the same requests as {twice[0]}, so one table would have them twice",
                next="open one of the two, or each by itself",
            )
    return list(wanted.values())


def _find(archive: Archive, name: str) -> list[Workload]:
    trace, *rest = name.strip("/").removeprefix("data/").removesuffix(".parquet").split("/")
    if name.endswith(".parquet") and trace not in archive.recipes:
        raise BadUse(name, "no such file")
    recipe = archive.recipe(trace)
    if rest:
        return [recipe.workload(rest[-1])]
    requests = [each for each in recipe.workloads if each.is_requests]
    names = {str(each) for each in requests}
    return [each for each in requests if not names.intersection(each.same_requests_as)]
