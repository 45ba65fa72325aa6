"""Whether the archive stands at a version: a clean tree, tagged, and one version everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...checks.result import Result
from ...core.archive import CITATION, LOCK
from ...core.git import Git
from ..content.contents import LICENCE, README, Contents

CHANGELOG = "CHANGELOG.md"
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.-]+)?")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
SHOWN = 5


def state(contents: Contents) -> Iterator[Result]:
    """Git's tree and tag, the newest heading of the changelog, and the files that no release can do without.

    That the versions of the lock, CITATION.cff and the package agree is checked with the package.
    """
    root, version = contents.archive.root, contents.version
    yield _result("working tree", "clean", _tree(root), "git status")
    yield _result("tag of HEAD", version, _tag(root, version), "git tag --points-at HEAD")
    yield _result("version", version if VERSION.fullmatch(version) else "like 1.2.3", version, LOCK)
    citation = contents.citation
    date = str(citation.get("date-released", ""))
    heading = HEADING.search(_read(root / CHANGELOG))
    wanted = f"{version} ({date if DATE.fullmatch(date) else 'the date-released of CITATION.cff'})"
    yield _result("newest version in CHANGELOG.md", wanted, heading[1] if heading else "none", CHANGELOG)
    for path in (LICENCE, CITATION, README, CHANGELOG):
        yield _result(path, "here", "here" if _read(root / path) else "missing or empty", "docs/release.md")
    for key, path in contents.licence_texts.items():
        found = "here" if _read(root / path) else "missing or empty"
        yield _result(f"text of {key}, which asks for a copy", "here", found, path)
    some = "1 table or more"
    yield _result("to release", some, some if contents.selection.released else "nothing", LOCK)


def _result(name: str, expected: str, found: str, source: str) -> Result:
    return Result("state", name, expected, 0, found, source)


def _tree(root: Path) -> str:
    git = Git(root)
    top = git.ask("rev-parse", "--show-toplevel").strip()
    if not top or Path(top).resolve() != root.resolve():
        return "not a git repository"
    lines = git("--no-optional-locks", "status", "--porcelain", "--untracked-files=all").splitlines()
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(line[3:] for line in lines[:SHOWN]) + more if lines else "clean"


def _tag(root: Path, version: str) -> str:
    tags = Git(root).ask("tag", "--points-at", "HEAD").split()
    return version if version in tags else ", ".join(tags) or "none"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
