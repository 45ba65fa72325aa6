"""Check that the archive is what it claims to be: every check of all content that is here, all findings."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..checks.apart import apart
from ..checks.contents import contents
from ..checks.integrity import READABLE, integrity, whole
from ..checks.package import package
from ..checks.provenance import provenance
from ..checks.result import Result
from ..core.archive import LOCK, Archive
from ..core.errors import Problem, Unavailable
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.table import Table
from ..upstream.sources import Sources
from .build import build_file
from .describe import generated

# The name of the result of building a workload again; there is none where the upstream is not available.
REBUILT = "rebuilt from the upstream"
GENERATED = "as llm-traces describe writes it"


def validate_package(archive: Archive) -> Iterator[Result]:
    """Check everything that is not about one workload's rows, and that no generated file is stale. Reads no data."""
    yield from package(archive)
    if archive.lock:
        yield from _stale(archive)


def validate(archive: Archive, workload: Workload, deep: Sources | None = None) -> Iterator[Result]:
    """Check integrity, schema, rows, keys, relations, expectations and published figures of a workload that is here.

    deep  where upstream files come from, to restore and rebuild them; None to leave this out

    A damaged file ends the workload's checks: its figures would say nothing. An intact file that is not the lock's is
    checked like any other, so that what differs is named. One that `datalad get` built and that is in no lock is
    compared with its recipe, its upstream and its own checksums.
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
        yield from provenance(workload, Table(archive.root / workload.path))
        yield from _rebuilt(archive, workload, deep)


def _rebuilt(archive: Archive, workload: Workload, sources: Sources) -> Iterator[Result]:
    """Rebuild the workload where its upstream is available and compare the bytes. Raises Problem as building does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build_file(archive, workload, Path(folder) / "built.parquet", sources)
        except Unavailable as problem:
            # An upstream that is not available is no finding; one that is available and wrong is.
            for line in problem.details.get("tried", "").splitlines():
                if "wrong bytes" in line:
                    yield Result("provenance", "the upstream at hand", "as pinned", 0, line, problem.subject)
            return
    locked = archive.locked.get(str(workload))
    if locked:
        wanted, source = locked["hash"].removeprefix("sha256:"), LOCK
    else:
        wanted, source = hash_file(archive.root / workload.path)[0], "the file here, which no lock has"
    yield Result("provenance", REBUILT, wanted, 0, built.sha256, source)


def _stale(archive: Archive) -> Iterator[Result]:
    """The lock, the README's card and table, the traces' schemas and pages: all that `describe` writes."""
    try:
        for path, text in generated(archive):
            file = archive.root / path
            held = file.read_text(encoding="utf-8", errors="replace") if file.exists() else None
            found = GENERATED if held == text else _first_difference(held, text)
            yield Result("package", path, GENERATED, 0, found, "recipes/, schemas/")
    except (Problem, LookupError, TypeError, OSError) as error:  # the lock lacks what it is made from
        yield Result("package", "generated files", GENERATED, 0, f"can't be generated: {error}"[:200], LOCK)


def _first_difference(held: str | None, text: str) -> str:
    if held is None:
        return "missing"
    lines = zip([*held.splitlines(), ""], [*text.splitlines(), ""], strict=False)
    number, (found, wanted) = next((pair for pair in enumerate(lines, 1) if pair[1][0] != pair[1][1]), (0, ("", "")))
    return f"line {number}: {found.strip()[:60]!r} for {wanted.strip()[:60]!r}"
