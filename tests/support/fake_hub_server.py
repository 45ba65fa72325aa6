"""A server on loopback for stateful fakes: routes, pages, Ranges, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep  # tests replace time.sleep
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 3  # entries of a page: every listing goes over several
BLOCK = 1 << 20


@dataclass
class Fault:
    """What happens to the `number`-th request from now at `route` (any if empty).

    kind  a status: the answer; "limit": 429 as by the Hub's rate limits; "drop": the connection is cut before the
          request has an effect; "half": cut in the middle of its body; "stall": cut after 0.6 s of silence; "lost 500",
          "lost": it has its effect, but the answer is 500 or none; "kill", "lost kill": the client is killed before or
          after the effect; "echo 403" and so on: that status, with a message that repeats the token; "json X": 200
          and X
    """

    number: int
    kind: str
    route: str = ""
    lasts: bool = False  # also to all that follow


class RefusedError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass
class Site:
    """What a server was asked, and its faults.

    url, storage  its two origins
    requests      names of routes, in order
    refused       answers of 4xx; unknown: requests that the real server does not know, and errors of this one
    client        the process that a "kill" kills
    """

    url: str = ""
    storage: str = ""
    requests: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    client: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def route(self, method: str, path: str, storage: bool) -> tuple[str, Callable, tuple[str, ...]]:
        for each, is_storage, pattern, name in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and (method, storage) == (each, is_storage):
                return name, getattr(self, name), tuple(unquote(each or "") for each in match.groups())
        self.unknown.append(f"{method} {path}")

        def refuse(_handler: Handler) -> None:
            raise RefusedError(404, f"Sorry, we can't find {path}")

        return f"{method} {path}", refuse, ()

    def fault(self, route: str) -> str:
        for each in self.faults:
            if each.route in ("", route):
                each.number -= 1
                if each.number == 0 or (each.lasts and each.number < 0):
                    return each.kind
        return ""

    def kill(self) -> None:
        os.kill(self.client, signal.SIGKILL)
        sleep(0.05)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer takes 40 ms
    server: Server

    def answer_all(self) -> None:
        hub = self.server.hub
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.body, self.lost = b"", ""
        self.left = int(self.headers.get("Content-Length", 0))
        route, act, names = hub.route(self.command, url.path, self.server.is_storage)
        with hub.lock:
            kind = hub.fault(route)
            hub.requests.append(route)
        with contextlib.suppress(ConnectionError):
            if kind == "stall":
                sleep(0.6)
            if kind in ("drop", "half", "kill", "stall"):
                self.receive(self.left // 2 if kind == "half" else 0)
                hub.kill() if kind == "kill" else None
                self.close_connection = True
                return
            if kind == "limit" or kind.isdigit():
                while self.receive(BLOCK):
                    pass
                asked = {"limit": {"RateLimit": '"api";r=0;t=7'}, "429": {"Retry_After": "1"}}.get(kind, {})
                self.reply(429 if kind == "limit" else int(kind), b'{"error": "sorry"}', **asked)
                return
            if kind.startswith(("echo ", "json ")):
                how, _, what = kind.partition(" ")
                while self.receive(BLOCK):
                    pass
                said = f"{'x' * 290} {self.headers.get('Authorization')} is not welcome"
                body = json.dumps({"error": said}) if how == "echo" else what
                self.reply(int(what) if how == "echo" else 200, body.encode(), Content_Type="application/json")
                return
            self.lost = kind
            try:
                act(self, *names)
            except RefusedError as refused:
                while self.receive(BLOCK):
                    pass
                hub.refused.append(f"{refused.status} {route}: {refused.message}")
                body = json.dumps({"error": refused.message}).encode()
                self.reply(refused.status, body, X_Error_Code=refused.code or None, X_Error_Message=refused.message)

    do_GET = do_HEAD = do_POST = do_PUT = answer_all  # noqa: N815 (names of the base class)

    def receive(self, most: int) -> bytes:
        """Return the next bytes of the body."""
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            size = int(self.rfile.readline(), 16)
            block = self.rfile.read(size)
            self.rfile.readline()
            return block
        block = self.rfile.read(min(most, self.left))
        self.left -= len(block)
        if not block and self.left and most:
            raise ConnectionResetError
        return block

    def whole(self) -> bytes:
        """Return the body."""
        while block := self.receive(BLOCK):
            self.body += block
        return self.body

    def json(self, kind: str = "application/json") -> dict:
        if self.headers.get_content_type() != kind:
            raise RefusedError(400, f"Content-Type must be {kind}")
        found: dict = json.loads(self.whole())
        return found

    def reply(self, status: int, body: bytes = b"", **headers: str | None) -> None:
        """Answer, unless the answer gets lost."""
        if self.lost == "lost 500":
            status, body, headers = 500, b"<html>Bad gateway</html>", {"Content_Type": "text/html"}
        elif self.lost:
            self.server.hub.kill() if self.lost == "lost kill" else None
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.send_header("X-Request-Id", "Root=1-demo")
        if self.command != "HEAD" or "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_json(self, value: object, **headers: str | None) -> None:
        self.reply(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def reply_page(self, items: list) -> None:
        """Answer a page of a listing, with a link to the next."""
        start = int(self.query.get("cursor", 0))
        link = None
        if start + PAGE < len(items):
            query = "&".join(f"{name}={quote(value)}" for name, value in self.query.items() if name != "cursor")
            path = urlsplit(self.path).path
            link = f'<{self.server.hub.url}{path}?{query}&cursor={start + PAGE}>; rel="next"'
        self.reply_json(items[start : start + PAGE], Link=link)

    def reply_file(self, path: Path | bytes, **headers: str | None) -> None:
        """Answer a file or a Range of it."""
        size = len(path) if isinstance(path, bytes) else path.stat().st_size
        first, last, status = 0, size - 1, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, status = int(match[1]), min(int(match[2] or last), last), 206
            if first >= size:
                self.reply(416, Content_Range=f"bytes */{size}")
                return
            headers["Content_Range"] = f"bytes {first}-{last}/{size}"
        if self.command == "HEAD":
            self.reply(status, Content_Length=str(last + 1 - first), **headers)
            return
        if isinstance(path, bytes):
            self.reply(status, path[first : last + 1], **headers)
            return
        with path.open("rb") as stream:
            stream.seek(first)
            self.reply(status, stream.read(last + 1 - first), **headers)

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: Site
    is_storage = False

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.hub.unknown.append(traceback.format_exc())


ROUTES: list[tuple[str, bool, str, str]] = []  # method, whether it is the storage's, pattern, name of the method


def route(method: str, pattern: str, storage: bool = False) -> Callable:
    def note(function: Callable) -> Callable:
        ROUTES.extend((each, storage, pattern, function.__name__) for each in method.split())
        return function

    return note


@contextlib.contextmanager
def serving(hub: Site) -> Iterator[None]:
    """Serve on two free ports of 127.0.0.1. Fails if a request was unknown."""
    servers = []
    for storage in (False, True):
        server = Server(("127.0.0.1", 0), Handler)
        server.hub, server.is_storage = hub, storage
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    hub.url, hub.storage = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert not hub.unknown, hub.unknown
