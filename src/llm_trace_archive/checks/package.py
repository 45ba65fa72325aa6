"""The package as a whole: the descriptor, the recipes it was made from, and paths that stay inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ..archive import LOCK, Archive
from ..errors import BadUse
from . import Result

STANDARD = "https://specs.frictionlessdata.io/data-package/"


def package(archive: Archive) -> Iterator[Result]:
    """Everything that is not about one workload's rows. Reads no data."""

    def result(name: str, expected: str, found: str, source: str) -> Result:
        return Result("package", name, expected, 0, found, source)

    lock, seen = archive.lock, set()
    yield result("a Data Package", "valid", _standard(lock), STANDARD)
    for each in archive.locked.values():
        path = PurePosixPath(each["path"])
        place = f"data/{each['trace']}/{each['workload']}.parquet"
        yield result(f"path of {each['name']}", place, "twice" if str(path) in seen else str(path), LOCK)
        seen.add(str(path))
        inside = (archive.root / path).parent.resolve().is_relative_to(archive.root.resolve())
        yield result(
            f"folder of {each['name']}", "inside the archive", "inside the archive" if inside else "outside", LOCK
        )
        try:
            workload = archive.recipe(each["trace"]).workload(each["workload"])
        except BadUse as problem:
            yield result(f"recipe of {each['name']}", "in recipes/", problem.message, LOCK)
            continue
        digest = each["provenance"]["recipeDigest"]
        yield result(f"recipe of {each['name']}", workload.digest, digest, f"recipes/{workload.trace}.toml")
        licence = archive.recipe(workload.trace).licence["spdx"]
        yield result(
            f"licence of {each['name']}", licence, each["licenses"][0]["name"], f"recipes/{workload.trace}.toml"
        )


def _standard(lock: dict[str, Any]) -> str:
    from frictionless import Package

    report = Package.validate_descriptor(lock)
    return "valid" if report.valid else "; ".join(str(note) for (note,) in report.flatten(["note"]))[:300]
