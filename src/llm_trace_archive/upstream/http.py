"""One HTTP request: https only, redirects followed by hand, and failures in our own words.

Proxies come from the environment, but requests to this machine bypass them: http is allowed here only because nothing
leaves the machine.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from .. import __version__
from ..core.settings import timeout

if TYPE_CHECKING:
    import requests

    from .session import Session

AGENT = f"llm-trace-archive/{__version__} (+https://github.com/llm-trace-archive/llm-trace-archive)"
REDIRECTS = 10
NOTICE = 3.0  # seconds without a sign of life, after which the wait and its reason are shown
POLL = 0.1  # seconds between looks at the time and at `stop`
LONGEST = 200  # characters of a server's own words
MALFORMED = "malformed URL"
OnWait = Callable[[float, str], None]  # called with the seconds that a wait takes at most, and its reason

unreachable_hosts: dict[str, str] = {}  # host: why it is unreachable; this process asks it no more


class Failure(Exception):
    """A source does not give a file: the text says why.

    advice  what the user can do about it, where that is known
    host    the host that did not answer, set by `request`
    """

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.advice = advice
        self.host = ""


class TemporaryFailure(Failure):
    """A failure that is worth another try after `pause` seconds, or later."""

    def __init__(self, why: str, pause: float = 0) -> None:
        super().__init__(why)
        self.pause = pause


class _TooLateError(Exception):
    """The headers of an answer took too long."""


class UnreachableHost(TemporaryFailure):
    """No server answers: one more try is enough."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server. All times are in seconds.

    tries          how many tries in a row may bring no new bytes, or hardly any
    first_pause    between tries; pauses double up to `longest_pause`, which also limits a server's Retry-After
    connect, read  how long one try waits for a connection, and for bytes
    headers        how long one try waits for the end of an answer's headers, from the first redirect on
    progress       how long tries and pauses together may bring no new bytes
    """

    tries: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0
    connect: float = 10.0
    read: float = 30.0
    headers: float = 60.0
    progress: float = 120.0

    @classmethod
    def from_settings(cls) -> Patience:
        """Return the default, or what LLM_TRACES_TIMEOUT makes of it: then time alone limits the tries."""
        seconds = timeout()
        if seconds is None:
            return cls()
        return cls(
            tries=1 << 20,
            first_pause=min(cls.first_pause, seconds / 8),
            connect=min(cls.connect, seconds / 4),
            read=min(cls.read, seconds / 4),
            headers=min(cls.headers, seconds / 2),
            progress=seconds,
        )


def open_session() -> Session:
    """Return a session whose requests name this package and ask for bodies as they are."""
    from .session import Session  # imports requests

    session = Session()
    session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    return session


def request(
    session: Session,
    url: str,
    headers: dict[str, str],
    patience: Patience,
    stop: threading.Event | None = None,
    on_wait: OnWait = lambda seconds, why: None,
) -> requests.Response:
    """GET a URL, follow its redirects, and return the answer with its body unread.

    stop     once set, the request ends with KeyboardInterrupt
    on_wait  called with how long the request may still take, and why, if it takes longer than NOTICE

    Raises Failure.
    """
    import requests
    from urllib3.exceptions import HTTPError

    require_https(url)
    deadline = time.monotonic() + patience.headers
    for redirects in range(REDIRECTS + 1):
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host in unreachable_hosts:
            raise Failure(unreachable_hosts[host])
        # By hand, because requests would follow a redirect from https to http.
        get = functools.partial(
            session.get,
            url,
            headers=headers,
            timeout=(patience.connect, patience.read),
            stream=True,
            allow_redirects=False,
            proxies=choose_proxies(url),
        )
        try:
            response = _await_headers(get, session.cut, deadline, stop, on_wait)
        except _TooLateError:
            failure: Failure = TemporaryFailure(f"no complete answer within {patience.headers:g} s")
            failure.host = host
            raise failure from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            failure = translate_error(error, patience)
            if redirects and str(failure) == MALFORMED:
                failure = Failure(f"redirected to a {MALFORMED}")
            failure.host = host
            raise failure from None
        if not response.is_redirect:
            return response
        response.close()
        try:
            target = urljoin(url, response.headers["Location"])
        except ValueError:
            raise Failure(f"redirected to a {MALFORMED}") from None
        require_https(target, url)
        url = target
    raise Failure(f"more than {REDIRECTS} redirects")


def _await_headers(
    get: Callable[[], requests.Response],
    cut: Callable[[], None],
    deadline: float,
    stop: threading.Event | None,
    on_wait: OnWait,
) -> requests.Response:
    """Call `get` and return its answer. Raises _TooLateError after the deadline, and whatever `get` raises.

    `get` runs in a thread of its own, which `cut` ends when the time is over: a server can keep any step busy without
    end, from the handshake to headers that never end, with a byte now and then.
    """
    answer: Future[requests.Response] = Future()

    def run() -> None:
        try:
            response = get()
        except BaseException as error:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
        else:
            if answer.set_running_or_notify_cancel():
                answer.set_result(response)
            else:
                response.close()

    threading.Thread(target=run, daemon=True).start()
    notice = time.monotonic() + NOTICE
    try:
        while not wait([answer], POLL).done:
            now = time.monotonic()
            if stop and stop.is_set():
                raise KeyboardInterrupt
            if now > deadline:
                raise _TooLateError
            if now > notice:
                on_wait(deadline - now, "no answer yet")
                notice = deadline
    finally:
        if answer.cancel():
            cut()
    return answer.result()


def require_https(url: str, redirected_from: str = "") -> None:
    """Raise Failure unless the URL is https, or http on this machine and no redirect from https."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise Failure(f"redirected to a {MALFORMED}" if redirected_from else MALFORMED) from None
    is_local = parts.scheme == "http" and is_loopback(host) and not redirected_from.startswith("https:")
    if not is_local and not (host and parts.scheme == "https"):
        raise Failure(f"redirected to {redact(url)[:LONGEST]}, which is not https" if redirected_from else "not https")


