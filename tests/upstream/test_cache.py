"""`llm-traces cache`: what it lists, finds corrupt and removes, beside processes that fetch and read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.recipe import UpstreamFile
from llm_trace_archive.upstream.cache import Cache
from llm_trace_archive.upstream.renew import renew
from llm_trace_archive.upstream.sources import Sources
from support import servers
from support.command import run_here
from support.golden import assert_golden
from support.programs import Samples

BODY = random.Random(1).randbytes(300_000)
DAY = 86400


@pytest.fixture
def cache(tmp_path: Path, samples: Samples) -> Cache:
    """A cache with files of each kind: two pinned, one used today and one a week ago, and what killed runs left."""
    cache = Cache(tmp_path / "cache")
    decode, prefill = (Archive(samples.root).recipe("kavier").workload(name).files[0] for name in ("decode", "prefill"))
    for file, days in ((decode, 0), (prefill, 7)):
        path = put(cache.content_path(file), (samples.mirror / "kavier" / file.name).read_bytes())
        os.utime(path, (time.time() - days * DAY,) * 2)
    put(cache.content_path(dataclasses.replace(decode, sha256=None)), b"unpinned")
    put(cache.folder / "partial" / ("0" * 64), b"a beginning")
    put(
        Cache(cache.folder / "pinning").content_path(dataclasses.replace(decode, sha256=None)),
        b"of a killed pin",
    )
    put(cache.folder / "quarantine" / "0123456789ab-log.csv", b"wrong")
    put(cache.folder / "quarantine" / "0123456789ab-log.csv.reason.txt", b"demo: log.csv does not match\n")
    put(cache.folder / "notes.txt", b"not ours")
    put(cache.folder / "sha256" / "README", b"not ours")
    return cache


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kinds(cache: Cache) -> list[str]:
    return [entry.kind for entry in cache.entries()]


def run(cache: Cache, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here("cache", *arguments, cwd=cwd, LLM_TRACES_CACHE=str(cache.folder))


def test_list_prints_kind_size_use_and_file(cache: Cache, samples: Samples, tmp_path: Path) -> None:
    lines = run(cache, samples.root, "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [
        "sha256", "sha256", "unpinned", "partial", "quarantine", "unpinned",
    ]  # fmt: skip
    today = time.strftime("%Y-%m-%d")
    (decode,) = (line.split() for line in lines if line.startswith("sha256") and "decode" in line)
    size = (samples.mirror / "kavier" / "raw_decode.csv").stat().st_size
    assert decode == ["sha256", f"{size:,}", today, decode[3], "kavier/raw_decode.csv"]
    total = sum(entry.bytes for entry in cache.entries())
    assert lines[-1] == f"{cache.folder}: 6 files, {total:,} bytes"
    elsewhere = run(cache, tmp_path, "list")
    assert elsewhere.returncode == 0 and "raw_decode.csv" not in elsewhere.stdout, "no recipes, no names"
    assert len(elsewhere.stdout.splitlines()) == len(lines)


def test_verify_quarantines_corrupt_files(cache: Cache, samples: Samples) -> None:
    assert run(cache, samples.root, "verify").stdout == "2 as pinned, 0 corrupt\n"
    file = Archive(samples.root).recipe("kavier").workload("decode").files[0]
    cache.content_path(file).write_bytes(b"corrupt")
    done = run(cache, samples.root, "verify")
    assert (done.returncode, done.stdout) == (1, "1 as pinned, 1 corrupt\n")
    assert_golden("cache/corrupt", done.stderr, cache=cache.folder, sha256=file.sha256)
    aside = next((cache.folder / "quarantine").glob("*-raw_decode.csv"))
    assert aside.read_bytes() == b"corrupt" and "the cached file is corrupt" in Path(f"{aside}.reason.txt").read_text()
    assert not cache.content_path(file).exists()
    assert run(cache, samples.root, "verify").returncode == 0


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], ["sha256", "sha256", "unpinned", "quarantine"]),
        (["--older-than", "3"], ["sha256", "unpinned", "quarantine"]),
        (["--quarantine"], ["sha256", "sha256", "unpinned"]),
        (["--all"], []),
        (["--older-than", "0", "--quarantine"], []),
        (["--all", "--dry-run"], ["sha256", "sha256", "unpinned", "partial", "quarantine", "unpinned"]),
    ],
)
def test_prune_removes_what_is_asked_for(cache: Cache, samples: Samples, options: list[str], left: list[str]) -> None:
    before = sum(entry.bytes for entry in cache.entries())
    done = run(cache, samples.root, "prune", *options)
    assert done.returncode == 0, done.stderr
    assert kinds(cache) == left
    freed = before if "--dry-run" in options else before - sum(entry.bytes for entry in cache.entries())
    verb = "would remove" if "--dry-run" in options else "removed"
    assert done.stdout.splitlines()[-1] == f"{verb} {freed:,} bytes"
    assert all(line.startswith(verb) for line in done.stdout.splitlines()[:-1])
    assert (cache.folder / "notes.txt").exists() and (cache.folder / "sha256" / "README").exists()
    assert (cache.folder / "quarantine" / "0123456789ab-log.csv.reason.txt").exists() == ("quarantine" in left)


READER = """
import sys
from pathlib import Path
from llm_trace_archive.upstream.sources import Sources
from llm_trace_archive.core.recipe import UpstreamFile
cache, url, sha256, size = sys.argv[1:]
print(Sources(Path(cache)).get(UpstreamFile("demo", "log.csv", url, sha256, int(size))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[tuple[Cache, subprocess.Popen[str], servers.Site]]:
    """A process that fetches a file for a second, and then reads it until its input ends."""
    with servers.site() as site:
        site.scripts["/log.csv"] = servers.slow(BODY, 15_000, 0.05)
        arguments = [str(tmp_path / "cache"), f"{site.url}/log.csv", hashlib.sha256(BODY).hexdigest(), str(len(BODY))]
        process = subprocess.Popen(
            [sys.executable, "-c", READER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Cache(tmp_path / "cache"), process, site
        finally:
            process.kill()
            process.communicate()


def test_files_in_use_by_another_process_stay(
    reader: tuple[Cache, subprocess.Popen[str], servers.Site], tmp_path: Path
) -> None:
    cache, process, site = reader
    deadline = time.monotonic() + 20
    while "partial" not in kinds(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    done = run(cache, tmp_path, "prune", "--all")
    assert kinds(cache) == ["partial"], "it was fetched when prune ran"
    assert done.stdout.startswith("in use  ") and done.stdout.endswith("removed 0 bytes; 1 file in use\n")
    assert process.stdout
    path = Path(process.stdout.readline().strip())
    assert path.read_bytes() == BODY and site.requests["/log.csv"] == 1
    assert "1 file in use" in run(cache, tmp_path, "prune", "--all").stdout
    assert "1 file in use" in run(cache, tmp_path, "prune", "--all", "--dry-run").stdout
    assert path.exists()
    process.kill()
    process.wait()
    assert run(cache, tmp_path, "prune", "--all").stdout.endswith("removed 300,000 bytes\n"), "the dead use nothing"
    assert kinds(cache) == []


def test_use_is_recorded(tmp_path: Path) -> None:
    file = UpstreamFile("demo", "log.csv", "https://example.org/x", hashlib.sha256(BODY).hexdigest(), len(BODY))
    path = put(Cache(tmp_path).content_path(file), BODY)
    os.utime(path, (0, 0))
    Sources(tmp_path, offline=True).get(file)
    (entry,) = Cache(tmp_path).entries()
    assert abs(entry.used - time.time()) < 100


def test_an_unusable_cache(tmp_path: Path) -> None:
    place = put(tmp_path / "cache", b"a file")
    put(tmp_path / "real" / "partial" / ("0" * 64), b"a beginning")
    (tmp_path / "real" / "locks").write_text("not a folder")
    (tmp_path / "loop").symlink_to("loop")
    for unreadable in (place, tmp_path / "loop"):
        for command in ("list", "verify", "prune"):
            done = run(Cache(unreadable), tmp_path, command)
            assert done.returncode == 2 and f"{unreadable}" in done.stderr and "LLM_TRACES_CACHE" in done.stderr
    assert run(Cache(tmp_path / "none"), tmp_path, "list").stdout.endswith("0 files, 0 bytes\n")
    done = run(Cache(tmp_path / "real"), tmp_path, "prune")
    assert done.returncode == 2 and "the cache is not usable" in done.stderr and "LLM_TRACES_CACHE" in done.stderr


def test_pin_ignores_files_of_a_killed_run(samples: Samples, tmp_path: Path) -> None:
    shutil.copytree(samples.root / "recipes", tmp_path / "recipes")
    shutil.copytree(samples.root / "schemas", tmp_path / "schemas")
    archive = Archive(tmp_path)
    with servers.site() as site:
        path = tmp_path / "recipes" / "kavier.toml"
        path.write_text(path.read_text().replace("http://127.0.0.1:9", site.url))
        workload = archive.recipe("kavier").workload("decode")
        (file,) = workload.files
        site.scripts[file.url.removeprefix(site.url)] = servers.plain(BODY)
        sources = Sources(tmp_path / "cache")
        put(Cache(tmp_path / "cache" / "pinning").content_path(dataclasses.replace(file, sha256=None)), b"of yesterday")
        (found,) = renew(archive, [workload], sources, lambda _: None)
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()
    assert sources.get(dataclasses.replace(file, sha256=found.sha256, bytes=len(BODY))).read_bytes() == BODY, "kept"
