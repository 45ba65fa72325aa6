"""The results of a validation for machines: JSON by `schemas/validation.schema.json`, and JUnit XML for CI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .archive import write_output
from .checks import Result

Results = Mapping[str, Sequence[Result]]


def write_json(path: Path, results: Results, version: str) -> None:
    """Every result of every subject (a workload, or the package), those that hold too. Raises BadUse."""
    told = {"version": version, "findings": count(results), "results": as_json(results)}
    write_output(path, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def count(results: Results) -> int:
    """Results that do not hold."""
    return sum(not each.holds for found in results.values() for each in found)


def as_json(results: Results) -> list[dict[str, Any]]:
    """Each result as an object of `schemas/validation.schema.json`."""
    return [
        {"subject": subject, **asdict(each), "rows": [{"row": row, "value": value} for row, value in each.rows],
         "holds": each.holds}
        for subject, found in results.items() for each in found
    ]  # fmt: skip


def write_junit(path: Path, results: Results) -> None:
    """A test suite a subject, a test case a result. Raises BadUse."""
    suites = ElementTree.Element("testsuites", name="llm-traces validate")
    for subject, found in results.items():
        failures = str(sum(not each.holds for each in found))
        suite = ElementTree.SubElement(suites, "testsuite", name=subject, tests=str(len(found)), failures=failures)
        for each in found:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{subject}.{each.check}", name=each.name)
            if not each.holds:
                ElementTree.SubElement(case, "failure", message=str(each))
    write_output(path, ElementTree.tostring(suites, encoding="unicode") + "\n")
