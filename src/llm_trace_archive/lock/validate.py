"""Every check of the archive and of the content that is here, and every finding."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..checks.contents import check_contents
from ..checks.integrity import READABLE, check_integrity, check_pages
from ..checks.package import check_package
from ..checks.provenance import check_provenance
from ..checks.result import Result
from ..core.archive import LOCK, Archive
from ..core.documents import read_text
from ..core.errors import BadUse, Problem, Unavailable
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.table import Table
from ..upstream.sources import Sources
from .build import build_file
from .describe import generated

# The result of rebuilding a workload; there is none where the upstream is not available.
REBUILT = "rebuilt from the upstream"
GENERATED = "as llm-traces describe writes it"


def validate_package(archive: Archive) -> Iterator[Result]:
    """Check everything that is not about one workload's rows, and that no generated file is stale. Reads no data."""
    yield from check_package(archive)
    if (archive.root / LOCK).exists():
        yield from _stale(archive)


def validate(archive: Archive, workload: Workload, table: Table, deep: Sources | None = None) -> Iterator[Result]:
    """Check integrity, schema, rows, keys, relations, expectations and published figures of a workload.

    table  the workload's table, whose file is here
    deep   the sources of upstream files, to restore and rebuild the workload as well; None to skip this

    A damaged file ends the checks. A readable file that is not the lock's is checked like any other, to name what
    differs. A file that is in no lock (`datalad get` built it) is checked against its recipe, its upstream and its own
    checksums. Raises Problem as rebuilding does.
    """
    resource = archive.locked.get(str(workload))
    results = list(check_integrity(resource, table) if resource else check_pages(table))
    yield from results
    if any(each.expected == READABLE and not each.holds for each in results):
        return
    for result in check_contents(archive, workload, table):
        results.append(result)
        yield result
    if deep and all(each.holds for each in results):
        yield from check_provenance(workload, table)
        yield from _check_rebuild(archive, workload, deep)


def _check_rebuild(archive: Archive, workload: Workload, sources: Sources) -> Iterator[Result]:
    """Rebuild the workload where its upstream is available and compare the bytes. Raises Problem as building does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            built = build_file(archive, workload, Path(folder) / "built.parquet", sources)
        except Unavailable as problem:
            # A missing upstream is no finding; a wrong one is.
            for line in problem.wrong_copies:
                yield Result("provenance", "the local upstream", "as pinned", 0, line, problem.subject)
            return
    locked = archive.locked.get(str(workload))
    if locked:
        wanted, source = locked["hash"].removeprefix("sha256:"), LOCK
    else:
        wanted, source = hash_file(archive.root / workload.path)[0], "the file here, which is in no lock"
    yield Result("provenance", REBUILT, wanted, 0, built.sha256, source)


def _stale(archive: Archive) -> Iterator[Result]:
    """Check that every file that `describe` writes is up to date: lock, README, schemas and pages of the traces."""
    try:
        for path, text in generated(archive):
            found = _compare(archive, path, text)
            yield Result("package", path, GENERATED, 0, found, "recipes/, schemas/")
    except (Problem, OSError) as error:  # the lock is not one
        yield Result("package", "generated files", GENERATED, 0, f"can't be generated: {error}"[:200], LOCK)


def _compare(archive: Archive, path: str, text: str) -> str:
    """Return GENERATED if a file has this text, or the first difference."""
    try:
        held = read_text(archive.root / path, path)
    except BadUse as problem:
        return problem.message.removeprefix("is ")
    if held == text:
        return GENERATED
    lines = zip([*held.splitlines(), ""], [*text.splitlines(), ""], strict=False)
    number, (found, wanted) = next((pair for pair in enumerate(lines, 1) if pair[1][0] != pair[1][1]), (0, ("", "")))
    return f"line {number}: {found.strip()[:60]!r} for {wanted.strip()[:60]!r}"
