"""The special remote `llm-traces`: git-annex asks for a key, and gets the file built from pinned upstream bytes.

git-annex runs it as `git-annex-remote-llm-traces` and speaks its external special remote protocol over the pipes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from annexremote import Master, RemoteError, SpecialRemote
from filelock import FileLock

from ..core import links
from ..core.archive import LOCK, Archive
from ..core.errors import BadUse, Problem, Unavailable
from ..core.recipe import Workload
from ..core.settings import cache_folder
from ..lock import card
from .get import LIKEWISE, LINES
from .setup import REMOTE

if TYPE_CHECKING:
    from ..lock.build import Built
    from ..upstream.probe import Probe
    from ..upstream.sources import Sources

RECENT = 60  # seconds in which git-annex asks for the next file
READ_ONLY = "read-only: its files are built from pinned upstream bytes"


def flat(problem: Problem) -> str:
    """The whole message in one line, since the protocol has no more."""
    details = [f"{label}: {'; '.join(text.splitlines())}" for label, text in problem.details.items()]
    return LINES.join([f"{problem.subject}: {problem.message}", *details])


@contextlib.contextmanager
def _told(subject: str) -> Iterator[None]:
    """Hand every failure to git-annex as an answer, so that it is shown and the next file has its turn."""
    try:
        yield
    except Problem as problem:
        raise RemoteError(flat(problem)) from None
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        fault = Problem(subject, "llm-traces failed", reason=text, next="please report this as an issue of the archive")
        raise RemoteError(flat(fault)) from None


@contextlib.contextmanager
def _told_once() -> Iterator[None]:
    """Tell at length why a file can't be had, and of those that git-annex asks for next only that it is the same.

    git-annex runs several of these programs at a time: what was told stands in the cache, by the process that asks.
    """
    try:
        yield
    except Unavailable as problem:
        # The reasons apart from the names of the files: "cache: not there", "https://host: connection refused".
        reasons = re.sub(r"(://[^/\s]+)/\S*(?=: )", r"\1", problem.details.get("tried", ""))
        line = f"{os.getppid()} {reasons!r}\n"
        told = cache_folder() / "told"
        known = ""
        with contextlib.suppress(OSError):
            told.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{told}.lock"):
                if told.exists() and time.time() - told.stat().st_mtime < RECENT:
                    known = told.read_text(encoding="utf-8")
                told.write_text(known if line in known else known + line, encoding="utf-8")
        if line in known:
            raise Unavailable(problem.subject, problem.message + LIKEWISE) from None
        raise


class Remote(SpecialRemote):  # type: ignore[misc]  # annexremote has no types
    """Serves the keys of the lock. Every failure is a RemoteError, which git-annex shows to the user."""

    @cached_property
    def archive(self) -> Archive:
        """The archive of the repository git-annex works in. Raises BadUse."""
        ran = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, encoding="utf-8")
        if ran.returncode:
            raise BadUse(str(Path.cwd()), "not in the working tree of a git repository", said=ran.stderr.strip())
        return Archive.find(Path(ran.stdout.removesuffix("\n")))

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        """The workloads by key. Raises BadUse."""
        return links.keys(self.archive)

    def workload(self, key: str) -> Workload:
        """A workload whose file has that key. Raises BadUse."""
        if key not in self.keys:
            raise BadUse(
                key,
                f"not a key of {LOCK} in this checkout",
                next="check out the commit whose data links have this key, then get the file again",
            )
        return self.archive.select(self.keys[key][:1])[0]

    def initremote(self) -> None: ...

    def prepare(self) -> None: ...

    def getcost(self) -> int:
        return 250  # above that of the web (200): where a file can be downloaded it needs no building

    def getavailability(self) -> str:
        return "global"

    def checkpresent(self, key: str) -> bool:
        with _told(key):
            return key in self.keys and self._probe.is_obtainable(self.workload(key))

    def whereis(self, key: str) -> str:
        with contextlib.suppress(Problem):
            workload = self.workload(key)
            return f"llm-traces build {workload} from {', '.join(url for _, url in workload.sources)}"
        return ""

    def transfer_retrieve(self, key: str, local_file: str) -> None:
        with _told(key):
            self._build(key, Path(local_file).absolute())

    def transfer_store(self, key: str, local_file: str) -> None:
        raise RemoteError(f"{REMOTE} is {READ_ONLY}")

    def remove(self, key: str) -> None:
        raise RemoteError(f"{REMOTE} is {READ_ONLY}; git annex drop frees the local copy")

    @cached_property
    def _sources(self) -> Sources:
        from ..upstream.sources import Sources

        return Sources(cache=cache_folder(), mirror=os.environ.get("LLM_TRACES_MIRROR") or None)

    @cached_property
    def _probe(self) -> Probe:
        from ..upstream.probe import Probe

        return Probe(self._sources)

    def _build(self, key: str, target: Path) -> None:
        from ..lock.build import build_file

        workload = self.workload(key)
        sources = replace(self._sources, on_progress=self._progress(workload))
        # All at once: git-annex hashes its file while it grows, and accepts bytes that are rewritten later.
        with _told_once():
            build_file(self.archive, workload, target, sources, lambda built: self._agree(key, built))
        card.refresh(self.archive, [self.archive.select([name])[0].path for name in self.keys[key]])

    def _agree(self, key: str, built: Built) -> None:
        """Raise Problem if the lock says otherwise. A workload in no lock is held to the build's checks alone."""
        got = key if key.startswith(links.UNBUILT) else links.locked_key(built.sha256, built.bytes)
        if got != key:
            raise Problem(
                str(built.workload),
                f"what was built is not what {LOCK} says",
                expected=key,
                got=got,
                next="install the version of llm-trace-archive that belongs to this checkout, and get it again",
            )

    def _progress(self, workload: Workload) -> Callable[[str, int, int | None], None]:
        """Fetched upstream bytes, told as the same share of the key's bytes (if known), a per cent at a time."""
        whole = sum(file.bytes or 0 for file in workload.files)
        size = int(self.archive.locked.get(str(workload), {"bytes": whole})["bytes"])
        fetched: dict[str, int] = {}
        told = 0

        def progress(name: str, done: int, _total: int | None) -> None:
            nonlocal told
            fetched[name] = done
            share = min(100, 100 * sum(fetched.values()) // whole) if whole else 0
            if share > told:
                told = share
                self.annex.progress(size * share // 100)

        return progress


def main() -> None:
    """Run by git-annex: answer its requests until it closes the pipe."""
    if sys.stdin.isatty():
        sys.exit(f"git-annex-remote-{REMOTE}: git-annex runs this; what you want is: llm-traces get NAME")
    logging.disable()
    # What a library prints must not get between the lines of the protocol.
    protocol, sys.stdout = sys.stdout, sys.stderr
    master = Master(protocol)
    master.LinkRemote(Remote(master))
    try:
        master.Listen()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError:  # git-annex is gone
        os._exit(1)
