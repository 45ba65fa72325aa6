"""Whether the archive is committed, tagged, and has one version everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ...checks.result import Result
from ...core.archive import CITATION, LOCK
from ...core.git import Git
from ..content.citation import OF_VERSION, find_dois, find_placeholder, list_licences, read_licences
from ..content.contents import LICENCE, README, Contents

CHANGELOG = "CHANGELOG.md"
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.-]+)?")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
SHOWN = 5
PAST = "today or earlier"
REAL = "people or organisations"


def check_state(contents: Contents) -> Iterator[Result]:
    """Check git's tree and tag, the newest heading of the changelog, and the files that every release must have.

    The check of the package compares the versions of the lock, CITATION.cff and the code.
    """
    root, version = contents.archive.root, contents.version
    yield _result("working tree", "clean", _describe_tree(root), "git status")
    yield _result("tag of HEAD", version, _describe_tag(root, version), "git tag --points-at HEAD")
    yield _result("version", version if VERSION.fullmatch(version) else "like 1.2.3", version, LOCK)
    date = str(contents.citation.get("date-released", ""))
    heading = HEADING.search(_read(root / CHANGELOG))
    expected = f"{version} ({date if DATE.fullmatch(date) else 'the date-released of CITATION.cff'})"
    yield _result("date-released", PAST, _describe_date(date), CITATION)
    yield from _check_citation(contents)
    yield _result("newest version in CHANGELOG.md", expected, heading[1] if heading else "none", CHANGELOG)
    for path in (LICENCE, CITATION, README, CHANGELOG):
        yield _result(path, "present", _describe_file(root / path), "docs/release.md")
    for key, path in contents.licence_texts.items():
        yield _result(f"text of {key}, which requires a copy", "present", _describe_file(root / path), path)
    some = "1 or more"
    yield _result("tables to release", some, some if contents.selection.released else "none", LOCK)


def _check_citation(contents: Contents) -> Iterator[Result]:
    """Check that CITATION.cff names people or organisations, and the licences of all that is released, data first."""
    citation = contents.citation
    title = str(citation.get("title", ""))
    authors = [each for each in citation.get("authors") or () if isinstance(each, dict)]
    wrong = [text for each in authors if (text := find_placeholder(each, title))]
    found = REAL if authors and not wrong else f"placeholders: {', '.join(wrong)}" if wrong else "none"
    yield _result("authors", REAL, found, CITATION)
    dois = find_dois(citation)
    wanted = OF_VERSION.format(contents.version)
    first = next(iter(dois.items()), ("", ""))
    found = first[1] or "none: llm-traces release reserve"
    yield _result("first DOI in identifiers", wanted, found, CITATION)
    yield _result("doi", first[0] or "that of the version", str(citation.get("doi") or "none"), CITATION)
    licences = ", ".join(list_licences(contents.package["licenses"]))
    yield _result("licences of CITATION.cff", licences, ", ".join(read_licences(citation)) or "none", LOCK)


def _describe_date(date: str) -> str:
    """Return PAST if the day has begun anywhere on Earth, or the date."""
    today = datetime.now(timezone(timedelta(hours=14))).date().isoformat()
    return PAST if DATE.fullmatch(date) and date <= today else date or "none"


def _result(name: str, expected: str, found: str, source: str) -> Result:
    return Result("state", name, expected, 0, found, source)


def _describe_tree(root: Path) -> str:
    git = Git(root)
    top = git.ask("rev-parse", "--show-toplevel").strip()
    if not top or Path(top).resolve() != root.resolve():
        return "not a git repository"
    lines = git("--no-optional-locks", "status", "--porcelain", "--untracked-files=all").splitlines()
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(line[3:] for line in lines[:SHOWN]) + more if lines else "clean"


def _describe_tag(root: Path, version: str) -> str:
    tags = Git(root).ask("tag", "--points-at", "HEAD").split()
    return version if version in tags else ", ".join(tags) or "none"


def _describe_file(path: Path) -> str:
    return "present" if _read(path) else "missing or empty"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
