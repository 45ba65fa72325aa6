"""Releases to Zenodo when the server, the network, the process or the user fails."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.record import Release
from llm_trace_archive.release.zenodo import release as zenodo
from llm_trace_archive.release.zenodo.answers import (
    list_errors,
    read_entry,
    read_files,
    read_name,
    read_names,
    read_page,
    read_record,
)
from llm_trace_archive.release.zenodo.invenio import Invenio
from llm_trace_archive.release.zenodo.metadata import describe_record
from llm_trace_archive.upstream.http import Failure, Patience
from support.bundles import cited, summed, tiny_bundle
from support.chance import FACTOR, seeds
from support.command import run_here
from support.fake_invenio import Fake, Fault, Record, fake_invenio
from support.golden import assert_golden
from support.servers import redirecting, site

QUICK = Patience(tries=4, first_pause=0.001, longest_pause=0.01, connect=2, read=2)
TOKEN = "token-1"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    with fake_invenio() as fake:
        monkeypatch.setattr(zenodo, "LAG", 0.0)
        monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("LLM_TRACES_ZENODO_URL", fake.url)
        monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
        monkeypatch.setenv("ZENODO_SANDBOX_TOKEN", TOKEN)
        yield fake
        assert fake.broken == []


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Two bundles of one archive: from one to the next a table stays, one changes, one goes and one is new."""
    home = tmp_path_factory.mktemp("bundles")
    return {
        "1.0.0": tiny_bundle(home / "1", "1.0.0", few=3, many=50_000, gone=9),
        "1.1.0": tiny_bundle(home / "2", "1.1.0", few=4, many=50_000, added=7),
    }


def release(bundle: Bundle, said: list[str] | None = None, **options: Any) -> Release:
    say = said.append if said is not None else lambda line: None
    return zenodo.release(bundle, zenodo.make_client(say=say, patience=QUICK), **({"publish": True} | options))


def is_exactly(record: Record, bundle: Bundle) -> bool:
    here = {each.path: (bundle.root / each.path).read_bytes() for each in bundle.files}
    there = {path: file.content for path, file in record.files.items() if file.is_complete}
    return here == there and len(there) == len(record.files) and record.metadata["version"] == bundle.version


def assert_released(fake: Fake, bundles: list[Bundle]) -> None:
    """Each bundle is published once, as a version of one concept, and there are no drafts."""
    published = sorted(fake.published, key=lambda each: each.index)
    assert [each.metadata["version"] for each in published] == [each.version for each in bundles]
    assert all(map(is_exactly, published, bundles))
    assert len({each.parent for each in published}) == 1
    assert fake.drafts == []


def at(number: int, fault: Fault, since: int = 0) -> Callable[[str, str, int], Fault | None]:
    return lambda method, path, n: fault if n - since == number else None


# Every request fails once, in every way; by default, in one way.

FAULTS = {
    "502 and not done": Fault(502),
    "502 but done": Fault(502, applies=True),
    "cut and not done": Fault("drop"),
    "cut but done": Fault("drop", applies=True),
    "no JSON but done": Fault("html", applies=True),
    "too many": Fault(429),
    "body cut": Fault("truncate"),
}


@pytest.mark.faults
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_any_request_may_fail(fake: Fake, versions: dict[str, Bundle], version: str, fault: Fault) -> None:
    before = [each for each in versions.values() if each.version < version]
    bundles = [*before, versions[version]]
    for each in before:
        release(each)
    start = copy.deepcopy(fake.records)
    every = list(FAULTS.values())
    for number in itertools.count(1) if FACTOR > 1 else itertools.count(1 + every.index(fault), len(every)):
        fake.records = copy.deepcopy(start)
        fake.fault = at(number, fault, len(fake.asked))
        said: list[str] = []
        assert release(versions[version], said).published
        assert_released(fake, bundles)
        if not any("again in" in line for line in said):  # the release ended before this request
            break
    assert number > 30


@pytest.mark.parametrize("path", ["/records", "/content", "/commit", "/publish", "/versions"])
@pytest.mark.parametrize("applies", [False, True])
def test_a_stall_ends_and_the_run_goes_on(fake: Fake, versions: dict[str, Bundle], path: str, applies: bool) -> None:
    release(versions["1.0.0"])
    first = [versions["1.0.0"]] if path == "/versions" else []
    if not first:
        fake.records.clear()
    hit = threading.Event()

    def once(method: str, asked: str, number: int) -> Fault | None:
        if hit.is_set() or method == "GET" or not asked.endswith(path):
            return None
        hit.set()
        return Fault("stall", applies)

    fake.fault = once
    impatient = zenodo.make_client(patience=replace(QUICK, read=0.3))
    assert zenodo.release(versions["1.1.0"], impatient, publish=True).published
    assert hit.is_set()
    assert_released(fake, [*first, versions["1.1.0"]])


