"""Files: their hashes, and the one place that writes them, so that no reader sees a half-written one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath

from .errors import BadUse

ABANDONED = 60  # seconds after which an unfinished link counts as one that a killed process left
_temporary: set[Path] = set()  # files of `temporary` in this process
HASHES = ("sha256", "git_blob")  # kinds of hash that a recipe can pin a file by


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes. Raises OSError, also for a pipe, which would wait for a writer."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def hash_file(path: Path, kind: str = "sha256") -> tuple[str, int]:
    """Return a file's hash in hex and its size in bytes, both of the bytes that were read. Raises OSError.

    kind  "sha256", "md5", or "git_blob": git's object id, sha1 over "blob <size>", a zero byte and the content
    """
    with open_regular(path) as content:
        if kind != "git_blob":
            return hashlib.file_digest(content, kind).hexdigest(), content.tell()
        head = f"blob {os.fstat(content.fileno()).st_size}\0".encode()
        digest = hashlib.file_digest(content, lambda: hashlib.sha1(head, usedforsecurity=False))
        return digest.hexdigest(), content.tell()


def hash_name(kind: str) -> str:
    """Return the name of a kind of hash for messages."""
    return kind.replace("_", " ")


def real_path(path: Path) -> Path:
    """Return a path without links. One that leads in a circle is returned as it is, and can't be opened."""
    return Path(os.path.realpath(path))  # of which Path.resolve makes a RuntimeError


def inside(root: Path, path: str) -> Path:
    """Return where `path` is below `root`, to write there. Raises BadUse if it leads out of `root`, even by a link."""
    parts = PurePosixPath(path).parts
    folders = [root.joinpath(*parts[:count]) for count in range(1, len(parts))]
    link = next((folder for folder in folders if folder.is_symlink()), None)
    if link or ".." in parts or path.startswith("/"):
        reason = f"{link.relative_to(root)} is a symbolic link" if link else ""
        raise BadUse(path, "is not written: it may lead out of the archive", reason=reason, next="make it a folder")
    return root / path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces `path` atomically when the block succeeds.

    If the block raises, the temporary file is removed and `path` keeps its old content. Raises OSError.
    """
    with temporary(path) as part:
        yield part
        move(part, path)


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside `path`, which is removed after the block unless it was moved.

    It is locked while the block runs, so that a later call recognises and removes the files of killed processes. Links
    are never followed. Raises OSError.
    """
    prefix = f".{path.name[:100]}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*.part"):
        _remove_abandoned(left)
    while True:
        part = path.with_name(f"{prefix}{secrets.token_hex(4)}.part")
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if part.exists():  # another process may have removed it before it was locked
                _temporary.add(part)
                yield part
                return
        finally:
            part.unlink(missing_ok=True)
            _temporary.discard(part)
            os.close(handle)


def remove_temporary() -> None:
    """Remove the files of `temporary` in this process, which is about to end without leaving their blocks."""
    for part in list(_temporary):
        with contextlib.suppress(OSError):
            part.unlink()


def _remove_abandoned(part: Path) -> None:
    with contextlib.suppress(OSError):  # locked by its process, or removed
        handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(handle)


def replace_link(path: Path, target: str) -> None:
    """Replace `path` atomically by a symbolic link to `target`. Raises OSError."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    prefix = f".{path.name[:100]}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*.link"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > ABANDONED:
                left.unlink()
    link = path.with_name(f"{prefix}{secrets.token_hex(4)}.link")
    link.symlink_to(target)
    move(link, path)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder while the block runs: other processes that lock it wait. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def move(file: Path, path: Path) -> None:
    """Flush a finished file or folder to disk and rename it to `path`, replacing a file there. Raises OSError."""
    if not file.is_symlink():
        sync(file)
    file.replace(path)


def sync(path: Path) -> None:
    """Flush a file or a folder to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty folder beside `path`, which is removed after the block unless `replace_folder` moved it.

    Other processes that ask for one beside the same `path` wait. First removes what a killed process left, and puts
    back a folder that it was replacing. Raises OSError.
    """
    part, old = _part_folder(path), _old_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        if old.exists() and not path.exists():
            old.rename(path)
        for each in (old, part):
            if each.exists():
                shutil.rmtree(each)
        part.mkdir()
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def replace_folder(path: Path) -> None:
    """Flush the finished `temporary_folder` and all in it to disk, and rename it to `path`, replacing a folder there.

    If that fails, the folder at `path` stays. Raises OSError.
    """
    part, old = _part_folder(path), _old_folder(path)
    for each in part.rglob("*"):
        sync(each)
    if path.exists():
        path.rename(old)
    try:
        move(part, path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    sync(path.parent)
    if old.exists():
        shutil.rmtree(old)


def _part_folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _old_folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def replace_text(path: Path, text: str) -> None:
    """Replace a file's text atomically; leave a file alone that has this text already. Raises OSError."""
    content = text.encode()
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with replacing(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def output(path: Path) -> Iterator[Path]:
    """Yield where to write what the user asked for at `path`: a file that replaces it at the end, a device or a pipe.

    Links of the user are followed. Raises BadUse if the block can't write there; a file then keeps its content.
    """
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            yield path  # a device can't be replaced
        else:
            with replacing(real_path(path)) as part:
                yield part
    except OSError as error:
        raise _not_written(path, error) from None


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which appears at `path` at the end. Raises BadUse if something is there already."""
    try:
        if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
            raise BadUse(str(path), "exists already", kept="as it was", next="give another folder, or remove this one")
        with temporary_folder(path) as part:
            yield part
            replace_folder(path)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> BadUse:
    return BadUse(
        str(path),
        f"can't be written: {error.strerror or error}",
        kept="what was there, if anything; nothing is half-written",
        next="give another file, or free some space",
    )


def write_output(path: Path, text: str) -> None:
    """Write text where the user asked for it, as `output` does. Raises BadUse."""
    with output(path) as part:
        part.write_text(text, encoding="utf-8")


def require_utf8(folder: Path) -> None:
    """Raise BadUse for a path that is not UTF-8, which Arrow can't open."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise BadUse(str(folder), "is not UTF-8 text", next="rename it, or give another path") from None
