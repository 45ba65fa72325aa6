"""Where upstream files come from: the cache, then a mirror, then their own URLs, in this order.

Every path handed out was checked against its pin in that very call. Several threads and processes may ask for the same
file at once: it is fetched once. The next run resumes one that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ..core.errors import BadUpstream, BadUse, Problem, Unavailable
from ..core.files import require_utf8
from ..core.recipe import UpstreamFile
from ..core.settings import is_offline
from . import hub, pins
from .cache import Cache, make_cache_problem
from .download import Download, Outcome
from .http import Failure, Patience, redact, require_https

__all__ = ["Patience", "Sources"]

NOT_FOUND = "not found"
SHORTEST_WAIT = 0.6  # seconds: a shorter one is not worth a line


class Source(NamedTuple):
    """One place that may give a file, as messages name it. `is_upstream`: it is one of the file's own URLs."""

    name: str
    fetch: Callable[[UpstreamFile], Path]
    is_upstream: bool = False


class WrongBytes(Failure):
    """A source gave bytes that do not match the pin: `problem` says how."""

    def __init__(self, problem: BadUpstream) -> None:
        kept = problem.details.get("kept at")
        super().__init__(f"wrong bytes: {problem.details['got']}" + (f", kept at {kept}" if kept else ""))
        self.problem = problem


