"""Bring one URL to one file: https only, resumed by Range, retried with growing pauses, never longer than it may be.

A limit of the bytes a second is `rate`'s. Proxies are those of the environment, but this machine is asked directly:
http is allowed there only because nothing of it leaves the machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from .. import __version__
from .rate import rate

if TYPE_CHECKING:
    import requests
    import tenacity

AGENT = f"llm-trace-archive/{__version__} (+https://github.com/llm-trace-archive/llm-trace-archive)"
BLOCK = 16 << 10  # bytes a read: the most that a cut connection or a kill costs
LIMIT = 16 << 30  # bytes: where a body of unknown size is taken for an endless one
REDIRECTS = 10
SLOWEST = 1 << 10  # bytes that must come while `Patience.read` seconds are spent waiting for them

dead: dict[str, str] = {}  # host: why it could not be reached; holds for the rest of the process


class Failed(Exception):
    """One source can't give the file. The text says why; `advice` what to do, where the source knows."""

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice


class Again(Failed):
    """Worth another try, not before `pause` seconds."""

    def __init__(self, why: str, pause: float = 0) -> None:
        super().__init__(why)
        self.pause = pause


class Slow(Again):
    """So few bytes came that they don't count as getting on."""


class Unreachable(Again):
    """No server answers there: hardly worth another try."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for; all times in seconds.

    `tries` counts those in a row that brought no new byte, or next to none. Pauses double from `first_pause` to
    `longest_pause`, which is also the most that a server's Retry-After is granted. `connect` and `read` are what one
    try waits for an answer.
    """

    tries: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0
    connect: float = 10.0
    read: float = 30.0


def is_forbidden() -> bool:
    """Whether the environment's LLM_TRACES_OFFLINE forbids to ask any URL."""
    return os.environ.get("LLM_TRACES_OFFLINE", "0") not in ("", "0")


def bare(url: str) -> str:
    """The URL without what may be secret: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def permitted(url: str, before: str = "") -> str:
    """The URL itself if it is https, or http on this machine. Raises Failed, also if it leads from https to http."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise Failed("not a URL") from None
    if host and parts.scheme == "https":
        return url
    if parts.scheme == "http" and is_loopback(host) and not before.startswith("https:"):
        return url
    raise Failed(f"redirected to {bare(url)}, which is refused: not https" if before else "refused: not https")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@dataclass
