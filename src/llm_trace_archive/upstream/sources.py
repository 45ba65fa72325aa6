"""Get upstream bytes: from the cache, from a mirror, or from their own URLs, in this order.

Whatever path is handed out was checked against its pin in that very call. Several threads and processes may ask for
the same file at once: it is fetched once. A run that was killed is gone on with by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from ..core.errors import BadUpstream, BadUse, Unavailable
from ..core.files import move
from ..core.recipe import UpstreamFile
from ..core.settings import is_offline
from . import pins
from .cache import Cache
from .http import AGENT, Download, Failed, Patience, bare, dead, permitted

__all__ = ["Patience", "Sources"]


@dataclass(frozen=True)
class Sources:
    """Where upstream files come from.

    cache            the folder that keeps what was fetched
    mirror           a folder or URL laid out as `<mirror>/<trace>/<file name>`; files in a folder are used in place
    offline          try no URL; so does the environment's LLM_TRACES_OFFLINE=1
    on_progress      called as (file name, bytes here, bytes in all or None), from the thread that calls `get`
    stop             once set, `get` ends with KeyboardInterrupt and leaves what it has for the next run
    accept_unpinned  also take files without a hash
    """

    cache: Path
    mirror: str | None = None
    offline: bool = False
    on_progress: Callable[[str, int, int | None], None] | None = None
    stop: threading.Event | None = None
    accept_unpinned: bool = False
    patience: Patience = Patience()  # noqa: RUF009 (frozen)

    def get(self, file: UpstreamFile) -> Path:
        """A path that holds the pinned bytes, verified just now. Don't write to it: it may be the mirror's own.

        Raises Unavailable if no source has the file, BadUpstream if its URL gave other bytes or it is unpinned,
        BadUse if the cache can't be written, KeyboardInterrupt once `stop` is set.
        """
        if not self.accept_unpinned:
            pins.require_pin(file)
        try:
            return self._get(file)
        except OSError as error:  # of the disk: those of the network never come this far
            raise self._cant_keep(file, error) from error

    def _get(self, file: UpstreamFile) -> Path:
        tried: list[str] = []
        advice = ""
        wrong: tuple[int, BadUpstream] | None = None  # which of `tried`: the last of its own URLs that gave wrong bytes
        for is_own, name, source in self._sources(file):
            self.halt()
            try:
                return source()
            except Failed as failure:
                advice = failure.advice or advice
                tried.append(f"{name}: {failure}")
            except BadUpstream as problem:
                if is_own:
                    wrong = len(tried), problem
                kept = problem.details.get("kept at")
                tried.append(f"{name}: wrong bytes: {problem.details['got']}" + (f", kept at {kept}" if kept else ""))
        if wrong:
            place, told = wrong
            others = (line for n, line in enumerate(tried) if n != place and not line.endswith(": not there"))
            pin = "put its git blob id into recipes/" if file.git_blob else f"llm-traces pin {file.trace}"
            next = f"fetch again; if the upstream changed: {pin}, and review the diff"
            details = {**told.details, "tried": "\n".join(others), "next": next}
            raise BadUpstream(told.subject, told.message, **details)
        here = self.mirror if self.mirror and not _is_url(self.mirror) else None
        spoilt = here and any(line.startswith(f"mirror {here}: wrong bytes") for line in tried)
        put = f"{'replace' if spoilt else 'put'} the file at {here or 'DIR'}/{file.trace}/{file.name}"
        put += "" if here else " and give --mirror DIR (or set LLM_TRACES_MIRROR=DIR)"
        next = advice or f"{put}, or try again with internet"
        why = "could not be had: the mirror's is not as pinned" if spoilt else "could not be had"
        raise Unavailable(file.trace, f"{file.name} {why}", tried="\n".join(tried), next=next)

    def _sources(self, file: UpstreamFile) -> Iterator[tuple[bool, str, Callable[[], Path]]]:
        """Each as whether it is one of the file's own URLs, its name, and what gets the file there."""
        yield False, "cache", lambda: self._from_cache(file)
        mirror = self.mirror.rstrip("/") if self.mirror else ""
        if _is_url(mirror):
            mirrored = f"{mirror}/{quote(file.trace)}/{quote(file.name)}"
            yield False, f"mirror {bare(mirrored)}", lambda: self._from_url(file, mirrored)
        elif mirror:
            yield False, f"mirror {mirror}", lambda: self._from_folder(file, Path(mirror))
        for url in (file.url, *file.also):
            get = self._from_hub if url.startswith("hf://") else self._from_url
            yield True, bare(url), functools.partial(get, file, url)

    def _from_cache(self, file: UpstreamFile) -> Path:
        kept = self._kept(file)
        if self.cache.is_dir():
            self._store.mark(kept.name)
        if not kept.exists():
            raise Failed("not there")
        try:
            self._check(file, kept)
        except BadUpstream:
            with self._store.lock(kept.name, self.halt):
                if not kept.exists():
                    raise Failed("not there") from None
                # Another process may have put a good one in its place since.
                self._checked_or_quarantined(file, kept, "")
        self._store.touch(kept)
        return kept

    def _from_folder(self, file: UpstreamFile, mirror: Path) -> Path:
        path = mirror / file.trace / file.name
        try:
            if not path.is_file():
                raise Failed("not there" if mirror.is_dir() else "no such folder")
            self._check(file, path)
        except OSError as error:
            raise Failed(f"can't be read ({error.strerror})") from None
        return path

    def _from_url(self, file: UpstreamFile, url: str) -> Path:
        permitted(url)
        if self.is_offline:
            raise Failed("not tried: offline")
        kept = self._kept(file)
        partial = self._store.partial(file)
        with self._store.lock(kept.name, self.halt):
            self._store.mark(kept.name)
            if kept.exists():  # fetched by another while this one waited for the lock
                with contextlib.suppress(BadUpstream):
                    self._check(file, kept)
                    return kept
            partial.parent.mkdir(parents=True, exist_ok=True)
            download = self._download(file, url, partial)
            if download.joined and not self._is_good(file, partial, download.whole):
                # The beginning may be of another day or another server: one more time, in one piece.
                partial.unlink()
                download = self._download(file, url, partial)
            self._checked_or_quarantined(file, partial, bare(url), download.whole)
            kept.parent.mkdir(parents=True, exist_ok=True)
            move(partial, kept)
            return kept

    def _download(self, file: UpstreamFile, url: str, partial: Path) -> Download:
        """Run one, unless the partial file of a run before is all there."""
        told = functools.partial(self.on_progress, file.name) if self.on_progress else lambda *_: None
        download = Download(url, partial, file.bytes, file.pin is not None, self.patience, told, self.stop)
        have = partial.stat().st_size if partial.exists() else 0
        if not (have and file.pin and file.bytes in (None, have) and self._is_good(file, partial)):
            download.run()
        return download

    def _from_hub(self, file: UpstreamFile, url: str) -> Path:
        import huggingface_hub
        from huggingface_hub import constants, errors

        match = re.fullmatch(r"hf://(dataset|model)s/([^/@]+/[^/@]+)@([^/]+)/(.+)", url)
        if match is None:
            raise Failed("not of the form hf://datasets|models/<owner>/<name>@<revision>/<path>")
        kind, repo, revision, name = match.groups()
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
        access = f"accept the licence at {page}, then hf auth login (or set HF_TOKEN), and try again with internet"
        offline = self.is_offline or not _is_resolved(constants.ENDPOINT)
        try:
            # The hub's own cache keeps it; the token comes from the hub's own store.
            path = huggingface_hub.hf_hub_download(
                repo, name, repo_type=kind, revision=revision, local_files_only=offline, user_agent=AGENT
            )
        except (errors.GatedRepoError, errors.LocalTokenNotFoundError):
            raise Failed("a gated file of the hub, and no token that opens it", access) from None
        except errors.RepositoryNotFoundError:
            raise Failed("the hub shows no such repository without a token that opens it", access) from None
        except errors.LocalEntryNotFoundError:
            if not offline:
                dead[urlsplit(constants.ENDPOINT).netloc] = "no answer"
            why = "not tried: offline" if self.is_offline else "the hub can't be reached"
            raise Failed(f"{why}, and not in the hub's own cache", access) from None
        except (OSError, ValueError) as error:
            raise Failed(f"the hub refused it ({type(error).__name__})", access) from None
        self._check(file, Path(path))
        return Path(path)

    @property
    def is_offline(self) -> bool:
        """Whether no URL may be tried."""
        return self.offline or is_offline()

    def halt(self) -> None:
        """Raise KeyboardInterrupt once `stop` is set."""
        if self.stop and self.stop.is_set():
            raise KeyboardInterrupt

    def _check(self, file: UpstreamFile, path: Path, whole: bool = True) -> None:
        pins.check(file, path, accept_unpinned=self.accept_unpinned, whole=whole)

    def _is_good(self, file: UpstreamFile, path: Path, whole: bool = True) -> bool:
        with contextlib.suppress(BadUpstream):
            self._check(file, path, whole)
            return True
        return False

    def _checked_or_quarantined(self, file: UpstreamFile, path: Path, url: str, whole: bool = True) -> Path:
        try:
            self._check(file, path, whole)
            return path
        except BadUpstream as problem:
            told = BadUpstream(problem.subject, problem.message, **problem.details, from_=url)
            aside = pins.quarantine(path, self.cache, str(told), file.name)
            raise BadUpstream(told.subject, told.message, **told.details, kept_at=str(aside)) from None

    @property
    def _store(self) -> Cache:
        return Cache(self.cache)

    def _kept(self, file: UpstreamFile) -> Path:
        return self._store.content(file)

    def _cant_keep(self, file: UpstreamFile, error: OSError) -> BadUse:
        have = 0
        with contextlib.suppress(OSError):
            have = self._store.partial(file).stat().st_size
        kept = f"{have} of {file.bytes or 'unknown'} bytes, from which the next run goes on" if have else ""
        mend = "make the folder writable"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = f"make room for {file.bytes - have} bytes there" if file.bytes else "make room there"
        if error.errno == errno.EFBIG:
            mend = "raise the limit of a file's size (ulimit -f)"
        return BadUse(
            file.trace,
            f"{file.name} can't be kept in the cache",
            folder=str(self.cache),
            reason=error.strerror or str(error),
            kept=kept,
            next=f"{mend}, or set LLM_TRACES_CACHE to another folder",
        )


def _is_resolved(url: str) -> bool:
    """Whether it is worth asking: the hub's client tries a name that does not resolve for 23 seconds."""
    host = urlsplit(url).netloc
    if host not in dead and not getproxies():
        try:
            socket.getaddrinfo(urlsplit(url).hostname, None)
        except OSError:
            dead[host] = "the name can't be resolved"
    return host not in dead


def _is_url(mirror: str) -> bool:
    return "://" in mirror
