"""Whether upstream files are available: asked at most once per URL, and False only if every server says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Unavailable
from llm_trace_archive.core.recipe import UpstreamFile, Workload
from llm_trace_archive.upstream.http import unreachable_hosts
from llm_trace_archive.upstream.probe import Probe
from llm_trace_archive.upstream.sources import Sources
from support import servers
from support.golden import assert_golden


@pytest.fixture
def site() -> Iterator[servers.Site]:
    unreachable_hosts.clear()
    with servers.site() as found:
        found.scripts["/good"] = servers.plain(b"content")
        found.scripts["/gone"] = servers.failing(410, 99, servers.plain(b""))
        found.scripts["/busy"] = servers.failing(503, 99, servers.plain(b""))
        found.scripts["/malformed"] = servers.redirecting("http://[")
        found.scripts["/moved"] = servers.redirecting("/good")
        yield found


def workload_of(archive: Archive, *urls: str) -> Workload:
    """Return a workload with one file, to be had at any of the URLs."""
    file = UpstreamFile("demo", "log.csv", urls[0], "0" * 64, 7, also=urls[1:])
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


def test_a_local_file_needs_no_server(site: servers.Site, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "log.csv").write_bytes(b"content")
    workload = workload_of(archive, f"{site.url}/gone")
    assert Probe(Sources(tmp_path / "cache", mirror=str(tmp_path))).is_obtainable(workload)
    assert not site.requests
    assert not Probe(Sources(tmp_path / "cache", mirror=f"{site.url}/empty")).is_obtainable(workload)
    assert site.requests == {"/empty/demo/log.csv": 1, "/gone": 1}
