"""Downloads beyond one good server: several URLs, changed content, encodings, rates, proxies, wrong clocks."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import random
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream, BadUse, Unavailable
from llm_trace_archive.core.recipe import UpstreamFile
from llm_trace_archive.upstream.cache import Cache
from llm_trace_archive.upstream.http import unreachable_hosts
from llm_trace_archive.upstream.sources import Patience, Sources
from support import servers
from support.golden import assert_golden

BODY = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
QUICK = Patience(tries=3, first_pause=0.01, longest_pause=0.05, connect=2, read=0.5)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Site]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    unreachable_hosts.clear()
    with servers.site() as found:
        yield found


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "cache", patience=QUICK)


def pinned(url: str, body: bytes = BODY, also: tuple[str, ...] = ()) -> UpstreamFile:
    return UpstreamFile("demo", "log.csv", url, hashlib.sha256(body).hexdigest(), len(body), also=also)


# Several URLs


def test_urls_are_tried_in_order(site: servers.Site, sources: Sources) -> None:
    site.scripts["/b"] = servers.plain(OTHER)
    site.scripts["/c"] = site.scripts["/d"] = servers.plain(BODY)
    also = tuple(f"{site.url}/{name}" for name in "bcd")
    assert sources.get(pinned(f"{site.url}/a", also=also)).read_bytes() == BODY
    assert [path for path, _ in site.seen] == ["/a", "/b", "/c"]


def test_a_failure_names_all_urls(site: servers.Site, sources: Sources) -> None:
    also = (f"{site.url}/b", "hf://nonsense")
    with pytest.raises(Unavailable) as caught:
        sources.get(pinned(f"{site.url}/a", also=also))
    assert_golden("download/several-urls", str(caught.value))
    site.scripts["/a"] = servers.plain(servers.HTML)
    with pytest.raises(BadUpstream) as wrong:
        sources.get(pinned(f"{site.url}/a", also=also))
    assert_golden("download/several-urls-wrong", str(wrong.value), cache=sources.cache)


def test_a_download_is_resumed_at_another_server(site: servers.Site, sources: Sources) -> None:
    site.scripts["/a"] = lambda handler: (servers.cutting(BODY, 100_000, 1) if handler.nth == 1 else failing)(handler)
    failing = servers.failing(404, 99, servers.plain(BODY))
    site.scripts["/b"] = servers.plain(BODY)
    assert sources.get(pinned(f"{site.url}/a", also=(f"{site.url}/b",))).read_bytes() == BODY
    assert site.sent["/b"] == len(BODY) - 100_000


def test_more_urls_in_a_recipe_keep_its_digest(empty_archive: Archive) -> None:
    path = empty_archive.root / "recipes" / "burstgpt.toml"
    before = empty_archive.recipe("burstgpt").workload("1")
    text = path.read_text()
    name = before.files[0].name
    assert text.count(f'name = "{name}", ') == 1
    path.write_text(text.replace(f'name = "{name}", ', f'name = "{name}", also = ["https://example.org/{name}"], '))
    after = Archive(empty_archive.root).recipe("burstgpt").workload("1")
    assert after.files[0].also == (f"https://example.org/{name}",)
    assert after.digest == before.digest and after.sources == before.sources


# Content that changes, and encodings


@pytest.mark.parametrize("honours", [True, False], ids=["if-range honoured", "if-range ignored"])
@pytest.mark.parametrize("weak", ["", "W/"], ids=["strong", "weak"])
def test_parts_of_different_content_are_not_joined(
    site: servers.Site, sources: Sources, honours: bool, weak: str
) -> None:
    def script(handler: servers.Handler) -> None:
        if handler.nth == 1:
            handler.send(handler.begin(OTHER, ETag=f'{weak}"old"')[:100_000])
            handler.close_connection = True
        else:
            changed = handler.headers.get("If-Range") == '"old"' and honours
            handler.send(handler.begin(BODY, ranges=not changed, ETag=f'{weak}"new"'))

    site.scripts["/log.csv"] = script
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY
    asked = [(headers.get("Range"), headers.get("If-Range")) for _, headers in site.seen]
    assert asked[1] == ("bytes=100000-", None if weak else '"old"')
    assert not (sources.cache / "quarantine").exists()


def test_an_unrequested_encoding_is_decoded(site: servers.Site, sources: Sources) -> None:
    packed = gzip.compress(BODY, mtime=0)
    site.scripts["/log.csv"] = lambda handler: handler.answer(200, packed, Content_Encoding="gzip")
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY


def test_a_compressed_file_that_the_server_calls_encoded_stays_as_it_is(site: servers.Site, sources: Sources) -> None:
    packed = gzip.compress(BODY, mtime=0)
    site.scripts["/log.gz"] = lambda handler: handler.answer(200, packed, Content_Encoding="gzip")
    assert sources.get(pinned(f"{site.url}/log.gz", packed)).read_bytes() == packed


def test_a_very_slow_body_is_given_up(site: servers.Site, sources: Sources) -> None:
    site.scripts["/log.csv"] = servers.slow(BODY, 10, 0.02)
    hasty = dataclasses.replace(sources, patience=dataclasses.replace(QUICK, read=0.1))
    with pytest.raises(Unavailable, match=r"only \d+ bytes in \d s after \d+ of 300000 bytes; gave up after 3 tries"):
        hasty.get(pinned(f"{site.url}/log.csv"))


# Rates


def test_a_rate_holds_for_all_threads_together(
    site: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRACES_RATE", "1M")
    bodies = [random.Random(n).randbytes(200_000) for n in range(4)]
    files = [pinned(f"{site.url}/{n}", body) for n, body in enumerate(bodies)]
    for n, body in enumerate(bodies):
        site.scripts[f"/{n}"] = servers.plain(body)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert [path.read_bytes() for path in pool.map(sources.get, files)] == bodies
    assert 0.75 < time.monotonic() - began < 3


def test_a_slow_rate_can_be_stopped(site: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_TRACES_RATE", "0.5k")
    site.scripts["/log.csv"] = servers.plain(BODY)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(sources, stop=stop).get(pinned(f"{site.url}/log.csv"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("rate", ["fast", "10 MB/s", "-1", "1e9", "10m"])
def test_an_invalid_rate_is_refused(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, site: servers.Site, rate: str
) -> None:
    monkeypatch.setenv("LLM_TRACES_RATE", rate)
    site.scripts["/log.csv"] = servers.plain(BODY)
    with pytest.raises(BadUse, match="LLM_TRACES_RATE: not a rate") as caught:
        sources.get(pinned(f"{site.url}/log.csv"))
    assert repr(rate) in caught.value.details["got"]


@pytest.mark.parametrize("rate", ["", "0", " 1G ", "1.5M"])
def test_no_rate_and_a_high_rate(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, site: servers.Site, rate: str
) -> None:
    monkeypatch.setenv("LLM_TRACES_RATE", rate)
    site.scripts["/log.csv"] = servers.plain(BODY)
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY


# Proxies


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def upstream(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Site]:
    """A server with a certificate for data.example.org, which no name server knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("data.example.org").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with servers.site(tls=context) as found:
        found.scripts["/log.csv"] = servers.cutting(BODY, 100_000, times=1)
        yield found


