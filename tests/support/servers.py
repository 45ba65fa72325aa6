"""A real HTTP server on loopback that misbehaves on demand, one script per path."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 56354493\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"


class Handler(BaseHTTPRequestHandler):
    """Answers a GET by the script of its path, and counts requests and bytes."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        site = self.server.site
        path = self.path.partition("?")[0]
        with site.lock:
            site.requests[path] += 1
            self.nth = site.requests[path]
            site.seen.append((path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            script = site.scripts.get(path)
            if script:
                script(self)
            else:
                self.answer(404, b"no such file")

    def answer(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        """Send status, headers (an underscore becomes a hyphen) and body; `length` lies about the body's."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        self.wfile.write(body)
        self.wfile.flush()
        with self.server.site.lock:
            self.server.site.sent[self.path.partition("?")[0]] += len(body)

    def wanted(self) -> int | None:
        """Return the first byte requested, or None without a Range."""
        span = self.headers.get("Range")
        return int(span.removeprefix("bytes=").partition("-")[0]) if span else None

    def begin(self, body: bytes, ranges: bool = True, **headers: str) -> bytes:
        """Send the headers for `body`, or for the requested range of it, and return the bytes that follow."""
        start = self.wanted() if ranges else None
        if start is not None and start >= len(body):
            self.answer(416, Content_Range=f"bytes */{len(body)}")
            return b""
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - (start or 0)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return body[start or 0 :]

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    site: Site

    def handle_error(self, request: object, client_address: object) -> None:
        pass


Script = Callable[[Handler], None]


@dataclass
class Site:
    """The server's scripts by path, and what happened: requests and body bytes sent by path, headers in order."""

    url: str = ""
    scripts: dict[str, Script] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def site(tls: ssl.SSLContext | None = None, handler: type[Handler] = Handler) -> Iterator[Site]:
    """Run a server on a free port of 127.0.0.1."""
    server = Server(("127.0.0.1", 0), handler)
    server.site = Site(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Proxy(Handler):
    """A proxy for https by CONNECT (RFC 9110, 9.3.6): the site's scripts say by host what happens."""

    def do_CONNECT(self) -> None:
        site = self.server.site
        with site.lock:
            site.requests[self.path] += 1
            site.seen.append((self.path, dict(self.headers)))
        script = site.scripts.get(self.path)
        if script:
            script(self)
        else:
            self.answer(502, b"no such host")
        self.close_connection = True


def tunnelling(port: int) -> Script:
    """Connect to that port of this machine, whatever host is requested."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def script(handler: Handler) -> None:
        with socket.create_connection(("127.0.0.1", port)) as there:
            handler.send_response(200)
            handler.end_headers()
            here = handler.connection
            back = threading.Thread(target=pump, args=(there, here), daemon=True)
            back.start()
            pump(here, there)
            back.join()

    return script


def raw(answer: bytes) -> Script:
    """Send an answer as it is, and close the connection."""

    def script(handler: Handler) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    return script


def plain(body: bytes) -> Script:
    """Answer as a good server does, by Range too."""
    return lambda handler: handler.send(handler.begin(body))


def ignoring_range(body: bytes) -> Script:
    return lambda handler: handler.send(handler.begin(body, ranges=False))


def wrong_range(body: bytes) -> Script:
    """Answer any Range with the whole body, labelled as a part."""

    def script(handler: Handler) -> None:
        if handler.wanted() is None:
            handler.answer(200, body)
        else:
            handler.answer(206, body, None, Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}")

    return script


def cutting(body: bytes, after: int, times: int = 1 << 30, ranges: bool = True) -> Script:
    """Close the connection `after` so many bytes of each of the first `times` answers."""

    def script(handler: Handler) -> None:
        rest = handler.begin(body, ranges)
        handler.send(rest[:after] if handler.nth <= times else rest)
        handler.close_connection = True

    return script


def slow(body: bytes, block: int, seconds: float) -> Script:
    """Wait after every block."""

    def script(handler: Handler) -> None:
        rest = handler.begin(body)
        for start in range(0, len(rest), block):
            handler.send(rest[start : start + block])
            time.sleep(seconds)

    return script


def stalling(body: bytes, after: int, seconds: float, times: int = 1) -> Script:
    """Stay silent for some seconds `after` so many bytes of the first `times` answers."""

    def script(handler: Handler) -> None:
        rest = handler.begin(body)
        if handler.nth <= times:
            handler.send(rest[:after])
            time.sleep(seconds)
            handler.close_connection = True
        else:
            handler.send(rest)

    return script


def failing(status: int, times: int, then: Script, **headers: str) -> Script:
    """Answer with an error `times` times, and then as another script."""
    return lambda handler: handler.answer(status, b"sorry", None, **headers) if handler.nth <= times else then(handler)


def wrong_length(body: bytes, length: int) -> Script:
    """Announce a wrong length, and close."""

    def script(handler: Handler) -> None:
        handler.answer(200, body, length=length)
        handler.close_connection = True

    return script


def endless(block: bytes = b"x" * 65536) -> Script:
    """Send a chunked body that never ends."""

    def script(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while True:
            handler.send(b"%x\r\n%b\r\n" % (len(block), block))

    return script


def redirecting(location: str) -> Script:
    return lambda handler: handler.answer(302, Location=location)
