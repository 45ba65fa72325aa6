"""Random plans of what goes wrong with one upstream file: its servers' answers, and what earlier runs left.

A plan follows from its seed alone. `str(plan)` shows all of it, for the message of a failing test.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

from llm_trace_archive.core.recipe import UpstreamFile
from support import servers

STALL = 0.4  # seconds: more than the patience of the tests
Fault = Callable[[servers.Handler, bytes, random.Random], None]


def _good(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    handler.send(handler.begin(body))


def _cut(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    rest = handler.begin(body, ranges=rng.random() < 0.8)
    handler.send(rest[: rng.randrange(len(rest) + 1)])
    handler.close_connection = True


def _flip(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    corrupt = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 20))):
        corrupt[rng.randrange(len(corrupt))] ^= 1 << rng.randrange(8)
    handler.send(handler.begin(bytes(corrupt)))


def _stall(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    if rng.random() < 0.3:
        time.sleep(STALL)
    rest = handler.begin(body)
    handler.send(rest[: rng.randrange(len(rest) + 1)])
    time.sleep(STALL)
    handler.close_connection = True


def _length(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    lies = (
        0,
        rng.randrange(len(body)),
        len(body) + rng.randrange(1, 9999),
        10**15,
        10**30,
        -5,
        "many",
        "9" * 5000,
        "١",
    )
    handler.send_response(200)
    handler.send_header("Content-Length", str(rng.choice(lies)).encode().decode("latin-1"))
    handler.end_headers()
    handler.send(body)
    handler.close_connection = True


def _ignores_range(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    handler.send(handler.begin(body, ranges=False))


def _wrong_range(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    start, end, total = (rng.randrange(len(body) + 2) for _ in range(3))
    spans = (f"bytes {start}-{end}/{total}", f"bytes {start}-{len(body) - 1}/{len(body)}", "bytes 0-/*", "lines 1-2/3",
             f"bytes {handler.wanted() or 0}-{'9' * 5000}/{'9' * 5000}", "")  # fmt: skip
    handler.answer(206, body[start:], None, Content_Range=rng.choice(spans))


def _gap(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    """Claim to continue where asked, and continue somewhere else."""
    asked = handler.wanted() or 0
    rest = body[rng.randrange(len(body)) :]
    handler.answer(206, rest, None, Content_Range=f"bytes {asked}-{len(body) - 1}/{len(body)}")


def _other(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    """Send content of another version, by Range too, sometimes cut, with its own ETag or the right one."""
    other = random.Random(rng.choice((1, 2))).randbytes(len(body) + rng.choice((0, 0, -1, 7)))
    tag = rng.choice(("", '"other"', '"right"', 'W/"other"'))
    rest = handler.begin(other or b"x", **({"ETag": tag} if tag else {}))
    handler.send(rest[: rng.randrange(len(rest) + 1)] if rng.random() < 0.5 else rest)
    handler.close_connection = True


def _tagged(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    """Send the right content with its ETag, often cut; answer a Range with another ETag by the whole."""
    asked = handler.headers.get("If-Range", '"right"')
    rest = handler.begin(body, ranges=asked == '"right"', ETag='"right"')
    handler.send(rest[: rng.randrange(len(rest) + 1)] if rng.random() < 0.7 else rest)
    handler.close_connection = True


def _status(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    status = rng.choice((204, 300, 304, 400, 401, 403, 404, 407, 408, 410, 416, 429, 429, 500, 502, 503, 503, 504, 599))
    dates = ("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0000", "Sat, 32 Foo 2026 99:99:99 GMT")
    after = ("", "0", "1", "-1", "9" * 400, "soon", formatdate(usegmt=True), formatdate(9e9, usegmt=True), *dates)
    handler.answer(status, b"" if status in (204, 304) else b"sorry", None, Retry_After=rng.choice(after))


def _instead(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    pages = (servers.HTML, servers.LFS_POINTER, b"", b"\0" * len(body), gzip.compress(body, mtime=0), body + b"\n")
    handler.send(handler.begin(rng.choice(pages), ranges=rng.random() < 0.5))


def _encoded(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    packed = gzip.compress(body, mtime=0)
    if rng.random() < 0.5:
        packed = packed[: rng.randrange(len(packed))] + rng.choice((b"", b"rubbish"))
    handler.answer(200, packed, None, Content_Encoding=rng.choice(("gzip", "gzip", "deflate", "br", "zstd", "rot13")))


def _endless(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    servers.endless(rng.choice((body, b"x" * 9000)))(handler)


def _chunked(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    end = rng.choice((len(body), len(body), rng.randrange(len(body) + 1)))
    for start in range(0, end, 7000):
        block = body[start : min(end, start + 7000)]
        handler.send(b"%x\r\n%b\r\n" % (len(block), block))
    handler.send(rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"zz\r\n", b"")))
    handler.close_connection = True


def _redirect(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    here = handler.path.partition("?")[0]
    places = (
        here,
        f"{here}?again",
        "http://example.org/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://[",
        "//",
        "",
        "data:,x",
        "http://127.0.0.1:1/",
        "/nowhere",
        "https://",
        "http://" + "a" * 300 + ".example/",
        "\x7f é",
    )
    handler.answer(rng.choice((301, 302, 303, 307, 308)), b"moved", None, Location=rng.choice(places))


def _rubbish(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    lines = (
        b"",
        b"\0\1\2\3",
        b"HTTP/1.1 9999 ?\r\n\r\n",
        b"HTTP/0.1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
        body,
    )
    headers = (b"", b"X: y\r\n" * 200, b"X: " + b"y" * 70_000, b"Content-Length: 3\r\nContent-Length: 9\r\n\r\nabc")
    begun = (b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\n" for header in headers)
    handler.send(rng.choice([*lines, *begun]))
    handler.close_connection = True


def _drip(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    """Send something that never ends, a little at a time or as fast as it goes: headers, or a chunk's size."""
    begin, more = rng.choice(
        (
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x"),
        )
    )
    handler.wfile.write(begin)
    while True:
        handler.wfile.write(more)
        time.sleep(rng.choice((0, 0.02)))


