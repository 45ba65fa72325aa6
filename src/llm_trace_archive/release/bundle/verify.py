"""Whether a bundle is what the gate passed: checked again before it is published, on the bundle's own files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...checks.result import Result
from ...checks.sensitive import check_texts
from ...core.archive import CITATION, LOCK, Archive
from ...core.errors import BadUse, Problem
from ...core.extras import require
from ...core.git import Git
from ..content.contents import LICENCE, NOTICE, REPORTS, digest_files
from ..content.notice import find_copies
from ..content.selection import select
from ..gate.check import list_public_addresses
from ..gate.rights import check_rights
from .folder import NEXT, Bundle

REPORT = REPORTS[0]
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def require_gated(bundle: Bundle) -> None:
    """Raise Problem, with every finding, unless the bundle is what the gate passed and may be published.

    Reads all texts of the bundle, and no table. Raises BadUse if its report or another file can't be read.
    """
    require("detect_secrets", "release", "a release")
    findings = [str(each) for each in _check(bundle) if not each.holds]
    if findings:
        raise Problem(
            str(bundle.root),
            "is not what the gate passed",
            found="\n".join(findings),
            kept="nothing was sent",
            next=NEXT,
        )


def require_tag(bundle: Bundle, archive: Archive) -> None:
    """Raise BadUse unless the tag of the version is at the commit that the bundle was made from."""
    commit, version = str(bundle.read_json(REPORT).get("commit", "")), bundle.version
    tagged = Git(archive.root).ask("rev-parse", "--verify", "--quiet", f"refs/tags/{version}^{{commit}}").strip()
    if tagged != commit:
        raise BadUse(
            str(bundle.root),
            "was not made from the commit that has the tag of its version",
            expected=f"tag {version} at {commit}",
            got=f"tag {version} at {tagged}" if tagged else f"no tag {version} in {archive.root}",
            kept="nothing was sent",
            next="git fetch --tags, or llm-traces release bundle DIR at the tag",
        )


def _check(bundle: Bundle) -> Iterator[Result]:
    yield from _check_report(bundle)
    yield from _check_texts(bundle)
    yield from _check_licences(bundle)


def _check_report(bundle: Bundle) -> Iterator[Result]:
    report, version = bundle.read_json(REPORT), bundle.version
    results = report.get("results")
    failed = (
        sum(1 for each in results if not isinstance(each, dict) or each.get("holds") is not True)
        if isinstance(results, list) and results
        else "no results"
    )
    content = f"sha256:{digest_files({each.path: each.sha256 for each in bundle.files})}"
    commit = str(report.get("commit", ""))
    facts = {
        "findings": (0, report.get("findings")),
        "results that do not hold": (0, failed),
        "version": (version, report.get("version")),
        "commit": ("a commit", "a commit" if COMMIT.fullmatch(commit) else commit or "none"),
        "digest of the files": (content, report.get("content")),
    }
    for name, (expected, found) in facts.items():
        yield Result("report", f"{name} in {REPORT}", str(expected), 0, str(found), "the files of the bundle")
    yield Result("report", f"version in {CITATION}", version, 0, str(bundle.citation.get("version")), LOCK)


def _check_texts(bundle: Bundle) -> Iterator[Result]:
    """Check every file for sensitive values but the tables, whose columns the gate checked."""
    tables = {str(each.get("path")) for each in bundle.package["resources"]}
    texts = {}
    for path in (each.path for each in bundle.files if each.path not in tables):
        try:
            texts[path] = (bundle.root / path).read_text(encoding="utf-8")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BadUse(str(bundle.root / path), reason, next=f"{NEXT}, or run the same command again") from None
        except UnicodeDecodeError:
            yield Result("content", path, "a text, or a table in datapackage.json", 0, "neither", LOCK)
    yield from check_texts(texts, {CITATION: list_public_addresses(bundle.citation)})


def _check_licences(bundle: Bundle) -> Iterator[Result]:
    """Check that every table may be redistributed, by the bundle's own recipes, and that its licence is here."""
    archive = Archive(bundle.root)
    released = {str(each) for each in select(archive).released}
    recipes = {}
    yes = "in a release"
    for name, each in archive.locked.items():
        yield Result("licence", f"table {name}", yes, 0, yes if name in released else "not redistributable", "recipes/")
        if name in released:
            recipes[str(each["trace"])] = recipe = archive.recipe(str(each["trace"]))
            licence, source = recipe.licence["spdx"], f"recipes/{recipe.file.name}"
            yield Result("licence", f"licence of {name}", licence, 0, _name_licences(each), source)
    for recipe in recipes.values():
        yield from check_rights(recipe)
    licences = [{"name": each.licence["spdx"], "path": each.licence["source"]} for each in recipes.values()]
    paths = {each.path for each in bundle.files}
    for path in (NOTICE, LICENCE, *find_copies(licences).values()):
        yield Result("licence", path, "present", 0, "present" if path in paths else "missing", LOCK)


def _name_licences(resource: Mapping[str, Any]) -> str:
    licences = resource.get("licenses")
    return " and ".join(str(each.get("name")) for each in licences or () if isinstance(each, dict)) or "none"
