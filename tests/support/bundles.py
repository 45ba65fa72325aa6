"""Small bundles for the tests of the targets, laid out as `release bundle` does, with real Parquet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from llm_trace_archive.core.archive import CITATION, SUMS
from llm_trace_archive.release.bundle.folder import Bundle

CARD = """---
pretty_name: Demo
license: other
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
                "facts": {"rows": count},
            }
        )
    package = {
        "profile": "data-package",
        "name": "llm-trace-archive",
        "title": "LLM Trace Archive",
        "description": "Request traces.",
        "homepage": "https://github.com/llm-trace-archive/llm-trace-archive",
        "version": version,
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
    return summed(root)


def summed(root: Path) -> Bundle:
    """Write SHA256SUMS for what is in the folder, and open the bundle."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n" for path in files
    ]
    (root / SUMS).write_text("".join(lines))
    return Bundle.open(root)


def cited(bundle: Bundle, **changes: Any) -> Bundle:
    """Change values in the bundle's CITATION.cff, and open it again."""
    path = bundle.root / CITATION
    path.write_text(yaml.safe_dump(bundle.citation | changes, sort_keys=False))
    return summed(bundle.root)
