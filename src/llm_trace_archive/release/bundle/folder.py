"""The bundle as it is read: a folder with exactly the files of its SHA256SUMS."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.archive import CITATION, LOCK, SUMS
from ...core.documents import read_json, read_yaml
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

        Raises BadUse if it is not a bundle; Problem with every file that is missing, changed, not listed, or anything
        but a plain file, such as a link or a named pipe. Those are never opened.
        """
        sums = _read_sums(root)
        modes = {path: path.lstat().st_mode for path in root.rglob("*")}
        paths = {path.relative_to(root).as_posix(): path for path, mode in modes.items() if not stat.S_ISDIR(mode)}
        wrong = [f"{path}: missing" for path in sums.keys() - paths.keys()]
        wrong += [f"{path}: not in {SUMS}" for path in paths.keys() - sums.keys() - {SUMS}]
        files = []
        for path, file in sorted(paths.items()):
            if not stat.S_ISREG(modes[file]):
                wrong.append(f"{path}: {'a link' if stat.S_ISLNK(modes[file]) else 'not a plain file'}")
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
        """Its datapackage.json. Raises BadUse if it is not one."""
        package = self.read_json(LOCK)
        resources = package.get("resources")
        if not isinstance(resources, list) or not all(isinstance(each, dict) for each in resources):
            raise BadUse(str(self.root), "is not a bundle", reason=f"{LOCK}: has no list of resources", next=NEXT)
        return package

    @cached_property
    def citation(self) -> dict[str, Any]:
        """Its CITATION.cff. Raises BadUse if it is not YAML."""
        return self._read(read_yaml, CITATION)

    @property
    def version(self) -> str:
        """The version of the release."""
        return str(self.package.get("version", ""))

    def read_json(self, path: str) -> dict[str, Any]:
        """Return a JSON object in the bundle. Raises BadUse if the file is anything else."""
        return self._read(read_json, path)

    def _read(self, read: Callable[[Path, str], dict[str, Any]], path: str) -> dict[str, Any]:
        try:
            return read(self.root, path)
        except BadUse as problem:
            reason = f"{path}: {problem.details.get('reason') or problem.message}"[:300]
            raise BadUse(str(self.root), "is not a bundle", reason=reason, next=NEXT) from None


def _read_sums(root: Path) -> dict[str, str]:
    """Return the sha256 of each path in SHA256SUMS. Raises BadUse if it can't be read."""
    try:
        if not stat.S_ISREG((root / SUMS).lstat().st_mode):
            raise BadUse(str(root), "is not a bundle", reason=f"{SUMS}: not a plain file", next=NEXT)
        lines = (root / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise BadUse(str(root), "is not a bundle", reason=f"{SUMS}: {reason}", next=NEXT) from None
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
