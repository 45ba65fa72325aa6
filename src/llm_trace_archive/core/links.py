"""git-annex's keys and links in plain Python, so that `data/` can be read and built without git-annex.

A locked workload has a key made of its sha256. One that was never built has no hash yet: its key is of git-annex's kind
for content without a known hash (VURL) and holds the recipe's digest, so that a changed recipe has another key. The
special remote serves both. When a maintainer locks the workload, the first kind replaces the second.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from .archive import Archive
from .errors import BadUse
from .files import inside, locked, move, replace_link
from .git import Git
from .recipe import Workload

UNBUILT = "VURL--llm-traces-"  # how the key of a workload that was never built begins


def locked_key(sha256: str, size: int) -> str:
    """Return git-annex's key of content with that sha256 (hex) and size in bytes."""
    return f"SHA256-s{size}--{sha256}"


def unbuilt_key(workload: Workload) -> str:
    """Return the key of a workload that was never built."""
    return f"{UNBUILT}{workload.trace}-{workload.name}-{workload.digest[:16]}"


def workloads_by_key(archive: Archive) -> dict[str, list[str]]:
    """Return every key that the special remote serves, with the workloads ("trace/workload") that share it.

    A workload that is neither locked nor pinned has none: it is only built on request. Raises BadUse if the lock is
    not usable.
    """
    workloads: dict[str, list[str]] = {}
    for name, resource in archive.locked.items():
        key = locked_key(str(resource["hash"]).removeprefix("sha256:"), resource["bytes"])
        workloads.setdefault(key, []).append(name)
    for workload in archive.select():
        if str(workload) not in archive.locked and workload.is_pinned:
            workloads[unbuilt_key(workload)] = [str(workload)]
    return workloads


def link_target(path: str, key: str) -> str:
    """Return the target of the symlink at `path`, which is relative to the archive's root."""
    return "../" * path.count("/") + content_path(key)


def content_path(key: str) -> str:
    """Return the path of a key's content below the root, in git-annex's mixed-case folders."""
    word = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "little")
    a, b, c, d = ("0123456789zqjxkmvwgpfZQJXKMVWGPF"[word >> shift & 31] for shift in (0, 6, 12, 18))
    return f".git/annex/objects/{b}{a}/{d}{c}/{key}/{key}"


def link_unbuilt(archive: Archive) -> None:
    """Link every pinned workload that was never built, so that `datalad get` finds it. Raises OSError.

    Anything other than such a link is left alone. Does nothing outside a git repository.
    """
    if not (archive.root / ".git").exists():
        return
    for workload in archive.select():
        path = inside(archive.root, workload.path)
        is_ours = path.is_symlink() and path.readlink().name.startswith(UNBUILT)
        if str(workload) in archive.locked or (os.path.lexists(path) and not is_ours):
            continue
        if workload.is_pinned:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_link(path, link_target(workload.path, unbuilt_key(workload)))
        elif is_ours:
            path.unlink()


def store(root: Path, path: str, file: Path, sha256: str, size: int) -> None:
    """Move a finished file with that sha256 and size into the annex, and link `path` to it.

    Outside a git repository the file itself moves to `path`. Whatever is at `path` is replaced. `file` must be on the
    same file system. Raises BadUse in a worktree that is not set up, or where `path` leads out of `root`; OSError.
    """
    link = inside(root, path)
    git = root / ".git"
    if git.is_file():
        raise BadUse(
            path,
            "can't be stored: .git is a file here (a worktree or submodule), and git-annex's links lead through it",
            next="llm-traces setup, which lets git-annex replace it by a link",
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    if not git.exists():
        move(file, link)
        return
    old_key = link.readlink().name if link.is_symlink() else ""
    key = locked_key(sha256, size)
    content = root / content_path(key)
    content.parent.mkdir(parents=True, exist_ok=True)
    with locked(content.parent):
        content.parent.chmod(0o755)
        try:
            file.chmod(0o444)
            move(file, content)
        finally:
            content.parent.chmod(0o555)
    replace_link(link, link_target(path, key))
    repository = Git(root)
    uuid = repository.config("annex.uuid")
    if uuid:
        # The content is in place even if this fails, and setup records it later.
        with contextlib.suppress(BadUse):
            repository("annex", "setpresentkey", key, uuid, "1")
        if old_key.startswith(UNBUILT) and (root / content_path(old_key)).exists():
            with contextlib.suppress(BadUse):
                repository("annex", "dropkey", "--force", old_key)
