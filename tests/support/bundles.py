"""Small bundles for the tests of the targets, laid out as `release bundle` does, with real Parquet and a report."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from llm_trace_archive.core.archive import CITATION, SUMS
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.content.contents import digest_files
from support.programs import ROOT

COMMIT = "1" * 40
REPORT = "release-report.json"
RECIPE = """\
name = "demo"
title = "Demo"
description = "Made up for the tests."
homepage = "https://example.org/demo"
cite = "Nobody, Demo, 2026, doi:10.1234/demo"
doi = "10.1234/demo"
collected = "Not at all."
format = "csv"
base = "https://example.org/"
[licence]
spdx = "CC-BY-4.0"
redistribute = true
source = "https://example.org/licence"
copyright = ["Copyright (c) 1843 A. A. L."]
[properties]
arrivals = "measured"
[columns]
input_tokens = { from = "in" }
"""
WORKLOAD = """\
[[workloads]]
name = "{name}"
title = "Demo, {name}"
files = [{{ name = "{name}.csv" }}]
"""

CARD = """---
pretty_name: Demo
license: cc-by-4.0
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - data/demo/*.parquet
---
# Demo

Version {version}.
"""


def tiny_bundle(root: Path, version: str = "1.0.0", **rows: int) -> Bundle:
    """Make a bundle at `root` with one table per keyword: its name and number of rows (default: few=3, many=5000)."""
    resources = []
    for name, count in (rows or {"few": 3, "many": 5000}).items():
        path = root / "data" / "demo" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        tokens = pa.array(range(count), pa.int32())
        table = pa.table({"trace": pa.array(["demo"] * count), "request_id": tokens, "input_tokens": tokens})
        pq.write_table(table, path, compression="zstd")
        content = path.read_bytes()
        resources.append(
            {
                "name": f"demo-{name}",
                "trace": "demo",
                "workload": name,
                "title": f"Demo, {name}",
                "path": f"data/demo/{name}.parquet",
                "type": "file",
                "format": "parquet",
                "bytes": len(content),
                "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
                "licenses": [{"name": "CC-BY-4.0", "path": "https://example.org/licence"}],
                "citation": "Nobody, Demo, 2026, doi:10.1234/demo",
                "doi": "10.1234/demo",
                "sources": [{"title": f"{name}.csv", "path": f"https://example.org/{name}.csv"}],
                "schema": "schemas/demo.json",
                "table": "request",
                "redistribute": True,
                "collected": "Not at all.",
                "properties": {"arrivals": "measured"},
                "anomalies": [],
                "upstreamBytes": count + 1,
                "facts": {"rows": count},
                "provenance": {
                    "recipe": "recipes/demo.toml",
                    "recipeDigest": "0" * 64,
                    "pins": [
                        {
                            "file": f"{name}.csv",
                            "url": f"https://example.org/{name}.csv",
                            "sha256": "0" * 64,
                            "bytes": 1,
                        }
                    ],
                    "tools": {"llm-trace-archive": version, "pyarrow": pa.__version__},
                },
            }
        )
    package = {
        "profile": "data-package",
        "name": "llm-trace-archive",
        "title": "LLM Trace Archive",
        "description": "Request traces.",
        "homepage": "https://github.com/llm-trace-archive/llm-trace-archive",
        "version": version,
        "licenses": [{"name": "CC-BY-4.0", "path": "https://spdx.org/licenses/CC-BY-4.0.html"}],
        "resources": resources,
    }
    citation = {
        "cff-version": "1.2.0",
        "message": "Cite it.",
        "title": "LLM Trace Archive",
        "abstract": "Request traces.",
        "type": "dataset",
        "authors": [
            {"family-names": "Doe", "given-names": "Jo", "orcid": "https://orcid.org/0000-0002-1825-0097"},
            {"name": "The LLM Trace Archive authors"},
        ],
        "version": version,
        "date-released": "2026-11-21",
        "license": "MIT",
        "keywords": ["LLM serving"],
    }
    (root / "datapackage.json").write_text(json.dumps(package, indent=2) + "\n")
    (root / "CITATION.cff").write_text(yaml.safe_dump(citation, sort_keys=False))
    (root / "README.md").write_text(CARD.format(version=version))
    (root / "LICENSE.txt").write_text("MIT\n")
    (root / "NOTICE").write_text("Demo: Nobody\n")
    for folder in ("recipes", "schemas"):
        (root / folder).mkdir(exist_ok=True)
    for name in ("recipe.schema.json", "request.json"):
        shutil.copy(ROOT / "schemas" / name, root / "schemas")
    workloads = [WORKLOAD.format(name=each["workload"]) for each in resources]
    (root / "recipes" / "demo.toml").write_text("".join([RECIPE, *workloads]))
    return summed(root)


def report_on(files: dict[str, str], version: str) -> str:
    """Return the gate's report on files without findings, given their sha256 by path."""
    held = {"subject": "release", "check": "state", "name": "made up", "holds": True}
    content = f"sha256:{digest_files(files)}"
    report = {"version": version, "commit": COMMIT, "content": content, "findings": 0, "results": [held]}
    return json.dumps(report, indent=2) + "\n"


def summed(root: Path, gated: bool = True) -> Bundle:
    """Write SHA256SUMS for what is in the folder, and open the bundle.

    gated  also write the report, as if the gate had passed what is there
    """

    def hash_all() -> dict[str, str]:
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != SUMS)
        return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    if gated:
        version = re.search(r'"version": "([^"]*)"', (root / "datapackage.json").read_text())
        (root / REPORT).write_text(report_on(hash_all(), version[1] if version else ""))
    (root / SUMS).write_text("".join(f"{sha256}  {path}\n" for path, sha256 in hash_all().items()))
    return Bundle.open(root)


def cited(bundle: Bundle, **changes: Any) -> Bundle:
    """Change values in the bundle's CITATION.cff, or remove those that become None, and open it again."""
    path = bundle.root / CITATION
    citation = {key: value for key, value in (bundle.citation | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(citation, sort_keys=False))
    return summed(bundle.root)
