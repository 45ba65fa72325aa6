"""The bundle: a folder with exactly what every target gets, and its SHA256SUMS."""

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

        Raises BadUse if it is no bundle; Problem, which names every file that is missing, changed, a link, or not told.
        """
        try:
            lines = (root / SUMS).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise BadUse(
                str(root), f"not a bundle: {SUMS}: {error.strerror or error}", next="llm-traces release bundle"
            ) from None
        told: dict[str, str] = {}
        for line in lines:
            match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
            if not match or not _is_inside(match[2]):
                raise BadUse(
                    str(root), f"{SUMS} has a line that is not ours", got=line[:200], next="llm-traces release bundle"
                )
            told[match[2]] = match[1]
        found = {
            path.relative_to(root).as_posix(): path
            for path in root.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        wrong = [f"{path}: missing" for path in told.keys() - found.keys()]
        wrong += [f"{path}: not in {SUMS}" for path in found.keys() - told.keys() - {SUMS}]
        files = []
        for path, file in sorted(found.items()):
            if file.is_symlink():
                wrong.append(f"{path}: a link")
                continue
            sha256, size = hash_file(file)
            files.append(BundleFile(path, size, sha256))
            if told.get(path, sha256) != sha256:
                wrong.append(f"{path}: sha256 {sha256}, told {told[path]}")
        if wrong:
            raise Problem(
                str(root), f"differs from its {SUMS}", found="\n".join(sorted(wrong)), next="llm-traces release bundle"
            )
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
        """The version it is a release of."""
        return str(self.package["version"])


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and str(pure) == path
