"""Reports of results: lines for people, JSON by `schemas/validation.schema.json`, JUnit XML for CI."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..core.files import write_output
from .result import Result

Results = Mapping[str, Sequence[Result]]
FIGURES = ("relations", "expectations", "published", "provenance")


def write_json(path: Path, results: Results, version: str) -> None:
    """Write every result of every subject (a workload, or the package). Raises BadUse if the file can't be written."""
    report = {"version": version, "findings": count(results), "results": as_json(results)}
    write_output(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def count(results: Results) -> int:
    """Return the number of findings: results that do not hold."""
    return sum(not each.holds for each in itertools.chain(*results.values()))


def as_json(results: Results) -> list[dict[str, Any]]:
    """Return each result as an object of `schemas/validation.schema.json`."""
    return [
        {"subject": subject, **asdict(each), "rows": [{"row": row, "value": value} for row, value in each.rows],
         "holds": each.holds}
        for subject, of_subject in results.items() for each in of_subject
    ]  # fmt: skip


def write_junit(path: Path, results: Results) -> None:
    """Write a test suite for each subject, a test case for each result. Raises BadUse if the file can't be written."""
    suites = ElementTree.Element("testsuites", name="llm-traces validate")
    for subject, of_subject in results.items():
        failures = str(sum(not each.holds for each in of_subject))
        suite = ElementTree.SubElement(suites, "testsuite", name=subject, tests=str(len(of_subject)), failures=failures)
        for each in of_subject:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{subject}.{each.check}", name=each.name)
            if not each.holds:
                ElementTree.SubElement(case, "failure", message=str(each))
    write_output(path, ElementTree.tostring(suites, encoding="unicode") + "\n")


def result_lines(subject: str, results: Iterable[Result]) -> Iterator[str]:
    """Yield one line for each figure and each finding; other checks that hold are counted."""
    yield f"\n{subject}"
    for family, of_family in itertools.groupby(results, key=lambda each: each.check):
        held = 0
        for result in of_family:
            held += result.holds
            if family in FIGURES or not result.holds:
                yield f"  {'ok     ' if result.holds else 'DIFFERS'}  {family:<12}  {result}"
        if family not in FIGURES:
            yield f"  {'ok     ' if held else '       '}  {family:<12}  {held} checks hold"
