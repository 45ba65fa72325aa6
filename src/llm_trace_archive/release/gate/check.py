"""The gate: check every table and text of a release, and the state of the archive it is made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checks import report as findings
from ...checks.report import result_lines
from ...checks.result import Result
from ...checks.sensitive import check_columns, check_texts
from ...core.archive import CITATION, LOCK, Archive
from ...core.errors import Problem
from ...core.extras import require
from ...core.files import write_output
from ...core.git import Git
from ...core.recipe import Workload
from ...core.table import Table
from ...lock.validate import REBUILT, validate, validate_package
from ...upstream.sources import Sources
from ..content import croissant
from ..content.contents import ORGANISATION, Contents, digest_files
from ..content.selection import select
from ..limits import check_row_groups, check_sizes
from .rights import check_rights
from .state import check_state

Show = Callable[[str, Iterable[Result]], list[Result]]


@dataclass(frozen=True)
class Report:
    """Every result by its subject (the release, the package, a workload, the texts), and what the release holds.

    commit  of the archive, in hex; empty without git
    """

    contents: Contents
    results: findings.Results
    commit: str

    @property
    def findings(self) -> int:
        """The number of results that do not hold. One is enough to stop the release."""
        return findings.count(self.results)

    def as_json(self) -> str:
        """Return the report as schemas/release-report.schema.json describes it."""
        selection = self.contents.selection
        report: dict[str, Any] = {
            "version": self.contents.version,
            "commit": self.commit,
            "content": f"sha256:{digest_files(self.contents.hashes)}",
            "findings": self.findings,
            "released": [str(each) for each in selection.released],
            "leftOut": [{"workload": str(each), "reason": reason} for each, reason in selection.left_out],
            "results": findings.as_json(self.results),
        }
        return json.dumps(report, indent=2, ensure_ascii=False) + "\n"

    def write_json(self, path: Path) -> None:
        """Write `as_json` to a file. Raises BadUse if that fails."""
        write_output(path, self.as_json())

    def as_text(self) -> str:
        """Return the report for people: what `release check` prints."""
        lines = [f"{self.contents.package['title']} {self.contents.version}", f"commit {self.commit}"]
        for subject, results in self.results.items():
            lines += result_lines(subject, results)
        return "\n".join([*lines, *self.summary()]) + "\n"

    def summary(self) -> Iterator[str]:
        """Yield what is left out and why, then the counts."""
        selection = self.contents.selection
        if selection.left_out:
            yield "\nleft out"
            width = max(len(str(each)) for each, _ in selection.left_out)
            yield from (f"  {each!s:<{width}}  {reason}" for each, reason in selection.left_out)
        released, left_out = len(selection.released), len(selection.left_out)
        yield f"\n{released} workloads to release, {left_out} left out, {self.findings} findings"


def check(
    archive: Archive, sources: Sources, organisation: str = ORGANISATION, show: Show = lambda _, results: list(results)
) -> Report:
    """Check everything that the release would hold, and return all results, not only the first finding.

    sources  where upstream files come from, to restore and rebuild them
    show     called with each subject and an iterator that checks as it is read; returns the results

    Raises BadUse if a recipe or the lock can't be read, or a library of the extra `release` is not installed.
    """
    for package in ("detect_secrets", "mlcroissant", "rocrate", "stdnum"):
        require(package, "release", "a release")
    contents = Contents(archive, select(archive), organisation)
    results = {"release": show("release", _check_release(contents))}
    results["package"] = show("package", validate_package(archive))
    for each in contents.selection.released:
        results[str(each)] = show(str(each), _check_workload(archive, each, sources))
    results["texts"] = show("texts", _check_texts(contents))
    return Report(contents, results, Git(archive.root).ask("rev-parse", "HEAD").strip())


def _check_release(contents: Contents) -> Iterator[Result]:
    yield from check_state(contents)
    yield from check_sizes(contents.sizes)


def _check_workload(archive: Archive, workload: Workload, sources: Sources) -> Iterator[Result]:
    recipe = f"recipes/{workload.trace}.toml"
    is_present = archive.is_present(workload)
    found = "present" if is_present else f"missing: llm-traces get {workload}"
    yield Result("content", workload.path, "present", 0, found, LOCK)
    yield from check_rights(archive.recipe(workload.trace))
    if not is_present:
        return
    results: list[Result] = []
    with Table(archive.root / workload.path) as table:
        try:
            for result in validate(archive, workload, table, sources):
                results.append(result)
                yield result
        except Problem as problem:
            results.append(Result("provenance", "deep validation", "no problem", 0, problem.message, recipe))
            yield results[-1]
        if all(each.holds and each.name != REBUILT for each in results):
            found = "the upstream is not available: give --mirror DIR"
            yield Result("provenance", REBUILT, "the same bytes", 0, found, recipe)
        if all(each.holds for each in results if each.check in ("integrity", "schema")):
            yield from check_columns(table, archive.schema(workload))
            yield from check_row_groups(table)


def _check_texts(contents: Contents) -> Iterator[Result]:
    yield from check_texts(contents.texts, {CITATION: list_public_addresses(contents.citation)})
    for fault in croissant.find_faults(json.loads(contents.texts[croissant.NAME])) or ["valid"]:
        yield Result("croissant", croissant.NAME, "valid", 0, fault[:300], "mlcroissant")


def list_public_addresses(citation: dict[str, Any]) -> list[str]:
    """Return the e-mail addresses that authors and contacts publish in CITATION.cff; they may be nowhere else."""
    people = [*citation.get("authors", ()), *citation.get("contact", ())]
    return [str(each["email"]) for each in people if "email" in each]
