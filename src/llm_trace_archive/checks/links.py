"""What is under `data/`: a link into this archive's annex for each workload, or its file, and nothing else.

Content may be absent; a link that leads anywhere else is not a link to absent content. Reads no data.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..core.archive import LOCK, Archive
from ..core.git import Git
from ..core.links import link_target, locked_key, unbuilt_key
from ..core.recipe import Workload
from .result import Result

FILE = "a file"
NOTHING = "nothing"
TEMPORARY = (".part", ".link")  # of a build in progress, in .gitignore
SHOWN = 3


def check_links(archive: Archive) -> Iterator[Result]:
    """Check the link of every workload, and that there are no other files."""
    is_repository = (archive.root / ".git").exists()
    pointers = _Pointers(archive.root) if is_repository else None
    workloads = archive.select()
    for workload in workloads:
        path = archive.root / workload.path
        resource = archive.locked.get(str(workload))
        key = locked_key(resource["hash"].removeprefix("sha256:"), resource["bytes"]) if resource else ""
        if not key and workload.is_pinned:
            key = unbuilt_key(workload)
        found = _describe(path)
        if found == FILE and (pointers is None or pointers.has(workload.path, key)):
            expected = FILE
        elif found == NOTHING and not (resource and is_repository):
            expected = NOTHING
        else:
            expected = link_target(workload.path, key) if key else NOTHING
        source = LOCK if resource else f"recipes/{workload.trace}.toml, as it is not in {LOCK}"
        yield Result("package", f"link {workload.path}", expected, 0, found, source)
    yield _check_strays(archive, workloads)


def _describe(path: Path) -> str:
    """Return the target of a link, FILE, NOTHING, or what else is at a path."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return NOTHING
    if stat.S_ISLNK(mode):
        return str(path.readlink())
    return FILE if stat.S_ISREG(mode) else "neither a link nor a file"


def _check_strays(archive: Archive, workloads: list[Workload]) -> Result:
    """Check that every file under `data/` is a workload's: readers take whatever a pattern such as *.parquet finds."""
    known = {each.path for each in workloads}
    strays = []
    for folder, folders, files in os.walk(archive.root / "data"):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            path = Path(folder, name).relative_to(archive.root).as_posix()
            if path not in known and not (name.startswith(".") and name.endswith(TEMPORARY)):
                strays.append(path)
    more = f" and {len(strays) - SHOWN:,} more" if len(strays) > SHOWN else ""
    found = ", ".join(sorted(strays)[:SHOWN]) + more if strays else "none"
    return Result("package", "other files under data/", "none", 0, found[:300], "recipes/")


class _Pointers:
    """The files that git has in place of links: git-annex's pointers, or links in a clone without symbolic links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs: Mapping[str, str] | None = None

    def has(self, path: str, key: str) -> bool:
        """Return whether git has the pointer to a key, or the link to it as a file, at a path."""
        if self._blobs is None:
            git = Git(self._root)
            has_links = git.ask("config", "--default", "true", "--get", "core.symlinks").strip() != "false"
            listed = git.ask("ls-files", "-s", "-z", "--", "data").split("\0")
            entries = (line.split("\t", 1) for line in listed if line)
            self._blobs = {
                name: about.split()[1] for about, name in entries if not (has_links and about.startswith("120000"))
            }
        return self._blobs.get(path) in (_blob(f"/annex/objects/{key}\n"), _blob(link_target(path, key)))


def _blob(text: str) -> str:
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
