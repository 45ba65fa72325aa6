"""The cache of upstream files: a folder that several processes use at once, and that any of them may die in.

sha256/ab/<hash>, git_blob/ab/<hash>   content, checked again whenever it is used; its mtime is when it was used last
unpinned/<sha256 of the URL>           content that no recipe pins
partial/<key>                          the beginning of a file on its way; <key> is the name it will have
quarantine/<12 of its hash>-<name>     what was wrong, beside it <the same>.reason.txt
locks/<key>.lock                       held while <key> is fetched, moved aside or removed
locks/in-use                           a byte a key, locked by each process that reads that content, until it ends
pinning/                               a cache of its own, in which llm-traces pin sees what an upstream has now
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import BadUpstream, BadUse
from ..core.files import HASHES, hash_file, hash_name
from ..core.recipe import UpstreamFile, Workload
from . import pins

PINNING = "pinning"
CONTENT = ("sha256", "git_blob", "unpinned")
DAY = 86400  # seconds

_in_use: dict[Path, int] = {}  # by cache folder: the file that holds this process's marks, open until it ends


@dataclass(frozen=True)
class Entry:
    """One file of a cache. `kind` is one of CONTENT, "partial" or "quarantine"; `used` is seconds of the epoch."""

    cache: Cache
    path: Path
    kind: str
    bytes: int
    used: float

    @property
    def key(self) -> str:
        """What its lock is named by."""
        return self.path.name

    def __str__(self) -> str:
        return self.path.relative_to(self.cache.folder).as_posix()


@dataclass(frozen=True)
class Cache:
    """The cache in `folder`. Methods raise OSError where the disk does not allow what they do."""

    folder: Path

    def content(self, file: UpstreamFile) -> Path:
        """Where the file's content is kept."""
        if file.pin is None:
            return self.folder / "unpinned" / hashlib.sha256(file.url.encode()).hexdigest()
        kind, digits = file.pin
        return self.folder / kind / digits[:2] / digits

    def partial(self, file: UpstreamFile) -> Path:
        """Where the file's beginning is kept while it is on its way."""
        return self.folder / "partial" / self.content(file).name

    @contextlib.contextmanager
    def lock(self, key: str, halt: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep other threads and processes from writing or removing `key`; `halt` may end the waiting by raising."""
        import filelock

        lock = filelock.FileLock(self._lock_path(key))
        while not lock.is_locked:
            halt()
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(timeout=0.5)
        try:
            yield
        finally:
            lock.release()

    def mark(self, key: str) -> None:
        """Keep the content of that key from being removed by others while this process lives, however it ends."""
        import fcntl

        with contextlib.suppress(OSError):  # of a folder that can't be written: nobody can remove from it either
            fcntl.lockf(self._marks(), fcntl.LOCK_SH, 1, _place(key))

    def touch(self, path: Path) -> None:
        """Note that the content was used now."""
        with contextlib.suppress(OSError):  # of a folder that can't be written
            os.utime(path)

    def entries(self) -> Iterator[Entry]:
        """All there is, in the order of kinds and names; lock files and what is not ours apart."""
        for kind in (*CONTENT, "partial", "quarantine"):
            for path in sorted((self.folder / kind).rglob("*")):
                if kind == "quarantine":
                    is_ours = (
                        not path.name.endswith(pins.REASON) or not Path(str(path).removesuffix(pins.REASON)).exists()
                    )
                else:
                    is_ours = re.fullmatch("[0-9a-f]{40,64}", path.name) is not None
                with contextlib.suppress(FileNotFoundError):  # removed by another process since
                    if is_ours and path.is_file():
                        told = path.stat()
                        yield Entry(self, path, kind, told.st_size, told.st_mtime)
        if (self.folder / PINNING).is_dir():
            yield from Cache(self.folder / PINNING).entries()

    def verify(self, names: Mapping[str, str]) -> Iterator[tuple[Entry, BadUpstream | None]]:
        """Hash all content that has a pin; what is wrong is quarantined and told. `names` are those of keys."""
        for entry in self.entries():
            if entry.kind in HASHES:
                with contextlib.suppress(FileNotFoundError):
                    yield entry, entry.cache._verified(entry, names.get(entry.key, entry.key))

    def prune(
        self, now: float, older_than: float | None, quarantine: bool, everything: bool, dry_run: bool
    ) -> Iterator[tuple[Entry, str]]:
        """Remove what nobody needs: each entry it is about, with "freed" or "in use".

        Beginnings of files that no process fetches any more go always; content that was not used for `older_than`
        days, and what is in quarantine, if asked for. `everything` is all of that, however young.
        """
        for entry in self.entries():
            old = older_than is not None and now - entry.used >= older_than * DAY
            is_left = entry.kind == "partial" or entry.cache is not self
            if everything or is_left or (entry.kind == "quarantine" and quarantine) or (entry.kind in CONTENT and old):
                yield entry, "freed" if entry.cache._remove(entry, dry_run) else "in use"

    def _verified(self, entry: Entry, name: str) -> BadUpstream | None:
        if hash_file(entry.path, entry.kind)[0] == entry.key:
            return None
        with self.lock(entry.key):
            found, size = hash_file(entry.path, entry.kind)
            if found == entry.key:  # a good one was put in its place since
                return None
            kind = hash_name(entry.kind)
            wrong = BadUpstream(
                name, "is spoilt in the cache", expected=f"{kind} {entry.key}", got=f"{size} bytes, {kind} {found}"
            )
            aside = pins.quarantine(entry.path, self.folder, str(wrong), name.rpartition("/")[2])
            next = "nothing: it is fetched again when it is needed"
            return BadUpstream(wrong.subject, wrong.message, **wrong.details, kept_at=str(aside), next=next)

    def _remove(self, entry: Entry, dry_run: bool) -> bool:
        """Whether it is removed, or would be; not if another process fetches or reads it."""
        import fcntl

        import filelock

        if entry.kind == "quarantine":
            if not dry_run:
                for path in (entry.path, entry.path.with_name(entry.path.name + pins.REASON)):
                    path.unlink(missing_ok=True)
            return True
        marks, place = self._marks(), _place(entry.key)
        try:
            with filelock.FileLock(self._lock_path(entry.key), timeout=0):
                fcntl.lockf(marks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                try:
                    if not dry_run:
                        entry.path.unlink(missing_ok=True)
                    return True
                finally:
                    fcntl.lockf(marks, fcntl.LOCK_UN, 1, place)
        except filelock.Timeout:
            return False
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN) and error.filename is None:  # of the mark, not of the disk
                return False
            raise

    def _lock_path(self, key: str) -> Path:
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{key}.lock"

    def _marks(self) -> int:
        if self.folder not in _in_use:
            path = self._lock_path("in-use").with_suffix("")
            _in_use[self.folder] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return _in_use[self.folder]


def names(workloads: Iterable[Workload]) -> dict[str, str]:
    """The upstream files of workloads, "<trace>/<file>", by the keys they may have."""
    cache, found = Cache(Path()), {}
    for file in (file for workload in workloads for file in workload.files):
        for each in (file, replace(file, sha256=None, git_blob=None)):
            found[cache.content(each).name] = f"{file.trace}/{file.name}"
    return found


def cant_write(folder: Path, error: OSError) -> BadUse:
    """What to tell of a cache whose disk refuses."""
    return BadUse(
        str(error.filename or folder),
        "can't be used as a cache",
        reason=error.strerror or str(error),
        next="make the folder writable, or set LLM_TRACES_CACHE to another folder",
    )


def _place(key: str) -> int:
    """The byte that stands for a key: where two share one, only removing is put off."""
    return int(key[:15], 16)