@dataclass(frozen=True)
class Sources:
    """Where upstream files come from.

    cache            the folder that keeps fetched files
    mirror           a folder or URL laid out as `<mirror>/<trace>/<file name>`; files in a folder are used in place
    offline          try no URL; the environment's LLM_TRACES_OFFLINE=1 does the same
    on_progress      called with file name, bytes present and bytes in total (None if unknown), in the thread of `get`
    on_wait          called with a line that says how long `get` waits at most, for what and why
    stop             once set, `get` ends with KeyboardInterrupt and leaves its partial file for the next run
    accept_unpinned  also accept files without a hash
    """

    cache: Path
    mirror: str | None = None
    offline: bool = False
    on_progress: Callable[[str, int, int | None], None] | None = None
    on_wait: Callable[[str], None] | None = None
    stop: threading.Event | None = None
    accept_unpinned: bool = False
    patience: Patience = field(default_factory=Patience.from_settings)

    def __post_init__(self) -> None:
        """Raise BadUse for a folder that can't be used."""
        for folder in filter(None, (self.cache, self.mirror_folder)):
            require_utf8(folder)

    def get(self, file: UpstreamFile) -> Path:
        """Return a path with the pinned bytes, verified now. Don't write to it: it may be in the mirror.

        Raises Unavailable if no source has the file, BadUpstream if its URL gave other bytes or it is unpinned,
        BadUse if the disk of the cache refuses, KeyboardInterrupt once `stop` is set.
        """
        if not self.accept_unpinned:
            pins.require_pin(file)
        failures: list[tuple[Source, Failure]] = []
        try:
            for source in self._list_sources(file):
                self._halt()
                try:
                    return source.fetch(file)
                except Failure as failure:
                    failures.append((source, failure))
        except OSError as error:  # of the disk: those of the network are Failures
            raise self._make_disk_problem(file, error) from error
        raise self._make_problem(file, failures)

    @property
    def mirror_folder(self) -> Path | None:
        """The mirror, if it is a folder."""
        return None if not self.mirror or "://" in self.mirror else Path(self.mirror)

    def mirror_path(self, file: UpstreamFile) -> Path | None:
        """Return where the mirror has the file, if it is a folder."""
        return self.mirror_folder / file.trace / file.name if self.mirror_folder else None

    def mirror_url(self, file: UpstreamFile) -> str | None:
        """Return where the mirror has the file, if it is a URL."""
        if not self.mirror or self.mirror_folder:
            return None
        return f"{self.mirror.rstrip('/')}/{quote(file.trace)}/{quote(file.name)}"

    @property
    def is_offline(self) -> bool:
        """Whether no URL may be tried."""
        return self.offline or is_offline()

    def _list_sources(self, file: UpstreamFile) -> Iterator[Source]:
        yield Source("cache", self._get_from_cache)
        if self.mirror_folder:
            yield Source(f"mirror {self.mirror_folder}", self._get_from_mirror_folder)
        if url := self.mirror_url(file):
            yield Source(f"mirror {redact(url)}", functools.partial(self._get_from_url, url=url))
        for url in (file.url, *file.also):
            get = self._get_from_hub if url.startswith("hf://") else self._get_from_url
            yield Source(redact(url), functools.partial(get, url=url), is_upstream=True)

    def _get_from_cache(self, file: UpstreamFile) -> Path:
        path = self._cache.content_path(file)
        if self.cache.is_dir():
            self._cache.mark(path.name)
        try:
            if pins.compare(file, path):
                with self._cache.lock(path.name, self._halt):
                    self._verify(file, path)  # again: another process may have replaced it
        except FileNotFoundError:
            raise Failure(NOT_FOUND) from None
        except OSError as error:
            raise make_cache_problem(self.cache, error) from None
        self._cache.touch(path)
        return path

    def _get_from_mirror_folder(self, file: UpstreamFile) -> Path:
        folder, path = self.mirror_folder, self.mirror_path(file)
        assert folder and path
        try:
            if not path.is_file():
                raise Failure(NOT_FOUND if folder.is_dir() else "no such folder")
            problem = pins.compare(file, path)
        except OSError as error:
            raise Failure(f"not readable ({error.strerror})") from None
        if problem:
            raise WrongBytes(problem)
        return path

    def _get_from_url(self, file: UpstreamFile, url: str) -> Path:
        require_https(url)
        if self.is_offline:
            raise Failure("not tried: offline")
        cache = self._cache
        content, partial = cache.content_path(file), cache.partial_path(file)
        with cache.lock(content.name, self._halt, functools.partial(self._report_other, file)):
            cache.mark(content.name)
            if content.exists() and not pins.compare(file, content):  # another process fetched it meanwhile
                return content
            partial.parent.mkdir(parents=True, exist_ok=True)
            outcome = self._download(file, url, partial)
            if outcome.is_joined and pins.compare(file, partial, outcome.is_cut_off):
                # The beginning may be that of an older file or of another server: fetch it in one piece.
                partial.unlink()
                outcome = self._download(file, url, partial)
            self._verify(file, partial, redact(url), outcome.is_cut_off)
            if outcome.tag:
                cache.add_tag(file, url, outcome.tag)
            return cache.add(file, partial)

    def _download(self, file: UpstreamFile, url: str, partial: Path) -> Outcome:
        have = partial.stat().st_size if partial.exists() else 0
        if have and file.pin and file.bytes in (None, have) and not pins.compare(file, partial):
            return Outcome()  # a run was killed after the last byte
        progress = functools.partial(self.on_progress, file.name) if self.on_progress else lambda *_: None
        wait = functools.partial(self._report_wait, file)
        return Download(url, partial, file.bytes, file.pin is not None, self.patience, progress, self.stop, wait).run()

    def _report_wait(self, file: UpstreamFile, seconds: float, why: str) -> None:
        if self.on_wait and seconds >= SHORTEST_WAIT:
            self.on_wait(f"waiting {seconds:.0f} s for {file.name}: {why}")

    def _report_other(self, file: UpstreamFile) -> None:
        if self.on_wait:
            self.on_wait(f"waiting for {file.name}: another process fetches it")

    def _get_from_hub(self, file: UpstreamFile, url: str) -> Path:
        path = hub.fetch(url, self.is_offline)
        if problem := pins.compare(file, path):
            raise WrongBytes(problem)  # not quarantined: the file belongs to the Hub's own cache
        return path

    def _verify(self, file: UpstreamFile, path: Path, url: str = "", is_cut_off: bool = False) -> None:
        """Raise WrongBytes unless a file of the cache matches the pin, and quarantine it."""
        if problem := pins.compare(file, path, is_cut_off):
            problem = BadUpstream(problem.subject, problem.message, **problem.details, from_=url)
            raise WrongBytes(self._cache.quarantine(path, problem, file.name))

    @property
    def _cache(self) -> Cache:
        return Cache(self.cache)

    def _halt(self) -> None:
        if self.stop and self.stop.is_set():
            raise KeyboardInterrupt

    def _make_problem(self, file: UpstreamFile, failures: list[tuple[Source, Failure]]) -> Problem:
        """Return what all failures together mean for the user."""
        for source, failure in reversed(failures):
            if source.is_upstream and isinstance(failure, WrongBytes):
                wrong = failure.problem
                others = (f"{s.name}: {f}" for s, f in failures if f is not failure and str(f) != NOT_FOUND)
                pin = f"llm-traces pin {file.trace}"
                if file.git_blob:
                    pin = f"write its git blob id into recipes/{file.trace}.toml, or into the list that it names"
                next = f"try again; if the upstream changed: {pin}, and review the diff"
                return BadUpstream(wrong.subject, wrong.message, **wrong.details, tried="\n".join(others), next=next)
        place = self.mirror_path(file)
        is_wrong = place and any(s.name.startswith("mirror ") and isinstance(f, WrongBytes) for s, f in failures)
        step = f"{'replace' if is_wrong else 'put'} the file at {place or f'DIR/{file.trace}/{file.name}'}"
        step += "" if place else " and give --mirror DIR (or set LLM_TRACES_MIRROR=DIR)"
        advice = [failure.advice for _, failure in failures if failure.advice]
        problem = Unavailable(
            file.trace,
            f"{file.name} is not available" + (": the mirror's copy does not match the pin" if is_wrong else ""),
            tried="\n".join(f"{source.name}: {failure}" for source, failure in failures),
            next=advice[-1] if advice else f"{step}, or try again with internet",
        )
        problem.wrong_copies = tuple(f"{s.name}: {f}" for s, f in failures if isinstance(f, WrongBytes))
        return problem

    def _make_disk_problem(self, file: UpstreamFile, error: OSError) -> BadUse:
        have = 0
        with contextlib.suppress(OSError):
            have = self._cache.partial_path(file).stat().st_size
        step = "make the folder writable"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            step = f"free {file.bytes - have} bytes there" if file.bytes else "free some space there"
        if error.errno == errno.EFBIG:
            step = "raise the limit on file sizes (ulimit -f)"
        return BadUse(
            file.trace,
            f"the cache cannot keep {file.name}",
            folder=str(self.cache),
            reason=error.strerror or str(error),
            kept=f"{have} of {file.bytes or 'unknown'} bytes; the next run resumes there" if have else "",
            next=f"{step}, or set LLM_TRACES_CACHE to another folder",
        )
