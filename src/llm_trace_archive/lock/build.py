"""The whole build of a workload on one page: fetch, verify, convert, prove, check, compare with the lock, store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse, Problem
from ..core.extras import DISTRIBUTION, pinned_version
from ..core.files import hash_file, inside, replacing, temporary
from ..core.recipe import Workload
from ..core.table import UNREADABLE, Table
from ..upstream.sources import Sources


@dataclass(frozen=True)
class Built:
    """A checked Parquet file: its sha256 (hex), its size in bytes, and what the lock records about it."""

    workload: Workload
    sha256: str
    bytes: int
    upstream_bytes: int
    facts: Mapping[str, Any]
    provenance: Mapping[str, Any]


def build(archive: Archive, workload: Workload, sources: Sources) -> Built:
    """Build a workload into the archive's data folder. Raises Problem, and then keeps the old content."""
    from ..core import links

    path = inside(archive.root, workload.path)
    originals = _fetch(workload, sources)
    with report_disk_problems(path), temporary(path) as part:
        built = _make(archive, workload, part, originals, sources)
        compare_with_lock(archive, built, part)
        links.store(archive.root, workload.path, part, built.sha256, built.bytes)
    return built


def build_file(
    archive: Archive,
    workload: Workload,
    target: Path,
    sources: Sources,
    accept: Callable[[Built], None] = lambda built: None,
) -> Built:
    """Build a workload into any file, which appears only when it is complete and checked.

    accept  called before that; may raise Problem to refuse what was built

    Raises Problem, and then leaves `target` as it was.
    """
    originals = _fetch(workload, sources)
    with report_disk_problems(target), replacing(target) as part:
        built = _make(archive, workload, part, originals, sources)
        accept(built)
    return built


def build_all(
    archive: Archive,
    workloads: list[Workload],
    sources: Sources,
    jobs: int = 1,
    on_done: Callable[[Workload, Built | Problem], None] | None = None,
) -> list[Built | Problem]:
    """Build workloads, `jobs` at a time, and return their results in order; one that fails does not stop the others."""
    results: dict[str, Built | Problem] = {}
    stop = sources.stop or threading.Event()
    sources = replace(sources, stop=stop)

    def one(workload: Workload) -> Built | Problem:
        try:
            return build(archive, workload, sources)
        except Problem as problem:
            if problem.subject in {file.trace for file in workload.files}:
                problem.subject = str(workload)  # fetching knows traces only
            return problem

    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        futures = {pool.submit(one, workload): workload for workload in workloads}
        for future in as_completed(futures):
            results[str(futures[future])] = future.result()
            if on_done:
                on_done(futures[future], future.result())
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=not stop.is_set(), cancel_futures=True)  # an interrupt must not wait for a server
    return [results[str(workload)] for workload in workloads]


def _fetch(workload: Workload, sources: Sources) -> dict[str, Path]:
    package_versions(workload)  # raises for a missing package before anything is fetched
    return {file.name: sources.get(file) for file in workload.files}


@contextmanager
def report_disk_problems(target: Path) -> Iterator[None]:
    """Raise BadUse if the disk refuses to hold `target`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno is None:  # not from the disk
            raise
        where = error.filename or target.parent
        raise BadUse(
            str(target.parent),
            f"can't be written: {error.strerror or error}",
            path=str(where),
            kept="the old content; nothing is half-written",
            next="free some space or fix the permissions, then run the same command again",
        ) from None


def _make(archive: Archive, workload: Workload, part: Path, originals: Mapping[str, Path], sources: Sources) -> Built:
    from ..checks.entry import list_pins
    from ..checks.facts import collect_facts
    from ..convert.table import write_proven_table

    left_out = write_proven_table(workload, archive.schema(workload), originals, part, sources.stop)
    sha256, size = hash_file(part)
    locked = archive.locked.get(str(workload), {}).get("hash")
    was_checked = archive.store is not None and locked == f"sha256:{sha256}"  # before lock and recipe were packaged
    with Table(part) as table:
        if not was_checked:
            _check_figures(workload, table)
        facts = collect_facts(table)
    return Built(
        workload,
        sha256,
        size,
        sum(path.stat().st_size for path in originals.values()),
        facts,
        {
            "recipe": f"recipes/{workload.trace}.toml",
            "recipeDigest": workload.digest,
            "pins": list_pins(workload, originals),
            **_name_left_out(archive, workload, left_out),
            "tools": {"llm-trace-archive": __version__} | package_versions(workload),
        },
    )


def package_versions(workload: Workload) -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of a table. Raises BadUse if one is not installed."""
    import pyarrow as pa

    from ..convert.formats import registry

    return {"pyarrow": pa.__version__} | registry.package_versions(workload)


def _name_left_out(archive: Archive, workload: Workload, left_out: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the members of archives that no workload of the trace names, for the provenance."""
    files = [file for each in archive.recipe(workload.trace).workloads for file in each.files]
    unnamed = {
        name: [member for member in members if not any(file.member(member) for file in files if file.name == name)]
        for name, members in left_out.items()
    }
    unnamed = {name: members for name, members in unnamed.items() if members}
    return {"leftOut": unnamed} if unnamed else {}


def _check_figures(workload: Workload, table: Table) -> None:
    from ..checks.figures import check_figures

    broken = [figure for figure in check_figures(workload, table) if not figure.holds]
    if broken:
        raise BadUpstream(
            str(workload),
            f"the table contradicts recipes/{workload.trace}.toml",
            found="\n".join(str(figure) for figure in broken),
            next=f"if the recipe is wrong, correct it, then: llm-traces build {workload}",
        )


def compare_with_lock(archive: Archive, built: Built, part: Path | None = None) -> None:
    """Raise Problem if the bytes differ from the lock's though recipe and tools are the same, or because of pyarrow.

    part  the built file, whose schema may be another if the recipe was edited
    """
    locked = archive.locked.get(str(built.workload))
    if not locked or locked["hash"] == f"sha256:{built.sha256}":
        return
    was, now = locked["provenance"], built.provenance
    if was["recipeDigest"] != now["recipeDigest"]:
        return
    details = {"expected": locked["hash"], "got": f"sha256:{built.sha256}", "kept": "the old content and the lock"}
    if was["tools"] == now["tools"]:
        if part and _has_other_schema(archive.path(built.workload), locked["hash"], part):
            return
        raise BadUpstream(
            str(built.workload),
            "the build is not deterministic: the recipe, pins and tools of the lock gave other bytes",
            **details,
            next=f"if a schema or an `optional` of the recipe changed: llm-traces get {built.workload}, "
            "then build again; otherwise report this",
        )
    theirs, ours, pinned = was["tools"]["pyarrow"], now["tools"]["pyarrow"], pinned_version("pyarrow", "build")
    if theirs != ours != pinned:
        raise BadUse(
            str(built.workload),
            f"pyarrow {ours} writes other bytes than pyarrow {theirs}, which made the lock",
            **details,
            next=f"pip install '{DISTRIBUTION}[build]', then run the same command again",
        )


def _has_other_schema(path: Path, locked: str, part: Path) -> bool:
    """Return whether the locked table, if it is here, has columns of other types, units or nullability than `part`.

    The digest of a recipe doesn't cover which columns may be null.
    """
    with suppress(*UNREADABLE), Table(path) as old, Table(part) as new:
        if f"sha256:{hash_file(path)[0]}" == locked:
            return not old.schema.remove_metadata().equals(new.schema.remove_metadata(), check_metadata=True)
    return False