def _escapes(handler: servers.Handler, body: bytes, rng: random.Random) -> None:
    """Say things that a terminal would obey."""
    evil = rng.choice((b"\x1b[2J", b"\x9b31m", b"\x07\x08\x7f", b"\xe2\x80\xae"))
    location = rng.choice((b"ftp://x/", b"https://", b"http://127.0.0.1:1/", b"//[")) + evil
    handler.send(b"HTTP/1.1 %d %b\r\nLocation: %b\r\n\r\n" % (rng.choice((302, 404, 503)), evil, location))
    handler.close_connection = True


FAULTS: dict[str, Fault] = {
    name.strip("_"): fault
    for name, fault in globals().items()
    if name.startswith("_") and getattr(fault, "__module__", "") == __name__
}


@dataclass
class Plan:
    """What one fetch meets.

    answers  by place: the faults in order; after them the last one stays, or everything is good
    before   what is in the cache before the fetch, and its size
    """

    seed: int
    body: bytes = field(init=False, repr=False)
    size: int = field(init=False)
    answers: dict[str, list[str]] = field(init=False)
    stays: dict[str, bool] = field(init=False)
    before: tuple[str, int] = field(init=False)
    is_size_known: bool = field(init=False)
    is_git_blob: bool = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.size = rng.choice((1, 100, 16_384, 16_385, rng.randrange(1, 60_000)))
        self.body = rng.randbytes(self.size)
        places = rng.choice((["url"], ["url"], ["url", "also"], ["mirror", "url"], ["mirror", "url", "also"]))
        self.answers = {place: rng.choices(list(FAULTS), k=rng.choice((1, 1, 2, 3, 4))) for place in places}
        self.stays = {place: rng.random() < 0.5 for place in places}
        self.before = rng.choice(("nothing", "nothing", "partial", "rubbish", "corrupt")), rng.randrange(self.size + 3)
        self.is_size_known = rng.random() < 0.8
        self.is_git_blob = rng.random() < 0.2

    def path(self, place: str) -> str:
        """Return the path of the file's URL on the server."""
        return f"/{self.seed}/demo/log.csv" if place == "mirror" else f"/{self.seed}/{place}"

    def script(self, place: str) -> servers.Script:
        """Return what the server does at that place."""
        names = self.answers[place]

        def script(handler: servers.Handler) -> None:
            is_over = handler.nth > len(names)
            name = names[min(handler.nth, len(names)) - 1]
            fault = _good if is_over and not self.stays[place] else FAULTS[name]
            fault(handler, self.body, random.Random(f"{self.seed} {place} {handler.nth}"))

        return script

    def file(self, site: str) -> UpstreamFile:
        """Return the file as its recipe would describe it."""
        return UpstreamFile(
            "demo",
            "log.csv",
            f"{site}{self.path('url')}",
            None if self.is_git_blob else hashlib.sha256(self.body).hexdigest(),
            self.size if self.is_size_known else None,
            git_blob=hashlib.sha1(b"blob %d\0" % self.size + self.body).hexdigest() if self.is_git_blob else None,
            also=(f"{site}{self.path('also')}",) if "also" in self.answers else (),
        )
