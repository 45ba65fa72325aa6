"""Fetching from a real server on loopback, and the message of every failure, compared with `golden/fetch/`."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from llm_trace_archive.core.errors import BadUpstream, BadUse, Problem, Unavailable
from llm_trace_archive.core.recipe import UpstreamFile
from llm_trace_archive.upstream import http, pins
from llm_trace_archive.upstream.download import BLOCK
from llm_trace_archive.upstream.sources import Patience, Sources
from support import servers
from support.golden import GOLDEN, assert_golden
from support.tmpfs import run_on_tmpfs

BODY = random.Random(1).randbytes(1_000_000)
OTHER = random.Random(2).randbytes(1_000_000)
QUICK = Patience(tries=3, first_pause=0.01, longest_pause=0.05, connect=2, read=0.5)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("LLM_TRACES_OFFLINE", raising=False)
    http.unreachable_hosts.clear()
    with servers.site() as found:
        yield found


@pytest.fixture
def sources(tmp_path):
    return Sources(tmp_path / "cache", patience=QUICK)


def pinned(url, body=BODY, name="log.csv", **changes):
    file = UpstreamFile("demo", name, url, hashlib.sha256(body).hexdigest(), len(body))
    return dataclasses.replace(file, **changes)


def partial(sources, body=BODY):
    path = sources.cache / "partial" / hashlib.sha256(body).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What works


def test_fetches_once_and_then_answers_from_the_cache(site, sources):
    site.scripts["/log.csv"] = servers.plain(BODY)
    file = pinned(f"{site.url}/log.csv")
    path = sources.get(file)
    assert path.read_bytes() == BODY
    assert path == sources.cache / "sha256" / file.sha256[:2] / file.sha256
    assert dataclasses.replace(sources, offline=True).get(file) == path
    assert site.requests["/log.csv"] == 1
    _, headers = site.seen[0]
    assert headers["User-Agent"].startswith("llm-trace-archive/") and "+https://" in headers["User-Agent"]
    assert headers["Accept-Encoding"] == "identity"


def test_progress_counts_up_to_the_size(site, sources):
    site.scripts["/log.csv"] = servers.plain(BODY)
    seen = []
    dataclasses.replace(sources, on_progress=lambda *now: seen.append(now)).get(pinned(f"{site.url}/log.csv"))
    assert seen == sorted(seen)
    assert seen[-1] == ("log.csv", len(BODY), len(BODY))


@pytest.mark.parametrize(
    "script",
    [
        servers.cutting(BODY, 300_000),
        servers.cutting(BODY, 300_000, times=1, ranges=False),
        servers.stalling(BODY, 300_000, 0.6),
        servers.failing(500, 2, servers.plain(BODY)),
        servers.failing(503, 2, servers.plain(BODY), Retry_After=formatdate(usegmt=True)),
        servers.failing(429, 2, servers.plain(BODY), Retry_After="nonsense"),
    ],
    ids=["cut at every try", "range ignored", "stalled", "500", "503 until a date", "429"],
)
def test_tries_again(site, sources, script):
    site.scripts["/log.csv"] = script
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY


def test_a_cut_body_is_not_fetched_twice(site, sources):
    site.scripts["/log.csv"] = servers.cutting(BODY, 600_000, times=1)
    sources.get(pinned(f"{site.url}/log.csv"))
    assert site.sent["/log.csv"] < len(BODY) + 2 * BLOCK


@pytest.mark.parametrize(("longest", "pause"), [(60.0, 7.0), (5.0, 5.0)])
def test_retry_after_is_honoured_up_to_a_limit(site, sources, monkeypatch, longest, pause):
    pauses = []
    monkeypatch.setattr("tenacity.sleep_using_event", lambda _: pauses.append)
    site.scripts["/log.csv"] = servers.failing(429, 1, servers.plain(BODY), Retry_After="7")
    patient = dataclasses.replace(sources, patience=dataclasses.replace(QUICK, longest_pause=longest))
    patient.get(pinned(f"{site.url}/log.csv"))
    assert pauses == [pause]


@pytest.mark.parametrize("size", [0, 1, 400_000, len(BODY) - 1, len(BODY), len(BODY) + 1])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_any_partial_file_is_resumed(site, sources, size, known):
    site.scripts["/log.csv"] = servers.plain(BODY)
    partial(sources).write_bytes((BODY + b"x")[:size])
    file = pinned(f"{site.url}/log.csv", **({} if known else {"bytes": None}))
    assert sources.get(file).read_bytes() == BODY
    assert site.sent["/log.csv"] == (len(BODY) - size if size <= len(BODY) else len(BODY))
    assert not partial(sources).exists()


def test_a_wrong_beginning_is_replaced(site, sources):
    site.scripts["/log.csv"] = servers.plain(BODY)
    partial(sources).write_bytes(OTHER[:400_000])
    assert sources.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY
    assert site.requests["/log.csv"] == 2
    assert not (sources.cache / "quarantine").exists()


def test_a_wrong_range_is_discarded(site, sources):
    site.scripts["/log.csv"] = servers.wrong_range(BODY)
    partial(sources).write_bytes(BODY[:400_000])
    have = []
    watched = dataclasses.replace(sources, on_progress=lambda _, now, __: have.append(now))
    assert watched.get(pinned(f"{site.url}/log.csv")).read_bytes() == BODY
    assert have[0] <= BLOCK, "the wrong range was written"


def test_corrupt_content_is_quarantined_and_fetched_again(site, sources):
    site.scripts["/log.csv"] = servers.plain(BODY)
    file = pinned(f"{site.url}/log.csv")
    sources.get(file).write_bytes(OTHER)
    assert sources.get(file).read_bytes() == BODY
    aside, reason = sorted((sources.cache / "quarantine").iterdir())
    assert aside.name == f"{hashlib.sha256(OTHER).hexdigest()[:12]}-log.csv" and aside.read_bytes() == OTHER
    assert "same size, other content" in reason.read_text(encoding="utf-8")


def test_follows_redirects_on_this_machine(site, sources):
    site.scripts["/a"] = servers.redirecting("/b")
    site.scripts["/b"] = servers.redirecting(f"{site.url}/log.csv?signature=1")
    site.scripts["/log.csv"] = servers.plain(BODY)
    assert sources.get(pinned(f"{site.url}/a")).read_bytes() == BODY


def test_an_unpinned_file_is_accepted_only_if_asked_for(site, sources):
    site.scripts["/log.csv"] = servers.cutting(BODY, 300_000, times=1)
    file = pinned(f"{site.url}/log.csv", sha256=None, bytes=None)
    with pytest.raises(BadUpstream) as caught:
        sources.get(file)
    assert_golden("fetch/unpinned", str(caught.value))
    assert not site.requests
    path = dataclasses.replace(sources, accept_unpinned=True).get(file)
    assert path.read_bytes() == BODY and path.parent == sources.cache / "unpinned"
    assert not any("Range" in headers for _, headers in site.seen), "without a pin, nothing would reveal a wrong join"


# Mirrors


def mirror_with(tmp_path, body):
    path = tmp_path / "mirror" / "demo" / "log.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(body)
    return path


def test_a_mirrored_file_is_used_in_place(site, sources, tmp_path):
    path = mirror_with(tmp_path, BODY)
    offline = dataclasses.replace(sources, mirror=str(tmp_path / "mirror"), offline=True)
    assert offline.get(pinned(f"{site.url}/log.csv")) == path
    assert not sources.cache.exists()


def test_a_wrong_mirrored_file_is_left_alone(site, sources, tmp_path):
    path = mirror_with(tmp_path, servers.LFS_POINTER)
    mirrored = dataclasses.replace(sources, mirror=str(tmp_path / "mirror"))
    file = pinned(f"{site.url}/log.csv")
    with pytest.raises(Unavailable) as caught:
        mirrored.get(file)
    assert_golden("fetch/mirror-wrong", str(caught.value), mirror=tmp_path / "mirror")
    site.scripts["/log.csv"] = servers.plain(servers.HTML)
    with pytest.raises(BadUpstream) as both:
        mirrored.get(file)
    assert_golden("fetch/mirror-and-url-wrong", str(both.value), cache=sources.cache, mirror=tmp_path / "mirror")
    site.scripts["/log.csv"] = servers.plain(BODY)
    assert mirrored.get(file).read_bytes() == BODY
    assert path.read_bytes() == servers.LFS_POINTER and files(tmp_path / "mirror") == ["demo/log.csv"]


def test_a_mirror_may_be_a_url(site, sources):
    site.scripts["/mirror/demo/log%201.csv"] = servers.plain(BODY)
    mirrored = dataclasses.replace(sources, mirror=f"{site.url}/mirror/")
    file = pinned(f"{site.url}/absent", name="log 1.csv")
    assert mirrored.get(file) == sources.get(file)
    assert site.requests == {"/mirror/demo/log%201.csv": 1}


# What fails, and the messages


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("lfs-pointer", servers.plain(servers.LFS_POINTER)),
        ("html", servers.plain(servers.HTML)),
        ("empty", servers.plain(b"")),
        ("gzip", servers.plain(gzip.compress(BODY[:1000], mtime=0))),
        ("truncated", servers.wrong_length(BODY, 999_000)),
        ("too-long", servers.plain(BODY + b"more")),
        ("much-too-long", servers.plain(BODY * 3)),
        ("other-content", servers.plain(OTHER)),
        ("endless", servers.endless()),
        ("cut", servers.cutting(BODY, 40_000, ranges=False)),
        ("length-too-large", servers.wrong_length(BODY[:40_000], 2_000_000)),
        ("rate-limit", servers.failing(429, 99, servers.plain(BODY))),
        ("not-found", servers.failing(404, 99, servers.plain(BODY))),
        ("redirect-loop", servers.redirecting("/log.csv")),
        ("redirect-to-file", servers.redirecting("file:///etc/passwd")),
        ("redirect-to-http", servers.redirecting("http://user:secret@example.org/x?token=secret")),
        ("redirect-malformed", servers.redirecting("http://[")),
        ("redirect-to-malformed-host", servers.redirecting("https://" + "a" * 300 + ".example/")),
        ("redirect-with-escapes", servers.redirecting("ftp://x/\x1b[2J\x9b1m\x07" + "y" * 500)),
        ("reason-with-escapes", servers.raw(b"HTTP/1.1 404 \x1b]0;mine\x07\x1b[2J Gone\r\nContent-Length: 0\r\n\r\n")),
        ("two-lengths", servers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345")),
    ],
)
def test_bad_servers(site, sources, name, script):
    site.scripts["/log.csv"] = script
    file = pinned(f"{site.url.replace('//', '//user:secret@')}/log.csv?token=secret")
    with pytest.raises((BadUpstream, Unavailable)) as caught:
        sources.get(file)
    assert_golden(f"fetch/{name}", str(caught.value), cache=sources.cache)
    assert "secret" not in str(caught.value)
    assert all(each.isprintable() for each in str(caught.value).splitlines())
    assert not (sources.cache / "sha256").exists()
    assert sum(path.stat().st_size for path in sources.cache.rglob("*")) < 2 * len(BODY) + 2 * BLOCK
    if name in ("much-too-long", "not-found", "two-lengths") or name.startswith("redirect-to"):
        assert site.requests["/log.csv"] == 1, "not worth another try"


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "https://[x", "x"])
def test_urls_that_are_not_https_are_refused(sources, url):
    with pytest.raises(Unavailable, match=r"not https|malformed URL"):
        sources.get(pinned(url))


def test_https_does_not_lead_to_http():
    with pytest.raises(http.Failure, match="not https"):
        http.require_https("http://127.0.0.1/x", "https://example.org/x")
    http.require_https("https://example.org/x", "http://127.0.0.1/x")


@pytest.fixture
def no_names(monkeypatch):
    """A machine on which no name resolves, and without a proxy."""

    def unresolved(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    http.unreachable_hosts.clear()
    monkeypatch.delenv("LLM_TRACES_OFFLINE", raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_names")
def test_a_dead_host_costs_little(sources):
    patient = dataclasses.replace(sources, patience=Patience())
    began = time.monotonic()
    for number in range(20):
        with pytest.raises(Unavailable) as caught:
            patient.get(pinned(f"https://data.example.org/{number}", body=b"%d" % number))
    assert time.monotonic() - began < 2
    assert_golden("fetch/dead-host", str(caught.value))


@pytest.mark.usefixtures("site")
def test_a_refused_connection(sources):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="connection refused"):
            sources.get(pinned(f"http://127.0.0.1:{unused.getsockname()[1]}/x"))


@pytest.mark.parametrize("by_environment", [True, False])
def test_offline_tries_no_url(site, sources, tmp_path, monkeypatch, by_environment):
    monkeypatch.setenv("LLM_TRACES_OFFLINE", "1" if by_environment else "0")
    offline = dataclasses.replace(sources, mirror=str(tmp_path / "mirror"), offline=not by_environment)
    with pytest.raises(Unavailable) as caught:
        offline.get(pinned(f"{site.url}/log.csv"))
    assert_golden("fetch/offline", str(caught.value), mirror=tmp_path / "mirror")
    assert not site.requests


def test_a_gated_file_of_the_hub(sources, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    file = pinned("hf://datasets/owner/chats@0123456789abcdef0123456789abcdef01234567/data/a.parquet", name="a.parquet")
    with pytest.raises(Unavailable) as caught:
        dataclasses.replace(sources, offline=True).get(file)
    assert_golden("fetch/hub-offline", str(caught.value))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_args, **_options: str(here))
    (here := tmp_path / "blob").write_bytes(BODY)
    assert sources.get(file) == here
    here.write_bytes(OTHER)
    with pytest.raises(BadUpstream):
        sources.get(file)
    assert here.exists(), "the Hub's cache is not ours"


@pytest.mark.usefixtures("no_names")
def test_an_unreachable_hub(sources, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="the Hub is unreachable"):
        sources.get(pinned("hf://datasets/owner/chats@main/a.parquet"))
    assert time.monotonic() - began < 2


@pytest.mark.usefixtures("no_names")
def test_a_hub_without_a_token(sources, monkeypatch):
    from huggingface_hub import errors

    def gated(*_args, **_options):
        raise errors.LocalTokenNotFoundError("token needed")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gated)
    with pytest.raises(Unavailable) as caught:
        sources.get(pinned("hf://datasets/owner/chats@main/a.parquet"))
    assert_golden("fetch/hub-gated", str(caught.value))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", "the Hub shows no such repository without a token"),
        ("LocalEntryNotFoundError", "the Hub is unreachable, and the Hub's own cache does not have it"),
        ("OfflineModeIsEnabled", r"the Hub refused it \(OfflineModeIsEnabled\)"),
    ],
)
def test_errors_of_the_hub(sources, monkeypatch, error, message):
    from huggingface_hub import errors

    def fail(*_args, **_options):
        kind = getattr(errors, error)
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("llm_trace_archive.upstream.hub._is_reachable", lambda _: True)
    with pytest.raises(Unavailable, match=message):
        sources.get(pinned("hf://datasets/owner/chats@main/a.parquet"))
    http.unreachable_hosts.clear()


def test_a_pin_needs_no_size(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(BODY)
    assert pins.compare(pinned("", bytes=None), path) is None
    path.write_bytes(OTHER)
    problem = pins.compare(pinned("", bytes=None), path)
    assert problem and list(problem.details) == ["expected", "got"]


# Several at once, stopped, killed


def test_threads_fetch_once(site, sources):
    site.scripts["/log.csv"] = servers.slow(BODY, 250_000, 0.05)
    file = pinned(f"{site.url}/log.csv")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: sources.get(file), range(8)))) == 1
    assert site.requests["/log.csv"] == 1


def test_a_stopped_download_is_resumed(site, sources):
    site.scripts["/log.csv"] = servers.slow(BODY, 100_000, 0.05)
    stop = threading.Event()
    stopping = dataclasses.replace(sources, stop=stop, on_progress=lambda _, have, __: have > 200_000 and stop.set())
    file = pinned(f"{site.url}/log.csv")
    with pytest.raises(KeyboardInterrupt):
        stopping.get(file)
    assert 200_000 < partial(sources).stat().st_size < len(BODY)
    assert sources.get(file).read_bytes() == BODY


FETCH = """
import sys
from pathlib import Path
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.upstream.sources import Sources
from llm_trace_archive.core.recipe import UpstreamFile
cache, url, sha256, size = sys.argv[1:]
try:
    print(Sources(Path(cache)).get(UpstreamFile("demo", "log.csv", url, sha256, int(size))))