class Download:
    """One file on its way from `url` to `path`, where `path` may hold its beginning already.

    size      bytes the file should have, if known: one more is not read
    resume    whether what `path` holds may be built upon, that is: whether a pin will tell if that went wrong
    progress  called as (bytes here, bytes in all or None)
    joined    afterwards: `path` was put together from more than one answer
    whole     afterwards: False if the body was longer than it may be, and not read to its end
    """

    url: str
    path: Path
    size: int | None
    resume: bool
    patience: Patience
    progress: Callable[[int, int | None], None]
    stop: threading.Event | None = None
    joined: bool = field(default=False, init=False)
    whole: bool = field(default=True, init=False)
    _most: int = field(default=0, init=False)
    _idle: int = field(default=0, init=False)
    _asked: float = field(default=0, init=False)
    _is_unreachable: bool = field(default=False, init=False)
    _host: str = field(default="", init=False)
    _tag: str = field(default="", init=False)  # the ETag of what `path` holds, if this run fetched it
    _total: int | None = field(default=None, init=False)  # and the size it was said to have

    def run(self) -> None:
        """Fetch the URL, until its body came to its end or grew too long.

        Raises Failed if the server doesn't give it, OSError if it can't be written, KeyboardInterrupt once `stop` is
        set. What came so far stays in `path`.
        """
        import requests
        import tenacity

        if self.path.exists() and self.size is not None and self._have() >= self.size:
            self.path.unlink()
        self._most = self._have() if self.resume else 0
        again = tenacity.retry_if_exception_type(Again)
        sleep = tenacity.sleep_using_event(self.stop or threading.Event())
        retrying = tenacity.Retrying(retry=again, stop=self._is_enough, wait=self._seconds, sleep=sleep, reraise=True)
        with requests.Session() as session:
            session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
            try:
                retrying(self._try, session)
            except Unreachable as failure:
                dead[self._host] = str(failure)
                raise
            except Again as failure:
                raise Failed(f"{failure}; gave up after {self._idle} tries") from None

    def _is_enough(self, _: tenacity.RetryCallState) -> bool:
        return self._idle >= (min(2, self.patience.tries) if self._is_unreachable else self.patience.tries)

    def _seconds(self, _: tenacity.RetryCallState) -> float:
        if self._is_unreachable:
            return min(0.5, self.patience.first_pause)
        growing = self.patience.first_pause * 2.0 ** (self._idle - 1) * random.uniform(0.75, 1.25)
        return min(self.patience.longest_pause, max(growing, self._asked))

    def _have(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _halt(self) -> None:
        if self.stop and self.stop.is_set():
            raise KeyboardInterrupt

    def _try(self, session: requests.Session) -> None:
        self._halt()
        try:
            self._once(session)
        except Again as failure:
            have = self._have()
            self._idle = 1 if have > self._most and not isinstance(failure, Slow) else self._idle + 1
            self._most = max(self._most, have)
            self._asked, self._is_unreachable = failure.pause, isinstance(failure, Unreachable)
            raise

    def _once(self, session: requests.Session) -> None:
        have = self._have() if self.resume else 0
        with self._open(session, have) as response:
            status = response.status_code
            self.joined = bool(have) and status == 206 and self._goes_on(response, have)
            if have and status in (206, 416) and not self.joined:
                self.path.unlink()
                self._tag, self._total = "", None
                raise Again(f"HTTP {status} does not go on where the last try ended")
            if status in (408, 429) or status >= 500:
                raise Again(status_line(response), retry_after(response))
            if status != 200 and not self.joined:
                raise Failed(status_line(response))
            if not self.joined:
                self._tag, self._total = response.headers.get("ETag", ""), _length(response)
            self._read(response, have if self.joined else 0)

    def _open(self, session: requests.Session, have: int) -> requests.Response:
        import requests
        from urllib3.exceptions import HTTPError

        url = permitted(self.url)
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._tag.startswith('"'):  # a weak one is not allowed there
            headers["If-Range"] = self._tag
        timeout = (self.patience.connect, self.patience.read)
        for _ in range(REDIRECTS + 1):
            self._host = urlsplit(url).netloc.rpartition("@")[2]
            if self._host in dead:
                raise Failed(dead[self._host])
            try:
                # By hand, because requests would follow from https to http.
                response = session.get(
                    url, headers=headers, timeout=timeout, stream=True, allow_redirects=False, proxies=direct(url)
                )
            except (requests.RequestException, HTTPError, ValueError) as error:  # the last of where it leads to
                raise told(error, self.patience) from None
            if not response.is_redirect:
                return response
            response.close()
            try:
                url = permitted(urljoin(url, response.headers["Location"]), url)
            except ValueError:
                raise Failed("redirected to what is not a URL") from None
        raise Failed(f"more than {REDIRECTS} redirects")

    def _goes_on(self, response: requests.Response, have: int) -> bool:
        span = _SPAN.fullmatch(response.headers.get("Content-Range", "").strip())
        if span is None or int(span[1]) != have or _length(response) is None:
            return False
        tag = response.headers.get("ETag", "")
        is_same = not tag or not self._tag or tag == self._tag
        size = self._total if self.size is None else self.size
        return is_same and (size is None or span[2] in ("*", str(size)))

    def _read(self, response: requests.Response, have: int) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        length = _length(response)
        announced = None if length is None else have + length
        end = f"of {announced or self.size} bytes" if announced or self.size else "bytes"
        limit = LIMIT if self.size is None else self.size
        with self.path.open("ab" if have else "wb") as out:
            try:
                for block in self._blocks(response):
                    have += out.write(block[: limit + 1 - have])
                    self.progress(have, self.size or announced)
                    if have > limit:
                        self.whole = False
                        break
                    self._halt()
            except Slow as failure:
                raise Slow(f"{failure} after {have} {end}") from None
            except (requests.RequestException, HTTPError) as error:
                raise Again(f"{told(error, self.patience)} after {have} {end}") from None
            finally:
                out.flush()
                os.fsync(out.fileno())
        if not self.whole:
            return
        if announced is not None and have < announced:
            raise Again(f"the connection broke after {have} {end}")
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if _is_number(total) and have < int(total):
            raise Again(f"the server gave {have} of {total} bytes")

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        """What of the body has come, again and again; at the pace that is allowed, and not at a snail's."""
        # A body encoded though we asked for it as it is: one that is as long as the file should be is the file itself,
        # which some servers call encoded by its name (.gz).
        as_it_is = self.size is not None and response.headers.get("Content-Length") == str(self.size)
        limit, stop = rate(), self.stop or threading.Event()
        waited, came = 0.0, 0
        while True:
            began = time.monotonic()
            block: bytes = response.raw.read1(BLOCK, decode_content=not as_it_is)
            waited, came = waited + time.monotonic() - began, came + len(block)
            if not block:
                return
            yield block
            if waited >= self.patience.read:
                if came < SLOWEST:
                    raise Slow(f"only {came} bytes in {waited:.0f} s")
                waited, came = 0.0, 0
            if limit:
                limit.pay(len(block), stop)


def told(error: BaseException, patience: Patience) -> Failed:
    """What a library met, in our words: its own may hold a proxy's password or a signed URL."""
    import requests
    from urllib3.exceptions import DecodeError

    causes = tuple(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        answer = re.search(r"Tunnel connection failed: (\d{3})", str(error))
        return Unreachable(f"the proxy answered HTTP {answer[1]}" if answer else "the proxy can't be reached")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreachable("the name can't be resolved")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Unreachable("connection refused")
    if isinstance(error, requests.ConnectTimeout):
        return Unreachable(f"no connection within {patience.connect:g} s")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Failed("its TLS certificate is not valid")
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in causes):
        return Again(f"no answer for {patience.read:g} s")
    if isinstance(error, DecodeError):
        return Again("an encoded body that can't be decoded")
    if isinstance(error, ValueError):  # how requests marks what is wrong with a URL
        return Failed("not a URL")
    return Again("the connection broke")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def status_line(response: requests.Response) -> str:
    """An answer's status in words."""
    return f"HTTP {response.status_code} {response.reason or ''}".rstrip()


def direct(url: str) -> dict[str, str] | None:
    """What tells requests to use no proxy, if the URL is on this machine."""
    host = urlsplit(url).hostname or ""
    return {"no_proxy": host} if is_loopback(host) else None


# Of a header as long as a server may send, int() would refuse thousands of digits with a ValueError.
_SPAN = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,18}", text) is not None


def _length(response: requests.Response) -> int | None:
    """Bytes of this answer's body, if announced; an encoded body has another size once decoded."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    length = response.headers.get("Content-Length", "")
    return int(length) if _is_number(length) else None


def retry_after(response: requests.Response) -> float:
    """Seconds that the server asks for; how many are granted is `Patience`'s, as its clock may be another."""
    from email.utils import parsedate_to_datetime

    text = response.headers.get("Retry-After", "").strip()
    if _is_number(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):  # a date of no calendar
        return 0.0
