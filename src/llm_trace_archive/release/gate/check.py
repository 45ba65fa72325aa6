"""The gate: nothing leaves unless every check of every released table, text and of the archive's state holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checks import report as findings
from ...checks.report import result_lines
from ...checks.result import Result
from ...core.archive import CITATION, LOCK, Archive
from ...core.errors import BadUse, Problem
from ...core.files import write_output
from ...core.recipe import Workload
from ...core.table import Table
from ...lock.validate import REBUILT, validate, validate_package
from ...upstream.sources import Sources
from ..content import croissant
from ..content.contents import ORGANISATION, Contents
from ..content.selection import select
from ..limits import group_results, size_results
from .sensitive import column_results, text_results
from .state import state

Show = Callable[[str, Iterable[Result]], list[Result]]


@dataclass(frozen=True)
class Report:
    """Every result by what it is about (the release, the package, a workload), and what the release would hold."""

    contents: Contents
    results: findings.Results

    @property
    def findings(self) -> int:
        """Results that do not hold: nothing may leave while there are any."""
        return findings.count(self.results)

    def as_json(self) -> str:
        """The report for machines, by schemas/release-report.schema.json."""
        selection = self.contents.selection
        told: dict[str, Any] = {
            "version": self.contents.version,
            "findings": self.findings,
            "released": [str(each) for each in selection.released],
            "leftOut": [{"workload": str(each), "reason": reason} for each, reason in selection.left_out],
            "results": findings.as_json(self.results),
        }
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"

    def write_json(self, path: Path) -> None:
        """Write `as_json` to a file. Raises BadUse if it can't be written."""
        write_output(path, self.as_json())

    def as_text(self) -> str:
        """The report for people: what `release check` prints."""
        lines = [f"{self.contents.package['title']} {self.contents.version}"]
        for subject, results in self.results.items():
            lines += result_lines(subject, results)
        return "\n".join([*lines, *self.summary()]) + "\n"

    def summary(self) -> Iterator[str]:
        """What is left out and why, and the count of all."""
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
    """Check all that would leave; all results, not the first that does not hold.

    sources  where upstream files come from, for the way back and the way here again
    show     called with each subject and its results, which are made while it reads them; returns them

    Raises BadUse if recipes or lock can't be read, or what `release` needs is not installed.
    """
    _require_libraries()
    contents = Contents(archive, select(archive), organisation)
    results = {"release": show("release", _of_release(contents)), "package": show("package", validate_package(archive))}
    for each in contents.selection.released:
        results[str(each)] = show(str(each), _of_workload(archive, each, sources))
    results["texts"] = show("texts", _of_texts(contents))
    return Report(contents, results)


def _of_release(contents: Contents) -> Iterator[Result]:
    yield from state(contents)
    yield from size_results(contents.sizes)


def _of_workload(archive: Archive, workload: Workload, sources: Sources) -> Iterator[Result]:
    recipe = f"recipes/{workload.trace}.toml"
    here = archive.is_present(workload)
    yield Result("content", workload.path, "here", 0, "here" if here else f"not here: llm-traces get {workload}", LOCK)
    if not here:
        return
    found: list[Result] = []
    try:
        for result in validate(archive, workload, sources):
            found.append(result)
            yield result
    except Problem as problem:
        found.append(Result("provenance", "deep validation", "no problem", 0, problem.message, recipe))
        yield found[-1]
    if all(each.holds and each.name != REBUILT for each in found):
        why = "the upstream could not be had: give --mirror DIR"
        yield Result("provenance", REBUILT, "the same bytes", 0, why, recipe)
    if all(each.holds for each in found if each.check in ("integrity", "schema")):
        table = Table(archive.root / workload.path)
        yield from column_results(table, archive.schema(workload))
        yield from group_results(table)


def _of_texts(contents: Contents) -> Iterator[Result]:
    public = _public_addresses(contents.citation)
    for path, text in contents.texts.items():
        yield from text_results(path, text, public if path == CITATION else ())
    for fault in croissant.faults(json.loads(contents.texts[croissant.NAME])) or ["valid"]:
        yield Result("croissant", croissant.NAME, "valid", 0, fault[:300], "mlcroissant")


def _public_addresses(citation: dict[str, Any]) -> list[str]:
    """E-mail addresses that authors and contacts gave to be published, which stand in CITATION.cff and nowhere else."""
    people = [*citation.get("authors", ()), *citation.get("contact", ())]
    return [str(each["email"]) for each in people if "email" in each]


def _require_libraries() -> None:
    try:
        import detect_secrets  # noqa: F401
        import mlcroissant  # noqa: F401
        import rocrate  # noqa: F401
    except ImportError as error:
        raise BadUse(
            "release", f"{error.name} is not installed", next="pip install --editable '.[release]', in a clone"
        ) from None
