"""The answers of the special remote `llm-traces`: git-annex asks for a key, and its file is built from pinned bytes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from annexremote import ProtocolError, RemoteError, SpecialRemote

from ..core import links
from ..core.archive import LOCK, Archive
from ..core.errors import BadUse, Problem, Unavailable, from_system
from ..core.extras import DISTRIBUTION
from ..core.recipe import Workload
from ..core.settings import cache_folder
from ..lock import card
from .messages import send_line, shorten, to_line
from .setup import REMOTE

if TYPE_CHECKING:
    from ..lock.build import Built
    from ..upstream.probe import Probe
    from ..upstream.sources import Sources

COST = 250  # above the web's 200: a file that can be downloaded need not be built
READ_ONLY = "read-only: its files are built from pinned upstream bytes"


@contextlib.contextmanager
def _as_remote_error(subject: str) -> Iterator[None]:
    """Turn every failure into an answer, which git-annex prints before it asks for the next file."""
    try:
        yield
    except Problem as problem:
        raise RemoteError(to_line(problem)) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise RemoteError(to_line(from_system(error))) from None
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        bug = Problem(subject, "llm-traces failed", reason=reason, next="report this as an issue of the archive")
        raise RemoteError(to_line(bug)) from None


class Remote(SpecialRemote):  # type: ignore[misc]  # annexremote has no types
    """Serves the keys of the lock. Every failure is a RemoteError, which git-annex prints."""

    @cached_property
    def archive(self) -> Archive:
        """The archive of the repository that git-annex works in. Raises BadUse."""
        ran = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True)
        if ran.returncode:
            output = ran.stderr.decode(errors="replace").strip()
            raise BadUse(str(Path.cwd()), "is not in the working tree of a git repository", output=output)
        return Archive.find(Path(os.fsdecode(ran.stdout.removesuffix(b"\n"))))

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        """The names of workloads by key. Raises BadUse."""
        return links.workloads_by_key(self.archive)

    def workload(self, key: str) -> Workload:
        """Return a workload whose file has that key. Raises BadUse."""
        if key not in self.keys:
            raise BadUse(
                key,
                f"is not a key of {LOCK} in this checkout",
                next="check out the commit whose links in data/ have this key, then get the file again",
            )
        return self.archive.select(self.keys[key][:1])[0]

    def initremote(self) -> None: ...

    def prepare(self) -> None: ...

    def getcost(self) -> int:
        return COST

    def getavailability(self) -> str:
        return "global"

    def checkpresent(self, key: str) -> bool:
        with _as_remote_error(key):
            if key not in self.keys:
                return False
            workload = self.workload(key)
            try:
                self._require_same_build(workload)
                return self._probe.is_obtainable(workload)
            except Problem as problem:
                self._print(to_line(problem))  # git-annex drop doesn't print why a remote gives no answer
                raise

    def _require_same_build(self, workload: Workload) -> None:
        """Raise Problem if a build from this recipe with these packages may have other bytes than the lock's."""
        from ..lock.build import package_versions

        if locked := self.archive.locked.get(str(workload)):
            was = {"recipe": locked["provenance"]["recipeDigest"], **locked["provenance"]["tools"]}
            now = {"recipe": workload.digest, **package_versions(workload)}
            if changed := [name for name in now if was.get(name) != now[name]]:
                raise Problem(
                    str(workload),
                    f"no build is sure to give the bytes of {LOCK} again",
                    expected=", ".join(f"{name} {was.get(name)}" for name in changed),
                    got=", ".join(f"{name} {now[name]}" for name in changed),
                    kept="the content that is here",
                    next=f"pip install '{DISTRIBUTION}[build]', and check out a commit whose lock and recipes agree",
                )

    def whereis(self, key: str) -> str:
        with contextlib.suppress(Problem):
            workload = self.workload(key)
            return f"llm-traces build {workload} from {', '.join(url for _, url in workload.sources)}"
        return ""

    def transfer_retrieve(self, key: str, local_file: str) -> None:
        with _as_remote_error(key):
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
        sources = replace(self._sources, on_progress=self._progress(workload), on_wait=self._print)
        try:
            # The target must appear complete: git-annex hashes it while it grows, and misses bytes rewritten later.
            build_file(self.archive, workload, target, sources, lambda built: self._agree_with_lock(key, built))
        except Unavailable as problem:
            raise shorten(problem) from None
        card.refresh(self.archive, [self.archive.select([name])[0].path for name in self.keys[key]])

    def _print(self, line: str) -> None:
        send_line(line)
        with contextlib.suppress(ProtocolError):  # an old git-annex can't print it
            self.annex.info(line)

    def _agree_with_lock(self, key: str, built: Built) -> None:
        """Raise Problem if a locked workload has another hash. One that is not locked needs only the build's checks."""
        got = key if key.startswith(links.UNBUILT) else links.locked_key(built.sha256, built.bytes)
        if got != key:
            raise Problem(
                str(built.workload),
                f"the built file differs from {LOCK}",
                expected=key,
                got=got,
                next="install the version of llm-trace-archive that belongs to this checkout, and get the file again",
            )

    def _progress(self, workload: Workload) -> Callable[[str, int, int | None], None]:
        """Return a callback that reports the share of upstream bytes fetched as a share of the key's bytes.

        It reports each per cent once.
        """
        whole = sum(file.bytes or 0 for file in workload.files)
        size = int(self.archive.locked.get(str(workload), {"bytes": whole})["bytes"])
        fetched: dict[str, int] = {}
        reported = 0

        def progress(name: str, done: int, _total: int | None) -> None:
            nonlocal reported
            fetched[name] = done
            percent = min(100, 100 * sum(fetched.values()) // whole) if whole else 0
            if percent > reported:
                reported = percent
                self.annex.progress(size * percent // 100)

        return progress
