"""The package as a whole: descriptor, paths, schemas, citation and licences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from .. import __version__
from ..core.archive import CITATION, LOCK, Archive
from ..core.errors import BadUse
from .result import Result

STANDARD = "https://specs.frictionlessdata.io/data-package/"
CITATION_STANDARD = "https://github.com/citation-file-format/citation-file-format, 1.2.0"
SPDX = "https://spdx.org/licenses"
VALID = "valid"


def check_package(archive: Archive) -> Iterator[Result]:
    """Check everything that is not about one workload's rows. Reads no data."""
    lock = archive.lock
    yield _result("a Data Package", VALID, _standard(lock), STANDARD)
    yield _result("a lock", VALID, _json_schema(archive, "datapackage", lock), "schemas/datapackage.schema.json")
    yield from _resources(archive)
    yield from _schemas(archive)
    yield from _citation(archive, lock)
    licences = {recipe.licence["spdx"]: f"recipes/{name}.toml" for name, recipe in archive.recipes.items()}
    for licence, source in licences.items():
        yield _result(f"licence {licence}", VALID, _spdx(licence), f"{source}, {SPDX}")


def _result(name: str, expected: str, found: str, source: str) -> Result:
    return Result("package", name, expected, 0, found, source)


def _resources(archive: Archive) -> Iterator[Result]:
    seen = set()
    for each in archive.locked.values():
        path = PurePosixPath(each["path"])
        inside = (archive.root / path).parent.resolve().is_relative_to(archive.root.resolve())
        yield _result(
            f"folder of {each['name']}", "inside the archive", "inside the archive" if inside else "outside", LOCK
        )
        try:
            workload = archive.recipe(each["trace"]).workload(each["workload"])
        except BadUse as problem:
            yield _result(f"recipe of {each['name']}", "in recipes/", problem.message, LOCK)
            continue
        yield _result(f"path of {each['name']}", workload.path, "twice" if str(path) in seen else str(path), LOCK)
        seen.add(str(path))
        digest = each["provenance"]["recipeDigest"]
        yield _result(f"recipe of {each['name']}", workload.digest, digest, f"recipes/{workload.trace}.toml")
        licence = archive.recipe(workload.trace).licence["spdx"]
        yield _result(
            f"licence of {each['name']}", licence, each["licenses"][0]["name"], f"recipes/{workload.trace}.toml"
        )


def _schemas(archive: Archive) -> Iterator[Result]:
    from frictionless import Schema
    from jsonschema import Draft202012Validator, SchemaError

    for path in sorted((archive.root / "schemas").glob("*.json")):
        try:
            schema = json.loads(path.read_text(encoding="utf-8"))
            if path.name.endswith(".schema.json"):
                Draft202012Validator.check_schema(schema)
                yield _result(f"schemas/{path.name}", VALID, VALID, str(schema.get("$schema")))
                continue
            report = Schema.validate_descriptor(schema)
            yield _result(
                f"schemas/{path.name}", VALID, _notes(report), "https://specs.frictionlessdata.io/table-schema/"
            )
        except (ValueError, OSError, SchemaError) as error:
            yield _result(f"schemas/{path.name}", VALID, str(error)[:200], "JSON")


def _citation(archive: Archive, lock: dict[str, Any]) -> Iterator[Result]:
    """Check CITATION.cff; an archive of look-alikes needs none."""
    import yaml

    path = archive.root / CITATION
    if not path.exists() and any(recipe.synthetic for recipe in archive.recipes.values()):
        return
    try:
        # Keeps dates and versions as text.
        cff = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        yield _result(CITATION, VALID, str(why)[:200], CITATION_STANDARD)
        return
    yield _result(CITATION, VALID, _json_schema(archive, "citation", cff), CITATION_STANDARD)
    keys = cff if isinstance(cff, dict) else {}
    yield _result(f"licence of {CITATION}", VALID, _spdx(str(keys.get("license"))), SPDX)
    yield _result(f"version of {CITATION}", __version__, str(keys.get("version")), "the version of llm-trace-archive")
    if lock:
        yield _result(f"version of {LOCK}", __version__, str(lock.get("version")), "the version of llm-trace-archive")


def _json_schema(archive: Archive, name: str, value: Any) -> str:
    from jsonschema import Draft202012Validator

    path = archive.root / "schemas" / f"{name}.schema.json"
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"schemas/{path.name} can't be read: {error}"[:200]
    errors = Draft202012Validator(schema).iter_errors(value)
    return "; ".join(f"{error.json_path}: {error.message[:100]}" for error in errors)[:300] or VALID


def _spdx(expression: str) -> str:
    """Return VALID for an SPDX licence expression, or what is wrong; LicenseRef- names a licence that SPDX lacks."""
    from license_expression import ExpressionError

    licensing = _licensing()
    try:
        names = [symbol.key for symbol in licensing.parse(expression).symbols]
    except ExpressionError as error:
        return str(error)[:200]
    unknown = [
        name
        for name in names
        if name not in licensing.known_symbols and not re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", name)
    ]
    return f"unknown: {', '.join(unknown)}" if unknown else VALID


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def _standard(lock: dict[str, Any]) -> str:
    from frictionless import Package

    return _notes(Package.validate_descriptor(lock))


def _notes(report: Any) -> str:
    notes: Iterable[list[Any]] = report.flatten(["note"])
    return VALID if report.valid else "; ".join(str(note) for (note,) in notes)[:300]
