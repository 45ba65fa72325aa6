"""One HTTP request: https only, redirects followed by hand, and failures in our own words.

Proxies come from the environment, but requests to this machine bypass them: http is allowed here only because nothing
leaves the machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from .. import __version__

if TYPE_CHECKING:
    import requests

AGENT = f"llm-trace-archive/{__version__} (+https://github.com/llm-trace-archive/llm-trace-archive)"
REDIRECTS = 10

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


class UnreachableHost(TemporaryFailure):
    """No server answers: one more try is enough."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server. All times are in seconds.

    tries          how many tries in a row may bring no new bytes, or hardly any
    first_pause    between tries; pauses double up to `longest_pause`, which also limits a server's Retry-After
    connect, read  how long one try waits for a connection, and for bytes
    """

    tries: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0
    connect: float = 10.0
    read: float = 30.0


def open_session() -> requests.Session:
    """Return a session whose requests name this package and ask for bodies as they are."""
    import requests

    session = requests.Session()
    session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})
    return session


def request(session: requests.Session, url: str, headers: dict[str, str], patience: Patience) -> requests.Response:
    """GET a URL, follow its redirects, and return the answer with its body unread. Raises Failure."""
    import requests
    from urllib3.exceptions import HTTPError

    require_https(url)
    timeout = (patience.connect, patience.read)
    for _ in range(REDIRECTS + 1):
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host in unreachable_hosts:
            raise Failure(unreachable_hosts[host])
        try:
            # By hand, because requests would follow a redirect from https to http.
            response = session.get(
                url, headers=headers, timeout=timeout, stream=True, allow_redirects=False, proxies=choose_proxies(url)
            )
            target = urljoin(url, response.headers["Location"]) if response.is_redirect else None
        except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: a malformed Location
            failure = translate_error(error, patience)
            failure.host = host
            raise failure from None
        if target is None:
            return response
        response.close()
        require_https(target, url)
        url = target
    raise Failure(f"more than {REDIRECTS} redirects")


def require_https(url: str, redirected_from: str = "") -> None:
    """Raise Failure unless the URL is https, or http on this machine and no redirect from https."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise Failure("malformed URL") from None
    is_local = parts.scheme == "http" and is_loopback(host) and not redirected_from.startswith("https:")
    if not is_local and not (host and parts.scheme == "https"):
        raise Failure(f"redirected to {redact(url)}, which is not https" if redirected_from else "not https")


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
    if isinstance(error, ValueError):  # requests raises subclasses of it for malformed URLs
        return Failure("malformed URL")
    return TemporaryFailure("the connection broke")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def format_status(response: requests.Response) -> str:
    """Return the status of an answer as text, such as "HTTP 404 Not Found"."""
    return f"HTTP {response.status_code} {response.reason or ''}".rstrip()


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