# The server answers something else.

SHAPES = (
    "null", "[]", "{}", "1", '"x"', '{"id": 1}', '{"id": "1", "metadata": {}}', '{"hits": {"hits": [{}], "total": 1}}',
    '{"hits": {"hits": [], "total": null}}', '{"entries": [{}]}', '{"entries": {"a": 1}}', '{"errors": 7}',
    '{"errors": [null, {"messages": 3}]}', '{"status": "completed", "size": "1"}', '{"id": "../x", "parent": []}',
)  # fmt: skip


@pytest.mark.faults
def test_an_answer_of_another_shape_is_a_message(fake: Fake, versions: dict[str, Bundle]) -> None:
    """Whatever it is, and to whichever request: no traceback, and nothing but the bundle is published."""
    release(versions["1.0.0"])
    start = copy.deepcopy(fake.records)
    failed: list[str] = []
    shapes = itertools.cycle(SHAPES)
    for number in itertools.count(1):
        for _ in range(len(SHAPES) if FACTOR > 1 else 1):
            fake.records = copy.deepcopy(start)
            since = len(fake.asked)
            fake.fault = at(number, Fault("json", message=next(shapes)), since)
            try:
                release(versions["1.1.0"])
            except Problem as problem:
                failed.append(problem.details.get("reason", str(problem)))
            fake.fault = lambda method, path, number: None
        if len(fake.asked) - since < number:  # the release ended before this request
            break
        assert len(fake.published) <= 2
    assert number > 20
    assert sum("the answer is not" in each for each in failed) > 10
    release(versions["1.1.0"])
    assert_released(fake, list(versions.values()))


def test_the_message_names_the_request_and_what_the_answer_lacks(fake: Fake, versions: dict[str, Bundle]) -> None:
    messages = []
    for path, shape in (
        ("/records", "{}"),
        ("/user/records", "[]"),
        ("/vocabularies/licenses/cc-by-4.0", "null"),
        ("/records/2/draft/files", '{"entries": [{}]}'),
    ):
        fake.fault = lambda method, asked, number, path=path, shape=shape: (
            Fault("json", message=shape) if asked == path else None
        )
        messages.append(str(problem(lambda: release(versions["1.0.0"]))))
    assert_golden("zenodo/other-answers", "\n".join(messages), server=fake.url)


KEYS = ("id", "parent", "metadata", "is_published", "pids", "doi", "identifier", "hits", "total", "entries", "key",
        "status", "size", "checksum", "errors", "messages", "field", "version", "related_identifiers")  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "1", "completed", "10.5281/zenodo.1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@given(JSON)
def test_readers_of_answers_return_or_fail(answer: object) -> None:
    for read in (read_record, read_page, read_names, read_files, read_entry, read_name):
        with contextlib.suppress(Failure):
            read(answer)
    assert all(isinstance(text, str) for pair in list_errors(answer) for text in pair)
    with contextlib.suppress(Failure):
        record = read_record(answer)
        assert isinstance(record.version + record.title + record.doi + record.concept_doi, str)
        assert not {each for each in record.related | record.notes if not isinstance(each, str)}


# The process is killed.

CLI = """
import functools
from llm_trace_archive.cli.main import main
from llm_trace_archive.upstream.http import Failure, Patience
from llm_trace_archive.release.zenodo import release as zenodo
zenodo.LAG = 0.0
patience = Patience(tries=4, first_pause=0.001, longest_pause=0.01, connect=2, read=2)
zenodo.make_client = functools.partial(zenodo.make_client, patience=patience)
main()
"""


@pytest.mark.faults
def test_kills_and_errors_at_random(fake: Fake, versions: dict[str, Bundle]) -> None:
    """In each round the real command is killed once, then run once more."""
    killed = 0
    rounds = seeds(4)
    for seed in rounds:
        draw = random.Random(seed)
        fake.records.clear()
        fake.fault = lambda method, path, number: None
        bundles = list(versions.values())[: draw.choice((1, 2))]
        for each in bundles[:-1]:
            release(each)
        killed += kill_one(fake, bundles[-1], draw) == -9
        fake.fault = lambda method, path, number: None
        release(bundles[-1])
        assert_released(fake, bundles), f"seed {seed}"
    assert killed > len(rounds) / 2
    print(f"{killed} of {len(rounds)} runs were killed before their end")