except Problem as problem:
    print(problem)
    sys.exit(problem.exit_code)
"""


def command(cache, file):
    return [sys.executable, "-c", FETCH, str(cache), file.url, file.sha256, str(file.bytes)]


def test_a_killed_download_is_resumed(site, sources):
    site.scripts["/log.csv"] = servers.slow(BODY, 50_000, 0.05)
    file = pinned(f"{site.url}/log.csv")
    process = subprocess.Popen(command(sources.cache, file), start_new_session=True)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (partial(sources).exists() and partial(sources).stat().st_size > 300_000):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    have = partial(sources).stat().st_size
    site.scripts["/log.csv"] = servers.plain(BODY)
    assert 0 < have < len(BODY)
    assert sources.get(file).read_bytes() == BODY
    assert [headers.get("Range") for _, headers in site.seen] == [None, f"bytes={have}-"]


def test_processes_fetch_once(site, sources):
    site.scripts["/log.csv"] = servers.slow(BODY, 100_000, 0.05)
    file = pinned(f"{site.url}/log.csv")
    both = [subprocess.Popen(command(sources.cache, file), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(paths) == 1 and Path(paths.pop()).read_bytes() == BODY
    assert site.requests["/log.csv"] == 1


# Disks


def fetch_on_tmpfs(tmp_path, file, before="true"):
    """Run a shell command and then a fetch, with a small tmpfs as the cache. Returns exit code and output."""
    cache = tmp_path / "cache"
    cache.mkdir()
    done = run_on_tmpfs(cache, "500k", "sh", "-c", f'{before} && exec "$0" "$@"', *command(cache, file))
    assert not done.stderr
    return done.returncode, done.stdout.strip()


def test_a_full_disk(site, tmp_path):
    site.scripts["/log.csv"] = servers.plain(BODY)
    code, text = fetch_on_tmpfs(tmp_path, pinned(f"{site.url}/log.csv"))
    assert code == 2
    kept, room = re.search(r"(\d+) of 1000000 bytes; .* free (\d+) bytes", text, re.DOTALL).groups()
    assert int(kept) > 400_000 and int(kept) + int(room) == len(BODY)
    assert_golden("fetch/full-disk", text.replace(kept, "<kept>").replace(room, "<room>"), cache=tmp_path / "cache")


def test_a_read_only_folder(site, tmp_path):
    site.scripts["/log.csv"] = servers.plain(BODY)
    code, text = fetch_on_tmpfs(tmp_path, pinned(f"{site.url}/log.csv"), "mount -o remount,ro .")
    assert code == 2
    assert_golden("fetch/read-only", text, cache=tmp_path / "cache")


def test_a_read_only_cache_that_has_the_file_serves_it(tmp_path):
    file = pinned("https://example.org/x", body=b"here")
    place = f"sha256/{file.sha256[:2]}"
    before = f"mkdir -p {place} && printf here > {place}/{file.sha256} && mount -o remount,ro ."
    code, text = fetch_on_tmpfs(tmp_path, file, before)
    assert (code, Path(text).name) == (0, file.sha256)


@pytest.mark.parametrize("has_mirror", [True, False])
@pytest.mark.parametrize("make", [lambda path: path.write_text("a file"), lambda path: path.symlink_to(path.name)])
def test_an_unreadable_cache_is_an_error(site, sources, tmp_path, make, has_mirror):
    make(sources.cache)
    mirror_with(tmp_path, BODY)
    sources = dataclasses.replace(sources, mirror=str(tmp_path / "mirror") if has_mirror else None)
    with pytest.raises(BadUse, match=r"the cache is not usable(.|\n)*set LLM_TRACES_CACHE to another folder") as caught:
        sources.get(pinned(f"{site.url}/log.csv"))
    assert caught.value.exit_code == 2 and str(sources.cache) in caught.value.subject
    assert not site.requests


def test_an_unwritable_cache_is_not_needed_for_a_mirror(sources, tmp_path):
    path = mirror_with(tmp_path, BODY)
    unwritable = dataclasses.replace(sources, mirror=str(tmp_path / "mirror"), cache=Path("/proc/cache"))
    assert unwritable.get(pinned("https://example.org/x")) == path
    with pytest.raises(BadUse, match=r"the cache cannot keep log\.csv") as caught:
        dataclasses.replace(unwritable, mirror=None).get(pinned("http://127.0.0.1:9/x"))
    assert caught.value.details["folder"] == "/proc/cache"


def test_a_folder_whose_name_is_not_utf8(sources, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for change in {"cache": folder}, {"mirror": str(folder)}:
        with pytest.raises(BadUse, match=r"caf\\udce9: is not UTF-8"):
            dataclasses.replace(sources, **change)


def test_the_advice_for_a_file_pinned_by_git_names_the_recipe(site, sources):
    site.scripts["/log.csv"] = servers.plain(OTHER)
    with pytest.raises(BadUpstream) as caught:
        sources.get(pinned(f"{site.url}/log.csv", sha256=None, git_blob="0" * 40))
    assert "recipes/demo.toml" in caught.value.details["next"]


def test_a_huge_file_of_another_size_is_not_hashed(sources, tmp_path):
    with mirror_with(tmp_path, b"").open("wb") as file:
        file.truncate(1 << 36)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=f"wrong bytes: {1 << 36} bytes  ") as caught:
        dataclasses.replace(sources, mirror=str(tmp_path / "mirror"), offline=True).get(pinned("https://example.org/x"))
    assert time.monotonic() - began < 5 and len(caught.value.wrong_copies) == 1


def test_importing_is_cheap():
    heavy = "{'requests', 'tenacity', 'filelock', 'huggingface_hub', 'urllib3'}"
    code = f"import sys, llm_trace_archive.upstream.sources; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_golden_file_is_compared():
    source = Path(__file__).read_text(encoding="utf-8")
    assert {path.stem for path in (GOLDEN / "fetch").glob("*.txt") if f'{path.stem}"' not in source} == set()


def test_problems_survive_another_process(sources):
    import pickle

    with pytest.raises(Problem) as caught:
        sources.get(pinned("x"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
