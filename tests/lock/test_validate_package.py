"""The checks of the package as a whole: this archive has no finding, and each planted fault is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_trace_archive.checks.result import Result
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.validate import validate_package
from support.programs import ROOT

FILES = ("datapackage.json", "README.md", "CITATION.cff", "recipes", "schemas", "docs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        else:
            shutil.copyfile(source, tmp_path / name)
    return tmp_path


def findings(root: Path) -> list[Result]:
    return [each for each in validate_package(Archive(root)) if not each.holds]


def test_this_archive_has_no_finding(copy: Path) -> None:
    assert findings(copy) == []


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new, 1))

    return change


def drop(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


FAULTS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "the card": (edit("README.md", "config_name: mooncake", "config_name: moon"), {"README.md"}),
    "the table": (edit("README.md", "| 12,031 |", "| 12,032 |"), {"README.md"}),
    "a page": (edit("docs/traces/kavier.md", "## Workloads", "## Work"), {"docs/traces/kavier.md"}),
    "no page": (drop("docs/traces/kavier.md"), {"docs/traces/kavier.md"}),
    "a canonical field": (edit("schemas/mooncake.json", "Tokens generated.", "?"), {"schemas/mooncake.json"}),
    "a title in the lock": (edit("datapackage.json", '"title": "LLM', '"title": "LM'), {"datapackage.json"}),
    "a version": (
        edit("CITATION.cff", "version: 0.", "version: 9."),
        {"version of CITATION.cff"},
    ),
    "the version of the lock": (
        edit("datapackage.json", '"version": "0.', '"version": "9.'),
        {"version of datapackage.json", "datapackage.json"},
    ),
    "an unknown key": (edit("CITATION.cff", "message:", "massage:"), {"CITATION.cff"}),
    "a date": (edit("CITATION.cff", "date-released: '", "date-released: '31."), {"CITATION.cff"}),
    "not YAML": (edit("CITATION.cff", "title:", "\ttitle: ["), {"CITATION.cff"}),
    "no citation": (drop("CITATION.cff"), {"CITATION.cff"}),
    "its licence": (edit("CITATION.cff", "license: MIT", "license: MITT"), {"licence of CITATION.cff"}),
    "a Table Schema": (
        edit("schemas/request.json", '"type": "integer"', '"type": "intoger"'),
        {"schemas/request.json"},
    ),
    "not JSON": (edit("schemas/validation.schema.json", "{", "{{"), {"schemas/validation.schema.json"}),
    "not a JSON Schema": (
        edit("schemas/validation.schema.json", '"type": "object"', '"type": "objekt"'),
        {"schemas/validation.schema.json"},
    ),
    "no JSON Schema": (drop("schemas/citation.schema.json"), {"CITATION.cff"}),
    "a hash": (edit("datapackage.json", '"hash": "sha256:', '"hash": "sha256:g'), {"a lock"}),
    "no facts": (edit("datapackage.json", '"upstreamBytes"', '"bytesUpstream"'), {"a lock", "generated files"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_and_named(copy: Path, fault: str) -> None:
    plant, names = FAULTS[fault]
    plant(copy)
    found = findings(copy)
    assert names <= {each.name for each in found}, found
    assert all(len(str(each.found)) <= 300 for each in found)


@pytest.mark.parametrize("licence", ["MITT", "MIT AND", "CC BY 4.0", "LicenseRef-"])
def test_licences_are_spdx_expressions(copy: Path, licence: str) -> None:
    text = (copy / "recipes/kavier.toml").read_text()
    (copy / "recipes/kavier.toml").write_text(re.sub('spdx = "[^"]*"', f'spdx = "{licence}"', text))
    assert f"licence {licence}" in {each.name for each in findings(copy)}


def test_a_finding_shows_the_first_difference(copy: Path) -> None:
    edit("README.md", "| 12,031 |", "| 12,032 |")(copy)
    (found,) = findings(copy)
    assert re.match(r"line \d+: '\| mooncake \| conversation \| 12,032 ", str(found.found))


def test_many_resources_of_unknown_workloads_are_findings(copy: Path) -> None:
    lock = json.loads((copy / "datapackage.json").read_text())
    lock["resources"] = [lock["resources"][0] | {"workload": f"w{n}", "name": f"n{n}"} for n in range(2_000)]
    (copy / "datapackage.json").write_text(json.dumps(lock))
    assert sum("no such workload" in str(each.found) for each in findings(copy)) == 2_000


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "data/kavier/../../../x.parquet"])
def test_a_path_that_leaves_the_archive_is_a_finding(copy: Path, path: str) -> None:
    lock = json.loads((copy / "datapackage.json").read_text())
    lock["resources"][0]["path"] = path
    (copy / "datapackage.json").write_text(json.dumps(lock))
    assert path in [each.found for each in findings(copy)]


def test_look_alikes_need_no_citation(copy: Path) -> None:
    (copy / "CITATION.cff").unlink()
    for path in (copy / "recipes").glob("*.toml"):
        path.write_text(path.read_text().replace("\n[licence]", "\nsynthetic = true\n[licence]", 1))
    assert "CITATION.cff" not in {each.name for each in findings(copy)}


def test_a_lock_without_resources_is_a_finding(copy: Path) -> None:
    (copy / "datapackage.json").write_text(json.dumps({"name": "x"}))
    assert {"a Data Package", "a lock"} <= {each.name for each in findings(copy)}