def kill_one(fake: Fake, bundle: Bundle, draw: random.Random) -> int:
    """Run the command with random server errors, kill it at a random request or time, and return its exit code."""
    since, number = len(fake.asked), draw.randrange(1, 48)
    by_time = draw.random() < 0.25
    how = draw.choice((Fault("kill"), Fault("kill", applies=True), Fault("truncate")))

    def fault(method: str, path: str, n: int) -> Fault | None:
        if not by_time and n - since == number:
            if how.how == "truncate":
                threading.Timer(0.005, fake.kill).start()
            return how
        if draw.random() < 0.08:
            return draw.choice(list(FAULTS.values()))
        return None

    fake.fault = fault
    command = [sys.executable, "-c", CLI, "release", "zenodo", str(bundle.root), "--sandbox", "--publish"]
    process = subprocess.Popen(command, cwd=bundle.root.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fake.kill = process.kill
    if by_time:
        while len(fake.asked) == since and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.3)
        process.kill()
    code = process.wait(timeout=60)
    with fake.lock:  # the server has ended what it was doing
        fake.kill = lambda: None
    return code


def test_a_draft_the_search_does_not_show_yet_is_waited_for(
    fake: Fake, versions: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zenodo, "LAG", 0.3)
    fake.lag = 0.2
    first = release(versions["1.0.0"], publish=False)
    assert release(versions["1.0.0"]).place == first.place
    assert_released(fake, [versions["1.0.0"]])


def test_a_draft_the_search_shows_late_is_deleted_before_publishing(fake: Fake, versions: dict[str, Bundle]) -> None:
    first = release(versions["1.0.0"], publish=False)
    shown = fake.records[first.place].born
    fake.records[first.place].born = time.monotonic() + 1e6  # the search does not find it
    said: list[str] = []

    def show(method: str, path: str, number: int) -> None:
        if path.endswith("/commit"):
            fake.records[first.place].born = shown

    fake.fault = show
    assert release(versions["1.0.0"], said).place != first.place
    assert f"{fake.url}/uploads/{first.place}: deleted, a leftover draft" in said
    assert_released(fake, [versions["1.0.0"]])


def test_a_version_published_by_another_run_is_not_published_again(fake: Fake, versions: dict[str, Bundle]) -> None:
    first = release(versions["1.0.0"])
    shown = fake.records[first.place].born
    fake.records[first.place].born = time.monotonic() + 1e6

    def show(method: str, path: str, number: int) -> None:
        if path.endswith("/commit"):
            fake.records[first.place].born = shown

    fake.fault = show
    with pytest.raises(Problem, match="in another record"):
        release(versions["1.0.0"])
    assert [each.id for each in fake.published] == [first.place]


def test_a_killed_run_publishes_late(fake: Fake, versions: dict[str, Bundle]) -> None:
    first = release(versions["1.0.0"], publish=False)

    def late(method: str, path: str, number: int) -> None:
        if path == f"/records/{first.place}/draft":
            fake.records[first.place].is_published = True

    fake.fault = late
    said: list[str] = []
    assert release(versions["1.0.0"], said).place == first.place
    assert any("looking again from the start" in line for line in said)
    assert_released(fake, [versions["1.0.0"]])


# The token.


def test_the_token_is_sent_in_one_header_and_nowhere_else(
    fake: Fake, versions: dict[str, Bundle], capfd: pytest.CaptureFixture[str]
) -> None:
    Path.home().joinpath(".netrc").write_text("machine 127.0.0.1 login a password from-netrc\n")
    fake.fault = at(5, Fault(502))
    said: list[str] = []
    try:
        done = release(versions["1.0.0"], said)
    finally:
        Path.home().joinpath(".netrc").unlink()
    for heads, (_, path) in zip(fake.heads, fake.asked, strict=True):
        assert heads.pop("Authorization") == f"Bearer {TOKEN}"
        assert TOKEN not in str(heads) + path
        assert "Cookie" not in heads
    assert TOKEN not in f"{said}{done}{capfd.readouterr()}"


def test_the_token_is_not_sent_to_another_host(
    fake: Fake, versions: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    with site() as first, site() as second:
        first.scripts["/api/vocabularies/licenses/mit"] = redirecting(f"{second.url}/elsewhere")
        monkeypatch.setenv("LLM_TRACES_ZENODO_URL", first.url)
        with pytest.raises(BadUse, match="the request failed") as caught:
            release(versions["1.0.0"])
        assert "where the token must not go" in caught.value.details["reason"]
        assert second.seen == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500])