def redact(url: str) -> str:
    """Return the URL without the parts that may be secret: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def choose_proxies(url: str) -> dict[str, str] | None:
    """Return the proxies for requests to use: none for a URL on this machine, else (None) the environment's."""
    host = urlsplit(url).hostname or ""
    return {"no_proxy": host} if is_loopback(host) else None


def translate_error(error: BaseException, patience: Patience) -> Failure:
    """Return an error of an HTTP library in our own words: its own may hold a proxy's password or a signed URL."""
    import requests
    from urllib3.exceptions import DecodeError

    causes = tuple(_causes(error))
    if isinstance(error, requests.exceptions.ProxyError):
        answer = re.search(r"Tunnel connection failed: (\d{3})", str(error))
        return UnreachableHost(f"the proxy answered HTTP {answer[1]}" if answer else "the proxy is unreachable")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return UnreachableHost("cannot resolve the host name")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return UnreachableHost("connection refused")
    if isinstance(error, requests.ConnectTimeout):
        return UnreachableHost(f"no connection within {patience.connect:g} s")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Failure("invalid TLS certificate")
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in causes):
        return TemporaryFailure(f"no answer for {patience.read:g} s")
    if isinstance(error, DecodeError):
        return TemporaryFailure("the body is encoded and cannot be decoded")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return Failure("the answer has an invalid or contradictory Content-Length")
    if isinstance(error, ValueError):  # requests raises subclasses of it for malformed URLs
        return Failure(MALFORMED)
    return TemporaryFailure("the connection broke")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def format_status(response: requests.Response) -> str:
    """Return the status of an answer as text, such as "HTTP 404 Not Found"."""
    return f"HTTP {response.status_code} {(response.reason or '')[:LONGEST]}".rstrip()


def is_number(text: str) -> bool:
    """Return whether a header's text is a number of reasonable length: int() refuses thousands of digits."""
    return re.fullmatch("[0-9]{1,18}", text) is not None


def parse_total(response: requests.Response) -> int | None:
    """Return the bytes of the whole file that an answer, or the part that it has, belongs to; None if unknown."""
    whole = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(whole) if is_number(whole) else None


def parse_retry_after(response: requests.Response) -> float:
    """Return the seconds that the server asks the client to wait; 0 if it does not ask."""
    from email.utils import parsedate_to_datetime

    text = response.headers.get("Retry-After", "").strip()
    if is_number(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):  # no valid date
        return 0.0
