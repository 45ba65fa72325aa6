"""The bundle as it is read: a folder with exactly the files of its SHA256SUMS."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.archive import CITATION, LOCK, SUMS
from ...core.errors import BadUse, Problem
from ...core.files import hash_file

NEXT = "llm-traces release bundle DIR"


@dataclass(frozen=True)
class BundleFile:
    """One file: its path relative to the bundle (POSIX), its size in bytes and its sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """A finished bundle: its folder, and all its files in the order of their paths, SHA256SUMS among them."""

    root: Path
    files: tuple[BundleFile, ...]

    @classmethod
    def open(cls, root: Path) -> Bundle:
        """Read the bundle at `root` and check every file against SHA256SUMS.

        Raises BadUse if it is not a bundle; Problem with every file that is missing, changed, a link, or not listed.
        """
        sums = _read_sums(root)
        paths = {
            path.relative_to(root).as_posix(): path
            for path in root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        wrong = [f"{path}: missing" for path in sums.keys() - paths.keys()]
        wrong += [f"{path}: not in {SUMS}" for path in paths.keys() - sums.keys() - {SUMS}]
        files = []
        for path, file in sorted(paths.items()):
            if file.is_symlink():
                wrong.append(f"{path}: a link")
                continue
            sha256, size = hash_file(file)
            files.append(BundleFile(path, size, sha256))
            if sums.get(path, sha256) != sha256:
                wrong.append(f"{path}: sha256 {sha256}, expected {sums[path]}")
        if wrong:
            raise Problem(str(root), f"differs from its {SUMS}", found="\n".join(sorted(wrong)), next=NEXT)
        return cls(root, tuple(files))

    @cached_property
    def package(self) -> dict[str, Any]:
        """Its datapackage.json."""
        package: dict[str, Any] = json.loads((self.root / LOCK).read_text(encoding="utf-8"))
        return package

    @cached_property
    def citation(self) -> dict[str, Any]:
        """Its CITATION.cff."""
        import yaml

        citation: dict[str, Any] = yaml.safe_load((self.root / CITATION).read_text(encoding="utf-8"))
        return citation

    @property
    def version(self) -> str:
        """The version of the release."""
        return str(self.package["version"])


def _read_sums(root: Path) -> dict[str, str]:
    """Return the sha256 of each path in SHA256SUMS. Raises BadUse if it can't be read."""
    try:
        lines = (root / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadUse(str(root), "is not a bundle", reason=f"{SUMS}: {error.strerror or error}", next=NEXT) from None
    sums = {}
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        if not match or not _is_inside(match[2]):
            raise BadUse(str(root), f"{SUMS} has an invalid line", got=line[:200], next=NEXT)
        sums[match[2]] = match[1]
    return sums


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and str(pure) == path
