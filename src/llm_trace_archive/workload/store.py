"""Where content is and how it gets there: git-annex in a clone, the user's data folder elsewhere. Both are verified."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.archive import LOCK, Archive
from ..core.errors import Absent, BadUse, Problem
from ..core.files import hash_file, locked, move, replace_text, replacing
from ..core.recipe import UpstreamFile, Workload
from ..core.settings import cache_folder

if TYPE_CHECKING:  # slow, and only fetching needs them
    from ..lock.build import Built
    from ..upstream.sources import Sources

# -- what is here -----------------------------------------------------------------------------------------------------


def require(archive: Archive, workloads: Iterable[Workload]) -> None:
    """Raise Absent that names every workload whose content is not here, Problem for content that is corrupt."""
    absent = []
    for workload in workloads:
        if archive.is_present(workload):
            verify(archive, workload)
        else:
            absent.append(workload)
    if not absent:
        return
    pinned = [str(each) for each in absent if each.is_pinned or str(each) in archive.locked]
    unpinned = [str(each) for each in absent if str(each) not in pinned]
    steps = []
    if pinned:
        names = ", ".join(f'"{name}"' for name in pinned)
        steps = [f"llm-traces get {' '.join(pinned)}", f"or in Python: lta.open({names}, fetch=True)"]
    if unpinned:
        steps.append(f"llm-traces build --accept-unpinned {' '.join(unpinned)}, in a clone: no pin verifies them")
    here = "the content is not here" if len(absent) == 1 else "their content is not here"
    problem = Absent(", ".join(map(str, absent)), here, next="\n".join(steps))
    problem.workloads = tuple(map(str, absent))
    raise problem


def verify(archive: Archive, workload: Workload) -> None:
    """Compare the content of a workload with the sha256 that is recorded of it; remember a file that was compared.

    Content without a record, as of a workload built in a clone and in no lock, is not compared. Raises Problem.
    """
    expected = str(archive.record(workload).get("hash", "")).removeprefix("sha256:")
    path = archive.path(workload)
    if not expected or _is_remembered(path, expected):
        return
    try:
        found, size = hash_file(path)
    except OSError as error:
        raise Problem(
            str(workload), "the content can't be read", reason=error.strerror or str(error), file=str(path)
        ) from None
    if found != expected:
        raise Problem(
            str(workload),
            "the content is corrupt",
            file=str(path),
            expected=f"sha256 {expected}",
            got=f"sha256 {found}, {size:,} bytes",
            next=f"llm-traces {'build' if archive.store is None else 'get'} {workload}, which replaces the file",
        )
    _remember(path, expected)


def _note(path: Path) -> Path:
    """Return the file that says with which size, mtime and inode a file had which sha256."""
    return cache_folder() / "verified" / hashlib.sha256(str(path.resolve()).encode()).hexdigest()


def _state(path: Path, sha256: str) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {sha256}"


def _is_remembered(path: Path, sha256: str) -> bool:
    try:
        return _note(path).read_text(encoding="ascii") == _state(path, sha256)
    except (OSError, UnicodeDecodeError):
        return False


def _remember(path: Path, sha256: str) -> None:
    note = _note(path)
    with contextlib.suppress(OSError):  # a read-only cache: the file is hashed again next time
        note.parent.mkdir(parents=True, exist_ok=True)
        replace_text(note, _state(path, sha256))


# -- what is not here -------------------------------------------------------------------------------------------------


def fetch(archive: Archive, workloads: Iterable[Workload], sources: Sources) -> None:
    """Bring the content of workloads here: by git-annex in a clone, else into the user's data folder.

    Into the data folder comes the released file, if the lock has a URL of one, or what the pinned upstream files give.
    Raises Problem, and then keeps what is here; content that came before the failure stays.
    """
    from ..lock.build import report_disk_problems

    chosen = archive.select([str(each) for each in workloads])  # checks the recipes
    if archive.store is None:
        from ..annex.get import get

        get(archive, chosen, sources.on_wait or (lambda line: None))
        return
    for workload in chosen:
        target = archive.path(workload)
        with report_disk_problems(target), locked(target.parent):  # another process may bring it at the same time
            if not is_good(archive, workload):
                _bring(archive, workload, target, sources)


def is_good(archive: Archive, workload: Workload) -> bool:
    """Return whether the content of a workload is here and not corrupt."""
    if not archive.is_present(workload):
        return False
    try:
        verify(archive, workload)
    except Problem:
        return False
    return True


def _bring(archive: Archive, workload: Workload, target: Path, sources: Sources) -> None:
    from ..lock.build import build_file, compare_with_lock

    failure: Problem | None = None
    if released := _released_file(archive, workload):
        try:
            path = sources.get(released)
        except Problem as problem:
            failure = problem
        else:
            _take(path, target, sources)
            _remember(target, str(released.sha256))
            return

    def accept(built: Built) -> None:
        compare_with_lock(archive, built)
        _require_locked_bytes(archive, built)
        if str(workload) not in archive.locked:
            record = {
                "bytes": built.bytes,
                "hash": f"sha256:{built.sha256}",
                "facts": built.facts,
                "provenance": built.provenance,
            }
            replace_text(target.with_suffix(".json"), json.dumps(record, indent=2) + "\n")

    try:
        built = build_file(archive, workload, target, sources, accept)
    except Problem as problem:
        if problem.subject in {file.trace for file in workload.files}:
            problem.subject = str(workload)  # fetching knows traces only
        if failure:
            problem.details = {"released file": failure.details.get("tried") or failure.message} | problem.details
        raise
    _remember(target, built.sha256)


def _released_file(archive: Archive, workload: Workload) -> UpstreamFile | None:
    """Return the released Parquet file of a workload as a file to fetch; None if the lock has no URL of it."""
    resource = archive.locked.get(str(workload), {})
    if not resource.get("urls"):
        return None
    url, *also = resource["urls"]
    sha256 = str(resource["hash"]).removeprefix("sha256:")
    name = f"{workload.name}.parquet"
    return UpstreamFile(workload.trace, name, url, sha256, resource["bytes"], also=tuple(also))


def _take(path: Path, target: Path, sources: Sources) -> None:
    """Move a file of the cache to `target`; copy one of a mirror."""
    if path.is_relative_to(sources.cache):
        with contextlib.suppress(OSError):  # on another file system
            move(path, target)
            return
    with replacing(target) as part:
        shutil.copyfile(path, part)


def _require_locked_bytes(archive: Archive, built: Built) -> None:
    resource = archive.locked.get(str(built.workload))
    if resource and resource["hash"] != f"sha256:{built.sha256}":
        raise BadUse(
            str(built.workload),
            f"the built file differs from {LOCK}, because the recipe changed since",
            expected=str(resource["hash"]),
            got=f"sha256:{built.sha256}",
            next="work in a clone of the archive: llm-traces build there writes the lock again",
        )
