"""The package as a whole: descriptor, paths, schemas, citation and licences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from .. import __version__
from ..core.archive import CITATION, LOCK, Archive
from ..core.documents import find_faults, read_yaml
from ..core.errors import BadUse
from ..core.files import real_path
from .entry import check_entry, check_releases
from .licences import check_licences
from .links import check_links
from .result import Result

STANDARD = "https://specs.frictionlessdata.io/data-package/"
CITATION_STANDARD = "https://github.com/citation-file-format/citation-file-format, 1.2.0"
SPDX = "https://spdx.org/licenses"
VALID = "valid"
# What CITATION.cff and the lock both say, by their names in each.
AGREE = {"title": "title", "repository-code": "homepage"}


def check_package(archive: Archive) -> Iterator[Result]:
    """Check everything that is not about one workload's rows. Reads no data."""
    try:
        lock = archive.lock
        found = VALID if lock else "missing"
    except BadUse as problem:
        if "found" not in problem.details:  # it can't be read
            raise
        lock, found = {}, problem.details["found"].replace("\n", "; ")[:300]
    yield _result("a lock", VALID, found, "schemas/datapackage.schema.json")
    if found == VALID:
        yield _result("a Data Package", VALID, _standard(lock), STANDARD)
        yield from _resources(archive)
        yield from check_links(archive)
    yield from _schemas(archive)
    yield from _citation(archive, lock)
    yield from check_licences(archive)
    licences = {recipe.licence["spdx"]: f"recipes/{name}.toml" for name, recipe in archive.recipes.items()}
    for licence, source in licences.items():
        yield _result(f"licence {licence}", VALID, _spdx(licence), f"{source}, {SPDX}")


def _result(name: str, expected: str, found: str, source: str) -> Result:
    return Result("package", name, expected, 0, found, source)


def _resources(archive: Archive) -> Iterator[Result]:
    for each in archive.locked.values():
        path = PurePosixPath(each["path"])
        inside = real_path((archive.root / path).parent).is_relative_to(real_path(archive.root))
        yield _result(
            f"folder of {each['name']}", "inside the archive", "inside the archive" if inside else "outside", LOCK
        )
        try:
            workload = archive.recipe(each["trace"]).workload(each["workload"])
        except BadUse as problem:
            yield _result(f"recipe of {each['name']}", "in recipes/", problem.message, LOCK)
            continue
        yield _result(f"path of {each['name']}", workload.path, str(path), LOCK)
        yield from check_entry(archive, workload, each)
        licence = archive.recipe(workload.trace).licence["spdx"]
        yield _result(
            f"licence of {each['name']}", licence, each["licenses"][0]["name"], f"recipes/{workload.trace}.toml"
        )


def _schemas(archive: Archive) -> Iterator[Result]:
    from frictionless import Schema

    for path, workload in {each.schema_path: each for each in archive.select()}.items():
        found = _notes(Schema.validate_descriptor(archive.schema(workload)))
        yield _result(path, VALID, found, "https://specs.frictionlessdata.io/table-schema/")


def _citation(archive: Archive, lock: dict[str, Any]) -> Iterator[Result]:
    """Check CITATION.cff; an archive of look-alikes needs none."""
    if not (archive.root / CITATION).exists() and any(recipe.synthetic for recipe in archive.recipes.values()):
        yield from check_releases(lock, None)
        return
    try:
        keys = read_yaml(archive.root, CITATION)
    except BadUse as problem:
        why = problem.details.get("reason") or problem.message.removeprefix("is ")
        yield _result(CITATION, VALID, why[:200], CITATION_STANDARD)
        return
    faults = "; ".join(
        f"{'.'.join(map(str, where))}: {why}" for where, why in find_faults(keys, "citation.schema.json")
    )
    yield _result(CITATION, VALID, faults[:300] or VALID, CITATION_STANDARD)
    yield from check_releases(lock, keys)
    for name, key in AGREE.items():
        if lock:
            expected = str(lock.get(key)).partition(" (")[0]  # the lock adds whether it has look-alikes
            yield _result(f"{name} of {CITATION}", expected, str(keys.get(name))[:200], LOCK)
    licences = keys.get("license")
    for each in licences if isinstance(licences, list) else [licences]:
        yield _result(f"licence of {CITATION}", VALID, _spdx(str(each)), SPDX)
    yield _result(f"version of {CITATION}", __version__, str(keys.get("version")), "the version of llm-trace-archive")
    if lock:
        yield _result(f"version of {LOCK}", __version__, str(lock.get("version")), "the version of llm-trace-archive")


@cache
def load_spdx() -> Any:
    """Return the licences that SPDX lists, with a parser of expressions. Slow: reads all of them."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


@cache
def _spdx(expression: str) -> str:
    """Return VALID for an SPDX licence expression, or what is wrong; LicenseRef- names a licence that SPDX lacks."""
    from license_expression import ExpressionError

    licensing = load_spdx()
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


def _standard(lock: dict[str, Any]) -> str:
    from frictionless import Package

    try:
        return _notes(Package.validate_descriptor(lock))
    except Exception as error:  # frictionless fails for some values of the wrong type
        return f"can't be checked: {type(error).__name__}: {error}"[:200]


def _notes(report: Any) -> str:
    notes: Iterable[list[Any]] = report.flatten(["note"])
    return VALID if report.valid else "; ".join(str(note) for (note,) in notes)[:300]
