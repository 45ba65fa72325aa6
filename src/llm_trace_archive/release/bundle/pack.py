"""Write a bundle: all of it beside its place, checked, then moved there. A killed run leaves all or nothing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from ...core.archive import LOCK, SUMS, Archive
from ...core.errors import BadUse, Problem
from ...core.files import hash_file, real_path, replace_folder, temporary_folder
from ...core.git import Git
from ..content.contents import NAME, REPORTS
from ..gate.check import Report
from .folder import Bundle


def pack(report: Report, target: Path) -> Bundle | None:
    """Write the bundle of a release to the folder `target`; return None if `target` is this bundle already.

    Replaces another bundle of this archive. Raises Problem if the report has findings or a table is not as locked;
    BadUse if `target` is anything else or can't be written. `target` then stays as it was.
    """
    if report.findings:
        raise Problem(
            "release",
            "the gate has findings",
            findings=str(report.findings),
            kept="nothing was written",
            next="fix what DIFFERS, then run the same command again",
        )
    target = target.absolute()
    contents = report.contents
    refuse_unusable(contents.archive, target)
    texts = {**contents.texts, **dict(zip(REPORTS, (report.as_json(), report.as_text()), strict=True))}
    hashes = contents.hashes | {path: hashlib.sha256(texts[path].encode()).hexdigest() for path in REPORTS}
    tables = {each["path"]: hashes[each["path"]] for each in contents.package["resources"]}
    sums = "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))
    try:
        with temporary_folder(target) as part:
            before = _open_bundle(target)
            if before and (before.root / SUMS).read_text(encoding="utf-8") == sums:
                return None
            for path, sha256 in sorted(tables.items()):
                _copy_table(contents.archive.root / path, part / path, sha256)
            for path, text in {**texts, SUMS: sums}.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_text(text, encoding="utf-8", newline="\n")
            files = Bundle.open(part).files
            replace_folder(target)
    except OSError as error:
        raise BadUse(
            str(target),
            f"can't be written: {error.strerror or error}",
            path=str(error.filename or target),
            kept="what was there before",
            next="free some space or correct the permissions, then run the same command again",
        ) from None
    return Bundle(target, files)


def refuse_unusable(archive: Archive, target: Path) -> None:
    """Raise BadUse if no bundle of `archive` can be written to `target`. Costs little, so call it before the gate.

    That is so if `target` holds anything but a bundle of this archive, or is inside a bundle, inside data/, or inside
    the working tree where git doesn't ignore it.
    """
    target = target.absolute()
    try:
        _refuse_place(real_path(archive.root), target)
        _open_bundle(target)
    except OSError as error:
        raise BadUse(str(target), f"can't be used: {error.strerror or error}", next="give another folder") from None


def _open_bundle(target: Path) -> Bundle | None:
    """Return the bundle at `target`, or None if nothing is there. Raises BadUse if it is anything else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        bundle = Bundle.open(target)
        if bundle.package.get("name") == NAME:
            return bundle
        reason = f"it is a bundle of {bundle.package.get('name')}"
    except (Problem, OSError, ValueError) as problem:
        reason = problem.details.get("reason", problem.message) if isinstance(problem, Problem) else str(problem)
    raise BadUse(
        str(target),
        "exists and is not a bundle of this archive",
        reason=reason,
        kept="as it was",
        next="give another folder, or remove this one",
    )


def _refuse_place(root: Path, target: Path) -> None:
    place = real_path(target)
    for folder in place.parents:
        if folder.exists() and not folder.is_dir():
            raise BadUse(str(target), f"can't be created: {folder} is a file", next="give another folder")
        sums = folder / SUMS
        if sums.is_file() and f"  {LOCK}\n" in sums.read_text(encoding="utf-8", errors="replace"):
            raise BadUse(str(target), f"is inside a bundle: {folder}", next="give a folder outside of it")
    if place.is_relative_to(root / "data"):
        raise BadUse(str(target), "is inside the archive's data/", next="llm-traces release bundle ../bundle")
    if place.is_relative_to(root) and not Git(root).ask("check-ignore", str(target)):
        raise BadUse(
            str(target), "is inside the archive, where git would see it", next="llm-traces release bundle ../bundle"
        )


def _copy_table(source: Path, target: Path, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    copied, _ = hash_file(target)
    if copied != sha256:
        raise Problem(
            source.name,
            "the table changed after the gate checked it",
            expected=f"sha256 {sha256}",
            got=f"sha256 {copied}",
            kept="nothing was written",
            next="llm-traces validate",
        )