def test_a_token_that_the_server_repeats_is_masked(
    fake: Fake, versions: dict[str, Bundle], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "Zq7" * 20
    fake.tokens[token] = "1"
    monkeypatch.setenv("ZENODO_TOKEN", token)
    for said in (f"Bearer {token} is not welcome", f"{'x' * 290}{token}"):
        fake.fault = lambda method, path, number, said=said: Fault(status, message=said) if method == "PUT" else None
        lines: list[str] = []
        assert "Zq7" not in f"{problem(lambda: release(versions['1.0.0'], lines))} {lines}"  # noqa: B023


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "ftp://127.0.0.1",
        "http://127.0.0.1.example.org",
        "https://me:secret@example.org",
        "zenodo",
    ],
)
def test_an_unsafe_url_for_the_token_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LLM_TRACES_ZENODO_URL", url)
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    with pytest.raises(BadUse, match=r"not https|refused") as caught:
        zenodo.make_client()
    assert "secret" not in str(caught.value)


def test_a_token_of_two_lines_is_refused(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENODO_TOKEN", "ab\ncd")
    with pytest.raises(BadUse, match="is not a valid token") as caught:
        zenodo.make_client()
    assert "cd" not in str(caught.value)


def test_the_sandbox_has_its_own_token_and_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_TRACES_ZENODO_URL", raising=False)
    monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
    monkeypatch.delenv("ZENODO_SANDBOX_TOKEN", raising=False)
    assert zenodo.make_client().url == "https://zenodo.org"
    with pytest.raises(BadUse, match=r"sandbox\.zenodo\.org: no token is set") as caught:
        zenodo.make_client(sandbox=True)
    assert "ZENODO_SANDBOX_TOKEN" in caught.value.details["expected"]
    assert zenodo.make_client(sandbox=True, anonymous=True).url == "https://sandbox.zenodo.org"


# Messages.


def run(bundle: Bundle, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_here("release", "zenodo", bundle.root, "--sandbox", *options, cwd=bundle.root, **environment)


def test_the_command(fake: Fake, versions: dict[str, Bundle]) -> None:
    bundle = versions["1.0.0"]
    release(bundle, publish=False)
    ran = run(bundle, "--publish")
    assert ran.returncode == 0, ran.stderr
    assert_golden("zenodo/published", ran.stdout, server=fake.url)
    (bundle.root / "extra").write_text("x")
    found = run(bundle)
    (bundle.root / "extra").unlink()
    assert found.returncode == 1
    assert "extra: not in SHA256SUMS" in found.stderr
    assert len(fake.published) == 1

    wrong = run(bundle, ZENODO_SANDBOX_TOKEN="wrong")
    assert wrong.returncode == 2
    assert_golden("zenodo/wrong-token", wrong.stderr, server=fake.url)
    none = run(bundle, ZENODO_SANDBOX_TOKEN="")
    assert none.returncode == 2
    assert_golden("zenodo/no-token", none.stderr, server=fake.url)


def problem(call: Callable[[], Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        call()
    return caught.value


def test_a_server_that_keeps_failing_is_reported(fake: Fake, versions: dict[str, Bundle]) -> None:
    fake.fault = lambda method, path, number: Fault(503) if path.endswith("/content") else None
    found = problem(lambda: release(versions["1.0.0"]))
    assert found.exit_code == 2
    assert_golden("zenodo/server-keeps-failing", str(found), server=fake.url)
    fake.fault = lambda method, path, number: Fault(429)
    assert_golden("zenodo/too-many-requests", str(problem(lambda: release(versions["1.0.0"]))), server=fake.url)


def test_an_unreachable_server_is_reported(
    fake: Fake, versions: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TRACES_ZENODO_URL", "http://127.0.0.1:9")
    assert_golden("zenodo/no-server", str(problem(lambda: release(versions["1.0.0"]))))


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("quota", 400, "Bucket quota exceeded."),
        ("too-many-files", 400, "Uploading selected files will result in exceeding the max amount per record."),
        ("file-too-large", 413, "Request Entity Too Large"),
        ("refused", 409, "Something new."),
    ],
)
def test_a_refusal_is_reported(fake: Fake, versions: dict[str, Bundle], name: str, status: int, message: str) -> None:
    fault = Fault(status, message=message)
    fake.fault = lambda method, path, number: fault if path.endswith("/files") and method == "POST" else None
    assert_golden(f"zenodo/{name}", str(problem(lambda: release(versions["1.0.0"]))), server=fake.url)


def test_only_one_run_at_a_time(fake: Fake, versions: dict[str, Bundle], tmp_path: Path) -> None:
    release(versions["1.0.0"], publish=False)
    (lock,) = (tmp_path / "cache" / "locks").glob("zenodo-*.lock")
    with filelock.FileLock(lock):
        found = problem(lambda: release(versions["1.0.0"]))
    assert_golden("zenodo/two-runs", str(found), server=fake.url)
    assert fake.published == []


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x7fb"])
def test_file_names_that_zenodo_does_not_accept_are_refused(fake: Fake, tmp_path: Path, name: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    odd = Bundle(bundle.root, (*bundle.files, type(bundle.files[0])(name, 1, "0" * 64)))
    with pytest.raises(BadUse, match="file names that Zenodo does not accept"):
        release(odd)
    assert fake.asked == []


# The metadata.


def describe(bundle: Bundle, *licences: str) -> dict[str, Any]:
    return describe_record(bundle.root, bundle.citation, bundle.package, {}, lambda name: name in licences)


def test_metadata_of_unusual_authors_and_licences(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    authors = [
        {"family-names": "Berg", "name-particle": "van den", "given-names": "A.", "affiliation": "Vrije Universiteit"},
        {"name": "Group", "orcid": "0000-0002-1825-0097"},
        {"family-names": "Mononym"},
    ]
    bundle = cited(bundle, authors=authors, abstract="a < b & c", license="MIT")
    bundle.package["resources"][0] |= {
        "licenses": [{"name": "MIT AND LicenseRef-X", "path": "https://example.org/x"}],
        "sources": [{"path": "hf://datasets/a/b@c/d"}],
        "citation": "<script>",
    }
    about = describe(bundle, "mit", "cc-by-4.0")
    assert about["creators"] == [
        {
            "person_or_org": {"type": "personal", "family_name": "van den Berg", "given_name": "A."},
            "affiliations": [{"name": "Vrije Universiteit"}],
        },
        {
            "person_or_org": {
                "type": "organizational",
                "name": "Group",
                "identifiers": [{"scheme": "orcid", "identifier": "0000-0002-1825-0097"}],
            }
        },
        {"person_or_org": {"type": "personal", "family_name": "Mononym"}},
    ]
    assert about["rights"] == [
        {"id": "cc-by-4.0"},
        {"id": "mit"},
        {"title": {"en": "LicenseRef-X"}, "link": "https://example.org/x"},
    ]
    assert about["description"].startswith("<p>a &lt; b &amp; c</p>\n<p>It holds")
    assert "<script>" not in about["description"]
    assert [each["identifier"] for each in about["related_identifiers"]] == [
        "10.1234/demo",
        "https://example.org/many.csv",
        "https://github.com/llm-trace-archive/llm-trace-archive",
    ]


@pytest.mark.parametrize("key", ["title", "authors", "date-released"])
def test_metadata_without_a_required_field_is_refused(tmp_path: Path, key: str) -> None:
    bundle = cited(tiny_bundle(tmp_path / "bundle"), **{key: None})
    with pytest.raises(BadUse, match=f"lacks {key}"):
        describe(bundle)


def test_a_search_finds_more_records_than_one_page(fake: Fake, versions: dict[str, Bundle]) -> None:
    title = versions["1.0.0"].citation["title"]
    for number in range(1, 201):
        fake.records[str(number)] = Record(
            str(number), str(10_000 + number), "1", 1, {"title": f"{title} no. {number}"}
        )
    fake.last = 1000
    user: Invenio = zenodo.make_client(patience=QUICK)
    found = user.find("/user/records", {"q": f'metadata.title:"{title}"', "allversions": "true"})
    assert len({each.id for each in found}) == 200
    assert release(versions["1.0.0"]).published
    assert len(fake.drafts) == 200


def test_a_file_that_disappears_during_the_release(fake: Fake, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / "README.md").unlink()
    with pytest.raises(BadUse, match=r"README\.md: No such file") as caught:
        release(bundle)
    assert "run the same command again" in caught.value.details["next"]
    assert fake.published == []
    (bundle.root / "README.md").write_text("again\n")
    assert release(summed(bundle.root)).published
    assert_released(fake, [Bundle.open(bundle.root)])
