"""Write the bundle: into a folder beside its place, checked and synced, then renamed. All of it, or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...core.archive import LOCK, SUMS, Archive
from ...core.errors import BadUse, Problem
from ...core.git import Git
from ...core.settings import cache_folder
from ..content.contents import NAME, REPORTS
from ..gate.check import Report
from .folder import Bundle

PIECE = 1 << 20  # bytes copied at a time


def pack(report: Report, target: Path) -> Bundle | None:
    """Write what the gate let pass to the folder `target`; None if it holds the same bundle already.

    Another bundle of ours is replaced. Raises Problem if there are findings or a table's bytes are not those of the
    lock; BadUse if `target` holds anything else or can't be written. `target` is then as it was.
    """
    if report.findings:
        raise Problem(
            "release",
            f"{report.findings} findings: nothing was written",
            next="mend what DIFFERS, then run the same command again",
        )
    target = target.absolute()
    contents = report.contents
    refuse_unusable(contents.archive, target)
    texts = {**contents.texts, **dict(zip(REPORTS, (report.as_json(), report.as_text()), strict=True))}
    tables = {each["path"]: each["hash"].removeprefix("sha256:") for each in contents.package["resources"]}
    hashes = tables | {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    sums = "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))
    with _staged(target) as part:
        before = _before(target)
        if before and (before.root / SUMS).read_text(encoding="utf-8") == sums:
            return None
        for path, sha256 in sorted(tables.items()):
            _copy(contents.archive.root / path, part / path, sha256)
        for path, text in {**texts, SUMS: sums}.items():
            with _new(part / path) as stream:
                stream.write(text.encode())
        for folder in (*(each for each in part.rglob("*") if each.is_dir()), part):
            _sync(folder)
        files = Bundle.open(part).files
        _put(part, target)
    return Bundle(target, files)


def refuse_unusable(archive: Archive, target: Path) -> None:
    """Raise BadUse if no bundle of `archive` can be written to `target`; costs little before the gate runs.

    Unusable is what holds anything but a bundle of ours, is inside such a bundle or inside the archive's data/, or is
    where git would see it.
    """
    target = target.absolute()
    try:
        _outside(archive.root.resolve(), target)
        _before(target)
    except OSError as error:
        raise BadUse(str(target), f"can't be used: {error.strerror or error}", next="give another folder") from None


def _before(target: Path) -> Bundle | None:
    """The bundle that stands there; None if nothing does. Raises BadUse if it is anything else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        bundle = Bundle.open(target)
        if bundle.package.get("name") == NAME:
            return bundle
        why = f"a bundle of {bundle.package.get('name')}"
    except (Problem, OSError, ValueError) as problem:
        why = problem.message if isinstance(problem, Problem) else str(problem)
    raise BadUse(
        str(target),
        f"is in use, and no bundle of ours: {why}",
        kept="as it was",
        next="give another folder, or remove this one",
    )


def _outside(root: Path, target: Path) -> None:
    """Not in a bundle, which would be one no more; nor in the working tree, unless git ignores it there."""
    place = target.resolve()
    for folder in place.parents:
        if folder.exists() and not folder.is_dir():
            raise BadUse(str(target), f"can't be made: {folder} is a file", next="give another folder")
        sums = folder / SUMS
        if sums.is_file() and f"  {LOCK}\n" in sums.read_text(encoding="utf-8", errors="replace"):
            raise BadUse(str(target), f"is inside a bundle: {folder}", next="give a folder outside of it")
    if place.is_relative_to(root / "data"):
        raise BadUse(str(target), "is inside the archive's data/", next="give a folder outside, or dist/...")
    if place.is_relative_to(root) and not Git(root).ask("check-ignore", str(target)):
        raise BadUse(
            str(target), "is inside the archive, where git would see it", next="give a folder outside, or dist/..."
        )


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy a table, and read it once for that and for its hash."""
    digest = hashlib.sha256()
    with source.open("rb") as stream, _new(target) as out:
        while piece := stream.read(PIECE):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != sha256:
        raise Problem(
            str(source.name),
            "changed while it was copied",
            expected=f"sha256 {sha256}",
            got=f"sha256 {digest.hexdigest()}",
            kept="nothing was written",
            next="llm-traces validate",
        )


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(part: Path, target: Path) -> None:
    """Rename; what stood there goes last."""
    old = _aside(target)
    if target.exists():
        target.rename(old)
    try:
        part.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _sync(target.parent)
    _remove(old)


def _mend(target: Path) -> None:
    """A run killed while it replaced a bundle left the older one aside: it goes back, or goes."""
    old = _aside(target)
    if old.exists() and not target.exists():
        old.rename(target)
    _remove(old)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, this process's alone, gone afterwards."""
    from filelock import FileLock

    part = target.with_name(f".{target.name}.part")
    locks = cache_folder() / "locks"
    name = hashlib.sha256(str(target).encode()).hexdigest()[:24]
    try:
        locks.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"bundle-{name}.lock"):
            try:
                _remove(part)
                _mend(target)
                part.mkdir()
                yield part
            finally:
                _remove(part)
    except OSError as error:
        raise BadUse(
            str(target),
            f"can't be written: {error.strerror or error}",
            path=str(error.filename or target),
            kept="nothing half-written; what was there before is untouched",
            next="make room or mend the permissions, then run the same command again",
        ) from None


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
