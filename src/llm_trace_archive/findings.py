"""The results of a validation for machines: JSON by `schemas/validation.schema.json`, and JUnit XML for CI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from .archive import replace_text
from .checks import Result

Results = Mapping[str, Sequence[Result]]


def write_json(path: Path, results: Results, version: str) -> None:
    """Every result of every subject (a workload, or the package), those that hold too. Raises OSError."""
    told = [
        {"subject": subject, **asdict(each), "rows": [{"row": row, "value": value} for row, value in each.rows],
         "holds": each.holds}
        for subject, found in results.items() for each in found
    ]  # fmt: skip
    findings = sum(not each["holds"] for each in told)
    text = json.dumps({"version": version, "findings": findings, "results": told}, indent=2, ensure_ascii=False)
    replace_text(path, text + "\n")


def write_junit(path: Path, results: Results) -> None:
    """A test suite a subject, a test case a result. Raises OSError."""
    suites = ElementTree.Element("testsuites", name="llm-traces validate")
    for subject, found in results.items():
        failures = str(sum(not each.holds for each in found))
        suite = ElementTree.SubElement(suites, "testsuite", name=subject, tests=str(len(found)), failures=failures)
        for each in found:
            case = ElementTree.SubElement(suite, "testcase", classname=f"{subject}.{each.check}", name=each.name)
            if not each.holds:
                ElementTree.SubElement(case, "failure", message=str(each))
    replace_text(path, ElementTree.tostring(suites, encoding="unicode") + "\n")
