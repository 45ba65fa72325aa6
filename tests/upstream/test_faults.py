"""Fetching from faulty servers, by random plans: the pinned bytes or a clear Problem, and no leftovers."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_trace_archive.core.errors import BadUpstream, Unavailable
from llm_trace_archive.core.files import HASHES, hash_file
from llm_trace_archive.upstream import download, http
from llm_trace_archive.upstream.cache import REASON, Cache
from llm_trace_archive.upstream.sources import Patience, Sources
from support import servers
from support.chance import SEED, seeds
from support.faults import Plan

# Read at import: the tests' environment has no LLM_TRACES_*.
HASTY = Patience(tries=3, first_pause=0.002, longest_pause=0.01, connect=2, read=0.2, headers=0.4)


def prepare(plan: Plan, cache: Cache, site: str) -> None:
    """Write what an earlier run left, or a disk corrupted."""
    what, size = plan.before
    file = plan.file(site)
    path = cache.content_path(file) if what == "corrupt" else cache.partial_path(file)
    if what != "nothing":
        path.parent.mkdir(parents=True)
        path.write_bytes(plan.body[:size] if what == "partial" else os.urandom(size))


def fetch(plan: Plan, sources: Sources, site: str) -> str:
    """Fetch, check everything that must always hold, and return how the fetch ended."""
    file = plan.file(site)
    began = time.monotonic()
    try:
        assert sources.get(file).read_bytes() == plan.body, "wrong content was handed out"
        found = "the pinned bytes"
    except (BadUpstream, Unavailable) as problem:
        found = type(problem).__name__
        assert problem.details["next"]
        assert all(line.isprintable() for line in str(problem).splitlines())
        assert found == "Unavailable" or (problem.details["expected"] and problem.details["got"])
    assert time.monotonic() - began < 100  # seconds: it ends, on a busy machine too
    for entry in Cache(sources.cache).entries():
        if entry.kind in HASHES:
            assert hash_file(entry.path, entry.kind)[0] == entry.key, "wrong content in the cache"
        if entry.kind == "quarantine":
            assert entry.path.with_name(entry.path.name + REASON).read_text().startswith("demo: log.csv")
    return found


def run_plan(plan: Plan, site: servers.Site, cache: Path) -> str:
    mirror = f"{site.url}/{plan.seed}" if "mirror" in plan.answers else None
    sources = Sources(cache, mirror, patience=HASTY)
    prepare(plan, Cache(cache), site.url)
    for place in plan.answers:
        site.scripts[plan.path(place)] = plan.script(place)
    found = fetch(plan, sources, site.url)
    for place in plan.answers:
        site.scripts[plan.path(place)] = servers.plain(plan.body)
    assert fetch(plan, Sources(cache, mirror, patience=Patience()), site.url) == "the pinned bytes", "the next run"
    assert not any(entry.kind == "partial" for entry in Cache(cache).entries()), "a leftover partial file"
    return found


@pytest.mark.faults
def test_random_faults_end_with_the_pinned_bytes_or_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_TRACES_OFFLINE", "0")
    monkeypatch.setattr(download, "LIMIT", 1 << 20)
    http.unreachable_hosts.clear()
    plans = [Plan(seed) for seed in seeds(300)]
    with servers.site() as site, ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(run_plan, plan, site, tmp_path / str(plan.seed)) for plan in plans]
        outcomes, wrong = Counter[str](), []
        for plan, future in zip(plans, futures, strict=True):
            error = future.exception()
            if error is not None:
                wrong.append("".join([f"{plan}\n", *traceback.format_exception(error, limit=-4)]))
            else:
                outcomes[future.result()] += 1
    with capsys.disabled():
        print(f"\n{len(plans)} fault plans from seed {SEED}: {dict(outcomes)}")
    assert not wrong, f"{len(wrong)} plans of SEED={SEED}:\n" + "\n".join(wrong[:5])
    assert min(outcomes["the pinned bytes"], outcomes["BadUpstream"], outcomes["Unavailable"]) >= len(plans) // 20