@pytest.fixture
def proxy(site: servers.Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Site]:
    with servers.site(handler=servers.Proxy) as found:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, found.url.replace("//", "//user:secret@"))
        yield found


def test_a_proxy_of_the_environment_is_used(upstream: servers.Site, proxy: servers.Site, sources: Sources) -> None:
    proxy.scripts["data.example.org:443"] = servers.tunnelling(int(upstream.url.rpartition(":")[2]))
    assert sources.get(pinned("https://data.example.org/log.csv")).read_bytes() == BODY
    assert upstream.requests["/log.csv"] == 2 and set(proxy.requests) == {"data.example.org:443"}
    assert all("Proxy-Authorization" in headers for _, headers in proxy.seen)
    assert not any("Proxy-Authorization" in headers for _, headers in upstream.seen)


def test_an_invalid_certificate(upstream: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Unavailable, match="invalid TLS certificate"):
        sources.get(pinned(f"{upstream.url}/log.csv"))
    assert not upstream.requests


def test_this_machine_is_asked_without_a_proxy(site: servers.Site, proxy: servers.Site, sources: Sources) -> None:
    site.scripts["/log.csv"] = servers.plain(BODY)
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY
    assert not proxy.requests


def test_no_proxy_is_honoured(proxy: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "example.org")
    with pytest.raises(Unavailable, match=r"cannot resolve the host name|no connection"):
        sources.get(pinned("https://data.example.org/log.csv"))
    assert not proxy.requests


def test_a_proxy_that_refuses_is_reported(proxy: servers.Site, sources: Sources) -> None:
    proxy.scripts["data.example.org:443"] = lambda handler: handler.answer(407, b"who are you?")
    with pytest.raises(Unavailable) as caught:
        sources.get(pinned("https://data.example.org/log.csv"))
    assert_golden("download/proxy-refuses", str(caught.value))


def test_an_unreachable_proxy(site: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@127.0.0.1:1")
    with pytest.raises(Unavailable, match="the proxy is unreachable") as caught:
        sources.get(pinned("https://data.example.org/log.csv"))
    assert "secret" not in str(caught.value)


# Clocks


def test_a_jumping_clock_is_harmless(site: servers.Site, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: rng.choice((0.0, 1e9, 4e9, 9e9, -1e9)))
    site.scripts["/log.csv"] = servers.failing(503, 2, servers.cutting(BODY, 100_000, 4), Retry_After=formatdate(2e9))
    began = time.monotonic()
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("moment", [0, 9e9], ids=["the epoch", "the year 2255"])
def test_wrong_file_times_are_harmless(site: servers.Site, sources: Sources, moment: float) -> None:
    site.scripts["/log.csv"] = servers.plain(BODY)
    file = pinned(f"{site.url}/log.csv")
    cache = Cache(sources.cache)
    cache.partial_path(file).parent.mkdir(parents=True)
    cache.partial_path(file).write_bytes(BODY[:1000])
    with cache.lock("old"):
        pass
    for path in sources.cache.rglob("*"):
        os.utime(path, (moment, moment))
    path = sources.get(file)
    os.utime(path, (moment, moment))
    assert sources.get(file).read_bytes() == BODY
    assert site.sent["/log.csv"] == len(BODY) - 1000
    assert abs(path.stat().st_mtime - time.time()) < 100, "used now"
