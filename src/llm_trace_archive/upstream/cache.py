"""The cache of upstream files: a folder that several processes use at once, and in which any of them may be killed.

sha256/ab/<hash>, git_blob/ab/<hash>   content, hashed again at every use; its mtime is the time of the last use
unpinned/<sha256 of the URL>           content that no recipe pins
partial/<key>                          the beginning of a file; <key> is its name once it is complete
quarantine/<12 of its sha256>-<name>   a wrong file, with its reason beside it: <the same>.reason.txt
locks/<key>.lock                       held while a process fetches, quarantines or removes <key>
locks/in-use                           one byte per key, locked by each process that reads the content, until it ends
tags/<key>-<16 of the URL's sha256>    the sha256 of the ETag that the URL's server gave with the content
pinning/                               a cache of its own, into which llm-traces pin fetches the current upstream
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import BadUpstream, BadUse
from ..core.files import HASHES, hash_file, hash_name, move, replace_text
from ..core.recipe import UpstreamFile, Workload

PINNING = "pinning"
CONTENT = ("sha256", "git_blob", "unpinned")
REASON = ".reason.txt"  # suffix of the file that says why a file is in quarantine
DAY = 86400  # seconds

_in_use: dict[Path, int] = {}  # by cache folder: the handle of locks/in-use, open until the process ends


@dataclass(frozen=True)
class Entry:
    """One file of a cache.

    kind  one of CONTENT, "partial" or "quarantine"
    used  the time of the last use, in seconds since the epoch
    """

    cache: Cache
    path: Path
    kind: str
    bytes: int
    used: float

    @property
    def key(self) -> str:
        """The name of its lock."""
        return self.path.name

    def __str__(self) -> str:
        return self.path.relative_to(self.cache.folder).as_posix()


@dataclass(frozen=True)
class Cache:
    """The cache in `folder`. Its methods raise OSError if the disk refuses."""

    folder: Path

    def content_path(self, file: UpstreamFile) -> Path:
        """Return where the content of the file is kept."""
        if file.pin is None:
            return self.folder / "unpinned" / hashlib.sha256(file.url.encode()).hexdigest()
        kind, digits = file.pin
        return self.folder / kind / digits[:2] / digits

    def partial_path(self, file: UpstreamFile) -> Path:
        """Return where the beginning of the file is kept while it is being fetched."""
        return self.folder / "partial" / self.content_path(file).name

    @contextlib.contextmanager
    def lock(
        self, key: str, halt: Callable[[], None] = lambda: None, on_wait: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Keep other threads and processes from writing or removing `key`.

        halt     may raise to end the waiting
        on_wait  called once if another one has the lock
        """
        import filelock

        lock, is_first = filelock.FileLock(self._lock_path(key)), True
        while not lock.is_locked:
            halt()
            try:
                lock.acquire(timeout=0.5)
            except filelock.Timeout:
                if is_first:
                    on_wait()
                is_first = False
        try:
            yield
        finally:
            lock.release()

    def mark(self, key: str) -> None:
        """Keep other processes from removing the content of `key` until this process ends, however it ends."""
        import fcntl

        with contextlib.suppress(OSError):  # a read-only folder, from which no process can remove anything
            fcntl.lockf(self._open_marks(), fcntl.LOCK_SH, 1, _mark_position(key))

    def touch(self, path: Path) -> None:
        """Record that the content is used now."""
        with contextlib.suppress(OSError):  # a read-only folder
            os.utime(path)

    def add(self, file: UpstreamFile, path: Path) -> Path:
        """Move the complete file at `path` to its place in the cache, and return that place."""
        content = self.content_path(file)
        content.parent.mkdir(parents=True, exist_ok=True)
        move(path, content)
        return content

    def add_tag(self, file: UpstreamFile, url: str, tag: str) -> None:
        """Remember the ETag that the server of the URL gave with the content of the file."""
        path = self._tag_path(file, url)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, _hash_tag(tag))

    def has_tag(self, file: UpstreamFile, url: str, tag: str) -> bool | None:
        """Return whether the ETag is the one that is remembered; None if none is."""
        try:
            return self._tag_path(file, url).read_text() == _hash_tag(tag)
        except OSError:
            return None

    def quarantine(self, path: Path, problem: BadUpstream, name: str) -> BadUpstream:
        """Move a wrong file to `quarantine/`, its reason beside it; return the problem with the new path.

        name  of the upstream file
        """
        target = self.folder / "quarantine" / f"{hash_file(path)[0][:12]}-{name.replace('/', '_')}"
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_text(target.with_name(target.name + REASON), f"{problem}\n")  # first: no file is without a reason
        move(path, target)
        return BadUpstream(problem.subject, problem.message, **problem.details, kept_at=str(target))

    def entries(self) -> Iterator[Entry]:
        """Yield the files of the cache by kind and name, without lock files and files of others."""
        for kind in (*CONTENT, "partial", "quarantine"):
            for path in sorted(_list_files(self.folder / kind)):
                if kind == "quarantine":
                    is_ours = not path.name.endswith(REASON) or not Path(str(path).removesuffix(REASON)).exists()
                else:
                    is_ours = re.fullmatch("[0-9a-f]{40,64}", path.name) is not None
                with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
                    status = path.lstat()
                    if is_ours and stat.S_ISREG(status.st_mode):
                        yield Entry(self, path, kind, status.st_size, status.st_mtime)
        if (self.folder / PINNING).is_dir():
            yield from Cache(self.folder / PINNING).entries()

    def verify(self, names: Mapping[str, str]) -> Iterator[tuple[Entry, BadUpstream | None]]:
        """Hash all pinned content, and quarantine the corrupt; yield each entry with its problem, if it has one.

        names  of upstream files, by key
        """
        for entry in self.entries():
            if entry.kind in HASHES:
                with contextlib.suppress(FileNotFoundError):
                    yield entry, entry.cache._verify(entry, names.get(entry.key, entry.key))

    def prune(
        self, now: float, older_than: float | None, quarantine: bool, everything: bool, dry_run: bool
    ) -> Iterator[tuple[Entry, bool]]:
        """Remove files, and yield each with whether it was removed: a file in use stays.

        Partial files that no process fetches are always removed.

        older_than  remove content that was not used for so many days
        quarantine  remove the files in quarantine
        everything  remove all of that, whatever its age, and the ETags
        dry_run     remove nothing
        """
        for entry in self.entries():
            is_old = older_than is not None and now - entry.used >= older_than * DAY
            is_left = entry.kind == "partial" or entry.cache is not self
            if (
                everything
                or is_left
                or (entry.kind == "quarantine" and quarantine)
                or (entry.kind in CONTENT and is_old)
            ):
                yield entry, entry.cache._remove(entry, dry_run)
        if everything and not dry_run:
            for folder in (self.folder, self.folder / PINNING):
                shutil.rmtree(folder / "tags", ignore_errors=True)

    def _verify(self, entry: Entry, name: str) -> BadUpstream | None:
        if hash_file(entry.path, entry.kind)[0] == entry.key:
            return None
        with self.lock(entry.key):
            found, size = hash_file(entry.path, entry.kind)
            if found == entry.key:  # replaced by another process meanwhile
                return None
            kind = hash_name(entry.kind)
            problem = BadUpstream(
                name,
                "the cached file is corrupt",
                expected=f"{kind} {entry.key}",
                got=f"{size} bytes, {kind} {found}",
            )
            problem = self.quarantine(entry.path, problem, name.rpartition("/")[2])
            next = "nothing to do: it is fetched again when needed"
            return BadUpstream(problem.subject, problem.message, **problem.details, next=next)

    def _remove(self, entry: Entry, dry_run: bool) -> bool:
        """Remove an entry unless another process fetches or reads it; return whether it was, or would be, removed."""
        import fcntl

        import filelock

        if entry.kind == "quarantine":
            if not dry_run:
                for path in (entry.path, entry.path.with_name(entry.path.name + REASON)):
                    path.unlink(missing_ok=True)
            return True
        marks, position = self._open_marks(), _mark_position(entry.key)
        try:
            with filelock.FileLock(self._lock_path(entry.key), timeout=0):
                fcntl.lockf(marks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
                try:
                    if not dry_run:
                        entry.path.unlink(missing_ok=True)
                    return True
                finally:
                    fcntl.lockf(marks, fcntl.LOCK_UN, 1, position)
        except filelock.Timeout:
            return False
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN) and error.filename is None:  # the mark, not the disk
                return False
            raise

    def _lock_path(self, key: str) -> Path:
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{key}.lock"

    def _tag_path(self, file: UpstreamFile, url: str) -> Path:
        name = f"{self.content_path(file).name}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        return self.folder / "tags" / name

    def _open_marks(self) -> int:
        if self.folder not in _in_use:
            path = self._lock_path("in-use").with_suffix("")
            _in_use[self.folder] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return _in_use[self.folder]


def name_keys(workloads: Iterable[Workload]) -> dict[str, str]:
    """Return the name of the upstream file ("<trace>/<file>") for each key that files of the workloads may have."""
    cache, names = Cache(Path()), {}
    for file in (file for workload in workloads for file in workload.files):
        for each in (file, replace(file, sha256=None, git_blob=None)):
            names[cache.content_path(each).name] = f"{file.trace}/{file.name}"
    return names


def _list_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, which need not exist. Raises OSError if the folder or one below can't be read."""

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for parent, _, names in os.walk(folder, onerror=stop):
        yield from (Path(parent) / name for name in names)


def make_cache_problem(folder: Path, error: OSError) -> BadUse:
    """Return the problem of a cache whose disk refuses."""
    return BadUse(
        str(error.filename or folder),
        "the cache is not usable",
        reason=error.strerror or str(error),
        next="make the folder readable and writable, or set LLM_TRACES_CACHE to another folder",
    )


def _hash_tag(tag: str) -> str:
    return hashlib.sha256(tag.removeprefix("W/").encode()).hexdigest()


def _mark_position(key: str) -> int:
    """Return the byte of locks/in-use that stands for a key; where two keys share one, removing only waits longer."""
    return int(key[:15], 16)
