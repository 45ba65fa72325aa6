"""Servers that keep a client waiting: every wait has an end, and is shown with its reason."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from llm_trace_archive.core.errors import BadUse, Unavailable
from llm_trace_archive.core.recipe import UpstreamFile
from llm_trace_archive.upstream import download, http
from llm_trace_archive.upstream.sources import Patience, Sources
from support import servers
from support.command import run_here
from support.programs import git, llm_traces
from support.small_archive import publish

BODY = random.Random(1).randbytes(100_000)
SECONDS = "2"  # LLM_TRACES_TIMEOUT
SOON = 8.0  # seconds, on a busy machine too
DRIP = 0.05  # seconds: less than any timeout of one read


def _drip(handler: servers.Handler, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        handler.wfile.write(piece)
        handler.wfile.flush()
        time.sleep(DRIP)


def _forever(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def _continue_forever(handler: servers.Handler) -> None:
    _drip(handler, _forever(b"HTTP/1.1 100 Continue\r\n\r\n"))


def _drip_headers(handler: servers.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    _drip(handler, _forever(b"x"))


def _drip_a_chunk_size(handler: servers.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    _drip(handler, _forever(b"x"))


def _drip_the_body(handler: servers.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    _drip(handler, _forever(b"x"))


def _redirect_slowly(handler: servers.Handler) -> None:
    time.sleep(0.4)
    handler.answer(302, Location=f"/log.csv?{time.monotonic()}")


def _be_silent(handler: servers.Handler) -> None:
    time.sleep(10)


def _be_silent_in_the_body(handler: servers.Handler) -> None:
    handler.begin(BODY)
    time.sleep(10)


def _be_busy(handler: servers.Handler) -> None:
    handler.answer(429, b"later", None, Retry_After="60")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Site]:
    monkeypatch.setenv("LLM_TRACES_TIMEOUT", SECONDS)
    monkeypatch.setattr(http, "NOTICE", 0.2)
    monkeypatch.setattr(download, "NOTICE", 0.2)
    http.unreachable_hosts.clear()
    with servers.site() as found:
        yield found


def file_at(url: str) -> UpstreamFile:
    return UpstreamFile("demo", "log.csv", url, hashlib.sha256(BODY).hexdigest(), len(BODY))


@pytest.mark.parametrize(
    ("script", "why", "shown"),
    [
        (_continue_forever, "no complete answer within 1 s", "waiting 1 s for log.csv: no answer yet"),
        (_drip_headers, "no complete answer within 1 s", "waiting 1 s for log.csv: no answer yet"),
        (_redirect_slowly, "no complete answer within 1 s|more than 10 redirects", ""),
        (_be_silent, "no answer for 0.5 s", "waiting 1 s for log.csv: no answer yet"),
        (_be_silent_in_the_body, "no answer for 0.5 s", "waiting 1 s for log.csv: no more bytes yet"),
        (_drip_a_chunk_size, r"no complete block in \d s", "waiting 1 s for log.csv: no more bytes yet"),
        (_drip_the_body, r"only \d+ bytes in \d s", ""),
        (_be_busy, "HTTP 429 Too Many Requests", "waiting 2 s for log.csv: HTTP 429 Too Many Requests"),
    ],
)
def test_every_wait_ends_and_is_shown(
    site: servers.Site, tmp_path: Path, script: servers.Script, why: str, shown: str
) -> None:
    site.scripts["/log.csv"] = script
    lines: list[str] = []
    began = time.monotonic()
    with pytest.raises(Unavailable, match=why):
        Sources(tmp_path, on_wait=lines.append).get(file_at(f"{site.url}/log.csv"))
    assert time.monotonic() - began < SOON
    assert not shown or any(line.startswith(shown) for line in lines), lines


def test_a_handshake_that_never_ends(site: servers.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends its part of the TLS handshake a byte at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")  # a long ServerHello
                    threading.Thread(target=drip, args=(connection,), daemon=True).start()

        def drip(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection.sendall(b"\0")
                    time.sleep(DRIP)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"no (complete )?answer (within|for) "):
            Sources(tmp_path).get(file_at(f"https://127.0.0.1:{listener.getsockname()[1]}/log.csv"))
        assert time.monotonic() - began < SOON


def test_a_silent_body_over_tls_ends(site: servers.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with servers.site(tls=context) as secure:
        secure.scripts["/log.csv"] = _drip_a_chunk_size
        with pytest.raises(Unavailable, match=r"no complete block in \d s"):
            Sources(tmp_path / "cache").get(file_at(f"{secure.url}/log.csv"))


@pytest.mark.parametrize("script", [_be_silent, _be_silent_in_the_body, _drip_headers, _drip_a_chunk_size, _be_busy])
def test_every_wait_can_be_stopped(site: servers.Site, tmp_path: Path, script: servers.Script) -> None:
    site.scripts["/log.csv"] = script
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Sources(tmp_path, stop=stop, patience=Patience()).get(file_at(f"{site.url}/log.csv"))
    assert time.monotonic() - began < 1.3


def test_bytes_now_and_then_are_progress(site: servers.Site, tmp_path: Path) -> None:
    site.scripts["/log.csv"] = servers.cutting(BODY, 15_000)
    patience = Patience(tries=2, first_pause=0.3, progress=0.4)
    assert Sources(tmp_path, patience=patience).get(file_at(f"{site.url}/log.csv")).read_bytes() == BODY


def test_the_wait_for_another_process_is_shown(site: servers.Site, tmp_path: Path) -> None:
    site.scripts["/log.csv"] = servers.slow(BODY, 10_000, 0.1)
    lines: list[str] = []
    file = file_at(f"{site.url}/log.csv")
    first = threading.Thread(target=Sources(tmp_path).get, args=(file,))
    first.start()
    while not site.requests:
        time.sleep(0.01)
    Sources(tmp_path, on_wait=lines.append).get(file)
    first.join()
    assert lines == ["waiting for log.csv: another process fetches it"]


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "10 s", "9999999"])
def test_an_invalid_timeout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LLM_TRACES_TIMEOUT", value)
    with pytest.raises(BadUse, match="LLM_TRACES_TIMEOUT: not a number of seconds"):
        Sources(tmp_path)


def test_the_timeout_is_the_limit_and_the_default_is_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Patience.from_settings() == Patience() and Patience().progress == 120
    monkeypatch.setenv("LLM_TRACES_TIMEOUT", "600")
    patience = Patience.from_settings()
    assert (patience.progress, patience.headers, patience.read) == (600, 60, 30)
    monkeypatch.setenv("LLM_TRACES_TIMEOUT", "0")
    assert Patience.from_settings() == Patience()


def _build(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_here("build", "demo", cwd=root, **environment)


def _pin(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_here("pin", "demo", cwd=root, **environment)


def _get(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    git("clone", "--quiet", "--single-branch", root, "clone", cwd=root.parent)
    return llm_traces("get", "demo", cwd=root.parent / "clone", **environment)


@pytest.mark.parametrize("command", [_build, _pin, _get])
def test_a_command_shows_what_it_waits_for(
    site: servers.Site, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    archive, _ = publish(tmp_path, site.url, {"log": ("log.csv", 3)})
    site.scripts["/log.csv"] = _be_busy
    done = command(archive.root, LLM_TRACES_TIMEOUT="2", LLM_TRACES_CACHE=str(tmp_path / "empty"))
    assert done.returncode == 1, done.stderr
    assert re.search(r"waiting \d s for log.csv: HTTP 429 Too Many Requests", done.stdout + done.stderr), done.stderr
