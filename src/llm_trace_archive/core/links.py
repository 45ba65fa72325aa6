"""git-annex's keys and links in plain Python: what `data/` holds, readable and buildable without git-annex.

A workload of the lock has a key of its sha256. One that was never built has no hash yet: its key is of git-annex's kind
for content whose hash nobody knows beforehand (VURL) and tells the recipe's digest, so that a changed recipe is another
content. The special remote serves both; once a maintainer has locked the workload, the first kind replaces the second.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from .archive import Archive
from .errors import BadUse
from .files import locked, move, replace_link
from .git import Git
from .recipe import Workload

UNBUILT = "VURL--llm-traces-"


def locked_key(sha256: str, size: int) -> str:
    """The key by which git-annex knows content of that sha256 (hex) and size in bytes."""
    return f"SHA256-s{size}--{sha256}"


def unbuilt_key(workload: Workload) -> str:
    """The key of a workload that was never built."""
    return f"{UNBUILT}{workload.trace}-{workload.name}-{workload.digest[:16]}"


def keys(archive: Archive) -> dict[str, list[str]]:
    """Every key the special remote serves, each with the workloads ("trace/workload") that share it.

    Those without a pin have none: nothing can be built from them unasked. Raises BadUse: no usable lock.
    """
    found: dict[str, list[str]] = {}
    locked = archive.locked
    for name, resource in locked.items():
        key = locked_key(str(resource["hash"]).removeprefix("sha256:"), resource["bytes"])
        found.setdefault(key, []).append(name)
    for workload in archive.select():
        if str(workload) not in locked and workload.is_pinned:
            found[unbuilt_key(workload)] = [str(workload)]
    return found


def target(path: str, key: str) -> str:
    """Where the symlink at `path`, relative to the archive's root, points to."""
    return "../" * path.count("/") + content(key)


def content(key: str) -> str:
    """The content's path below the root, in git-annex's folders of mixed case."""
    word = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "little")
    a, b, c, d = ("0123456789zqjxkmvwgpfZQJXKMVWGPF"[word >> shift & 31] for shift in (0, 6, 12, 18))
    return f".git/annex/objects/{b}{a}/{d}{c}/{key}/{key}"


def link_unbuilt(archive: Archive) -> None:
    """Give every pinned workload that was never built its link, so that `datalad get` finds it. Raises OSError.

    What stands in a link's place and is no such link is left alone. Does nothing outside a git repository.
    """
    if not (archive.root / ".git").exists():
        return
    locked = archive.locked
    for workload in archive.select():
        path = archive.root / workload.path
        ours = path.is_symlink() and path.readlink().name.startswith(UNBUILT)
        if str(workload) in locked or not (ours or not os.path.lexists(path)):
            continue
        if workload.is_pinned:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_link(path, target(workload.path, unbuilt_key(workload)))
        elif ours:
            path.unlink()


def store(root: Path, path: str, file: Path, sha256: str, size: int) -> None:
    """Move the finished file, of that sha256 and size, to where `path` says: into the annex, with a link to it.

    Where the archive is no git repository the file itself goes to `path`. Whatever stood there is replaced. `file` must
    be on the same file system. Raises BadUse in a worktree that git-annex doesn't know yet, OSError.
    """
    place = root / path
    git = root / ".git"
    if git.is_file():
        raise BadUse(
            path,
            "can't be stored: links of git-annex lead through .git, and here that is a file (a worktree or submodule)",
            next="llm-traces setup, which lets git-annex make it a link",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    if not git.exists():
        move(file, place)
        return
    before = place.readlink().name if place.is_symlink() else ""
    key = locked_key(sha256, size)
    kept = root / content(key)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.parent):
        kept.parent.chmod(0o755)
        try:
            file.chmod(0o444)
            move(file, kept)
        finally:
            kept.parent.chmod(0o555)
    replace_link(place, target(path, key))
    if before.startswith(UNBUILT):
        _forget(root, before)
    here = Git(root).config("annex.uuid")
    if here:
        with contextlib.suppress(BadUse):  # the content is in place; setup records what is missed here
            Git(root)("annex", "setpresentkey", key, here, "1")


def _forget(root: Path, key: str) -> None:
    """Drop content that another key holds now: nobody asks for this one any more."""
    if (root / content(key)).exists() and Git(root).config("annex.uuid"):
        with contextlib.suppress(BadUse):
            Git(root)("annex", "dropkey", "--force", key)
