"""Whether upstream files are available: asked at most once per URL, and False only if every server says so."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Unavailable
from llm_trace_archive.core.recipe import UpstreamFile, Workload
from llm_trace_archive.upstream import pins
from llm_trace_archive.upstream.cache import Cache
from llm_trace_archive.upstream.http import unreachable_hosts
from llm_trace_archive.upstream.probe import Probe
from llm_trace_archive.upstream.sources import Sources
from support import servers
from support.golden import assert_golden

CONTENT = b"content"


@pytest.fixture
def site() -> Iterator[servers.Site]:
    unreachable_hosts.clear()
    with servers.site() as found:
        found.scripts["/good"] = servers.plain(CONTENT)
        found.scripts["/gone"] = servers.failing(410, 99, servers.plain(b""))
        found.scripts["/busy"] = servers.failing(503, 99, servers.plain(b""))
        found.scripts["/malformed"] = servers.redirecting("http://[")
        found.scripts["/moved"] = servers.redirecting("/good")
        yield found


def workload_of(archive: Archive, *urls: str, size: int | None = len(CONTENT)) -> Workload:
    """Return a workload with one file, to be had at any of the URLs."""
    file = UpstreamFile("demo", "log.csv", urls[0], hashlib.sha256(CONTENT).hexdigest(), size, also=urls[1:])
    return dataclasses.replace(archive.recipe("kavier").workload("decode"), files=(file,))


@pytest.mark.parametrize(
    ("names", "answer"),
    [(["good"], True), (["moved"], True), (["gone"], False), (["gone", "absent"], False), (["busy", "good"], True)],
)
def test_servers_that_know(
    site: servers.Site, archive: Archive, tmp_path: Path, names: list[str], answer: bool
) -> None:
    workload, probe = workload_of(archive, *(f"{site.url}/{name}" for name in names)), Probe(Sources(tmp_path))
    assert [probe.is_obtainable(workload) for _ in range(3)] == [answer] * 3
    assert all(site.requests[f"/{name}"] == 1 for name in names), "each is asked once"


def test_servers_that_do_not_know(site: servers.Site, archive: Archive, tmp_path: Path) -> None:
    urls = (*(f"{site.url}/{name}" for name in ("gone", "busy", "malformed")), "http://127.0.0.1:1/x", "hf://x")
    with pytest.raises(Unavailable) as caught:
        Probe(Sources(tmp_path)).is_obtainable(workload_of(archive, *urls))
    assert_golden("probe/unknown", str(caught.value))
    site.requests.clear()
    with pytest.raises(Unavailable, match="not tried: offline"):
        Probe(Sources(tmp_path, offline=True)).is_obtainable(workload_of(archive, urls[1]))
    assert not site.requests


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (servers.plain(servers.HTML), "HTTP 206 Partial Content, but 65 bytes"),
        (servers.ignoring_range(servers.HTML), "HTTP 200 OK, but 65 bytes"),
        (servers.ignoring_range(b""), "HTTP 200 OK, but 0 bytes"),
        (servers.endless(), "HTTP 200 OK, but an unknown number of bytes"),
        (lambda handler: handler.answer(206, b"c", None, Content_Range="bytes 0-0/*"), "an unknown number of bytes"),
    ],
    ids=["a page by range", "a page", "nothing", "no length", "no total"],
)
def test_an_answer_of_another_size_is_no_promise(
    site: servers.Site, archive: Archive, tmp_path: Path, script: servers.Script, why: str
) -> None:
    site.scripts["/log.csv"] = script
    for sources, url in (Sources(tmp_path), "log.csv"), (Sources(tmp_path, mirror=f"{site.url}/up"), "gone"):
        site.scripts["/up/demo/log.csv"] = script
        with pytest.raises(Unavailable, match=f"no source promises log.csv(.|\n)*{why}"):
            Probe(sources).is_obtainable(workload_of(archive, f"{site.url}/{url}"))


def tagged(content: bytes, tag: str) -> servers.Script:
    return lambda handler: handler.send(handler.begin(content, ETag=tag))


def test_the_etag_of_the_pinned_bytes_is_remembered(site: servers.Site, archive: Archive, tmp_path: Path) -> None:
    site.scripts["/log.csv"] = tagged(CONTENT, '"first"')
    workload, unsized = (workload_of(archive, f"{site.url}/log.csv", size=size) for size in (len(CONTENT), None))
    cache = tmp_path / "cache"
    with pytest.raises(Unavailable, match="neither size nor ETag"):
        Probe(Sources(cache)).is_obtainable(unsized)
    Sources(cache).get(workload.files[0]).unlink()
    assert Probe(Sources(cache)).is_obtainable(workload) and Probe(Sources(cache)).is_obtainable(unsized)
    site.scripts["/log.csv"] = tagged(CONTENT, 'W/"first"')
    assert Probe(Sources(cache)).is_obtainable(workload), "weak or strong: the same content"
    for script in tagged(b"CONTENT", '"second"'), servers.plain(CONTENT):
        site.scripts["/log.csv"] = script
        with pytest.raises(Unavailable, match="but the ETag is not that of the pinned bytes"):
            Probe(Sources(cache)).is_obtainable(workload)
    (_,) = (cache / "tags").iterdir()
    list(Cache(cache).prune(0, None, quarantine=False, everything=True, dry_run=False))
    assert not (cache / "tags").exists()


def test_a_joined_file_of_unknown_beginning_has_no_etag(site: servers.Site, archive: Archive, tmp_path: Path) -> None:
    site.scripts["/log.csv"] = tagged(CONTENT, '"first"')
    (file,) = workload_of(archive, f"{site.url}/log.csv").files
    Cache(tmp_path).partial_path(file).parent.mkdir()
    Cache(tmp_path).partial_path(file).write_bytes(CONTENT[:3])
    Sources(tmp_path).get(file)
    assert site.seen[0][1]["Range"] == "bytes=3-" and not (tmp_path / "tags").exists()


def test_a_local_file_needs_no_server_if_its_bytes_are_as_pinned(
    site: servers.Site, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "demo" / "log.csv"
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    workload = workload_of(archive, f"{site.url}/gone")
    probe = Probe(Sources(tmp_path / "cache", mirror=str(tmp_path)))
    with monkeypatch.context() as patch:
        hashed = []
        hash_file = pins.hash_file
        patch.setattr(pins, "hash_file", lambda *args: hashed.append(args) or hash_file(*args))
        assert all(probe.is_obtainable(workload) for _ in range(3)) and len(hashed) == 1
        os.utime(place, (0, 0))
        assert probe.is_obtainable(workload) and len(hashed) == 2, "it may have changed"
    assert not site.requests
    assert not Probe(Sources(tmp_path / "cache", mirror=f"{site.url}/empty")).is_obtainable(workload)
    assert site.requests == {"/empty/demo/log.csv": 1, "/gone": 1}
    place.write_bytes(b"Content")
    with pytest.raises(Unavailable, match="same size, other content"):
        probe.is_obtainable(workload)
    (cached := Cache(tmp_path / "cache").content_path(workload.files[0])).parent.mkdir(parents=True)
    cached.write_bytes(b"Content")
    with pytest.raises(Unavailable, match="cache: wrong bytes"):
        probe.is_obtainable(workload)
    for each in (cached, place):
        each.unlink()
        os.mkfifo(each)
    with pytest.raises(Unavailable, match=r"not readable \(not a regular file\)"):
        probe.is_obtainable(workload)
