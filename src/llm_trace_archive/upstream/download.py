"""One URL into one file: resumed by Range, retried with growing pauses, never longer than the file should be."""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .http import (
    NOTICE,
    POLL,
    Failure,
    OnWait,
    Patience,
    TemporaryFailure,
    UnreachableHost,
    format_status,
    is_number,
    open_session,
    parse_retry_after,
    request,
    translate_error,
    unreachable_hosts,
)
from .rate import get_rate

if TYPE_CHECKING:
    import requests
    import tenacity

    from .session import Session

BLOCK = 16 << 10  # bytes per read: the most that a broken connection or a kill loses
LIMIT = 16 << 30  # bytes: a longer body of unknown size counts as endless
SLOWEST = 1 << 10  # bytes that must arrive in `Patience.read` seconds of waiting
_SPAN = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


class Outcome(NamedTuple):
    """How a download ended.

    is_joined   the file consists of several answers
    is_cut_off  the body was longer than the file should be, and its rest was not read
    tag         the ETag of the content; empty if there is none, or the beginning may be that of other content
    """

    is_joined: bool = False
    is_cut_off: bool = False
    tag: str = ""


class _SlowBody(TemporaryFailure):
    """So few bytes arrived that the try does not count as progress."""


@dataclass
class Download:
    """The download of `url` to `path`, which may hold the beginning of the file already.

    size      of the file in bytes, if known; one byte more is never read
    resume    keep the beginning that `path` holds: only sound if a pin is checked afterwards
    progress  called with the bytes present, and the bytes in total (None if unknown)
    stop      once set, the download ends with KeyboardInterrupt
    on_wait   called with the seconds that a wait takes at most, and its reason
    """

    url: str
    path: Path
    size: int | None
    resume: bool
    patience: Patience
    progress: Callable[[int, int | None], None]
    stop: threading.Event | None = None
    on_wait: OnWait = lambda seconds, why: None
    _most: int = field(default=0, init=False)  # bytes that `path` has ever held
    _idle: int = field(default=0, init=False)  # tries in a row without progress
    _since: float = field(default=0.0, init=False)  # the time of the last progress, on the monotonic clock
    _failure: TemporaryFailure = field(default_factory=lambda: TemporaryFailure(""), init=False)  # of the last try
    _tag: str = field(default="", init=False)  # the ETag of the content of `path`, if this run fetched it
    _total: int | None = field(default=None, init=False)  # the size that the server announced with it

    def run(self) -> Outcome:
        """Fetch the URL to the end of its body, or until it grows too long.

        Raises Failure if the server does not give it, OSError if the disk refuses it, KeyboardInterrupt once `stop` is
        set. `path` keeps the bytes that arrived.
        """
        import tenacity

        if self.path.exists() and self.size is not None and self._count_bytes() >= self.size:
            self.path.unlink()
        self._most = self._count_bytes() if self.resume else 0
        self._since = time.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TemporaryFailure),
            stop=self._is_hopeless,
            wait=self._choose_pause,
            sleep=tenacity.sleep_using_event(self.stop or threading.Event()),
            before_sleep=lambda state: self.on_wait(state.upcoming_sleep, str(self._failure)),
            reraise=True,
        )
        with open_session() as session:
            try:
                return retrying(self._try, session)
            except UnreachableHost as failure:
                unreachable_hosts[failure.host] = str(failure)
                raise
            except TemporaryFailure as failure:
                raise Failure(f"{failure}; gave up after {self._idle} tries") from None

    def _is_hopeless(self, _: tenacity.RetryCallState) -> bool:
        tries = self.patience.tries
        is_over = time.monotonic() - self._since >= self.patience.progress
        return is_over or self._idle >= (min(2, tries) if isinstance(self._failure, UnreachableHost) else tries)

    def _choose_pause(self, _: tenacity.RetryCallState) -> float:
        if isinstance(self._failure, UnreachableHost):
            return min(0.5, self.patience.first_pause)
        growing = self.patience.first_pause * 2.0 ** min(self._idle - 1, 30) * random.uniform(0.75, 1.25)
        rest = max(0.0, self.patience.progress - (time.monotonic() - self._since))
        return min(self.patience.longest_pause, rest, max(growing, self._failure.pause))

    def _count_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _halt(self) -> None:
        if self.stop and self.stop.is_set():
            raise KeyboardInterrupt

    def _try(self, session: Session) -> Outcome:
        self._halt()
        try:
            return self._fetch(session)
        except TemporaryFailure as failure:
            have = self._count_bytes()
            if have > self._most and not isinstance(failure, _SlowBody):
                self._idle, self._since = 0, time.monotonic()
            self._idle += 1
            self._most = max(self._most, have)
            self._failure = failure
            raise

    def _fetch(self, session: Session) -> Outcome:
        have = self._count_bytes() if self.resume else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._tag.startswith('"'):  # If-Range allows no weak tag
            headers["If-Range"] = self._tag
        with request(session, self.url, headers, self.patience, self.stop, self.on_wait) as response:
            status = response.status_code
            is_joined = bool(have) and status == 206 and self._continues(response, have)
            if have and status in (206, 416) and not is_joined:
                self.path.unlink()
                self._tag, self._total = "", None
                raise TemporaryFailure(f"HTTP {status} does not continue where the last try ended")
            if status in (408, 429) or status >= 500:
                raise TemporaryFailure(format_status(response), parse_retry_after(response))
            if status != 200 and not is_joined:
                raise Failure(format_status(response))
            if not is_joined:
                self._tag, self._total = response.headers.get("ETag", ""), _parse_length(response)
            return Outcome(is_joined, self._read(response, have if is_joined else 0), self._tag)

    def _continues(self, response: requests.Response, have: int) -> bool:
        """Return whether the body follows the `have` bytes that `path` holds, and belongs to the same content."""
        span = _SPAN.fullmatch(response.headers.get("Content-Range", "").strip())
        if span is None or int(span[1]) != have or _parse_length(response) is None:
            return False
        tag = response.headers.get("ETag", "")
        is_same = not tag or not self._tag or tag == self._tag
        size = self._total if self.size is None else self.size
        return is_same and (size is None or span[2] in ("*", str(size)))

    def _read(self, response: requests.Response, have: int) -> bool:
        """Append the body to the `have` bytes of `path`; return whether it was cut off because it is too long."""
        import requests
        from urllib3.exceptions import HTTPError

        length = _parse_length(response)
        announced = None if length is None else have + length
        end = f"of {announced or self.size} bytes" if announced or self.size else "bytes"
        limit = LIMIT if self.size is None else self.size
        with self.path.open("ab" if have else "wb") as out:
            try:
                for block in self._blocks(response):
                    have += out.write(block[: limit + 1 - have])
                    self.progress(have, self.size or announced)
                    if have > limit:
                        return True
                    self._halt()
            except _SlowBody as failure:
                raise _SlowBody(f"{failure} after {have} {end}") from None
            except (requests.RequestException, HTTPError) as error:
                raise TemporaryFailure(f"{translate_error(error, self.patience)} after {have} {end}") from None
            finally:
                out.flush()
                os.fsync(out.fileno())
        if announced is not None and have < announced:
            raise TemporaryFailure(f"the connection broke after {have} {end}")
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if is_number(total) and have < int(total):
            raise TemporaryFailure(f"the server gave {have} of {total} bytes")
        return False

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the body as it arrives, at the allowed rate. Raises _SlowBody if hardly anything arrives."""
        # We ask for no encoding. A body that claims one, but has the size of the file, is the file itself:
        # some servers take the suffix .gz for an encoding.
        is_raw = self.size is not None and response.headers.get("Content-Length") == str(self.size)
        rate, stop = get_rate(), self.stop or threading.Event()
        waited, came = 0.0, 0
        with _Watch(response, self.patience, stop, self.on_wait) as watch:
            while True:
                block = watch.read(not is_raw)
                waited, came = waited + watch.waited, came + len(block)
                if not block:
                    return
                yield block
                if waited >= self.patience.read:
                    if came < SLOWEST:
                        raise _SlowBody(f"only {came} bytes in {waited:.0f} s")
                    waited, came = 0.0, 0
                if rate:
                    rate.pay(len(block), stop)


class _Watch:
    """Reads a body, and ends a read that takes too long: a byte now and then can keep one busy indefinitely."""

    def __init__(self, response: requests.Response, patience: Patience, stop: threading.Event, on_wait: OnWait) -> None:
        self.waited = 0.0  # seconds that the last read took
        self._body, self._stop, self._on_wait = response.raw, stop, on_wait
        self._limit = 2 * patience.read  # the socket's own timeout comes first if nothing arrives at all
        self._began: float | None = None  # when the read began that waits now
        self._is_cut = False
        self._is_over = threading.Event()

    def __enter__(self) -> _Watch:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()

    def read(self, decode: bool) -> bytes:
        """Return what arrives next, at most BLOCK bytes; b"" at the end. Raises _SlowBody, or KeyboardInterrupt."""
        began = self._began = time.monotonic()
        try:
            block: bytes = self._body.read1(BLOCK, decode_content=decode)
            return block
        finally:
            self._began, self.waited = None, time.monotonic() - began
            if self._stop.is_set():
                raise KeyboardInterrupt
            if self._is_cut:
                raise _SlowBody(f"no complete block in {self.waited:.0f} s")

    def _watch(self) -> None:
        noticed: float | None = None
        while not self._is_over.wait(POLL):
            began = self._began
            waited = 0.0 if began is None else time.monotonic() - began
            if self._stop.is_set() or waited > self._limit:
                self._is_cut = True
                with contextlib.suppress(OSError, ValueError, RuntimeError):  # the body has ended
                    self._body.shutdown()
                return
            if waited > NOTICE and noticed != began:
                noticed = began
                self._on_wait(self._limit - waited, "no more bytes yet")


def _parse_length(response: requests.Response) -> int | None:
    """Return the bytes of the answer's body, if announced; an encoded body has another size once decoded."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    length = response.headers.get("Content-Length", "")
    return int(length) if is_number(length) else None
