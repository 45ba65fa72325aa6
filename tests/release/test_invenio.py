"""The life of a release, from the first draft to the next version, on the fake and on a real InvenioRDM.

The real server is at LLM_TRACES_INVENIO_URL, with the tokens of two users in LLM_TRACES_INVENIO_TOKEN and ..._TOKEN2.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from filelock import FileLock

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.content.citation import name_doi
from llm_trace_archive.release.content.contents import Contents
from llm_trace_archive.release.content.selection import select
from llm_trace_archive.release.record import Release
from llm_trace_archive.release.zenodo import deposit
from llm_trace_archive.release.zenodo import release as zenodo
from llm_trace_archive.release.zenodo.answers import Record, read_name, read_record
from llm_trace_archive.release.zenodo.deposit import send_files
from llm_trace_archive.release.zenodo.invenio import Body, Invenio, Refused
from llm_trace_archive.release.zenodo.metadata import describe_record
from llm_trace_archive.upstream.http import Patience
from support.bundles import cited, summed, tiny_bundle
from support.fake_invenio import Fake, Fault, fake_invenio

MEANS = {name: os.environ.get(f"LLM_TRACES_INVENIO_{name}", "") for name in ("URL", "TOKEN", "TOKEN2")}
REAL = [pytest.param("real", marks=pytest.mark.invenio)] if all(MEANS.values()) else []
QUICK = Patience(tries=5, first_pause=0.01, longest_pause=5, connect=5, read=20)
PATIENT = Patience(tries=6, first_pause=0.3, longest_pause=5, connect=5, read=60)


@dataclass
class Target:
    """A server, the tokens of two users, and what a run says and asks. `fake` is None for the real server."""

    url: str
    token: str
    other: str
    fake: Fake | None
    folder: Path
    said: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    title: str = field(default_factory=lambda: f"Archive {uuid.uuid4().hex}")

    def user(self, token: str | None = None) -> Invenio:
        return Invenio(
            self.url,
            self.token if token is None else token,
            "ZENODO_TOKEN",
            self.said.append,
            QUICK if self.fake else PATIENT,
        )

    def bundle(self, version: str = "1.0.0", **rows: int) -> Bundle:
        """A bundle with a title of this test only."""
        bundle = tiny_bundle(self.folder / version, version, **rows)
        return cited(bundle, title=self.title)

    def release(self, bundle: Bundle, **options: Any) -> Release:
        return zenodo.release(bundle, self.user(), **options)

    def ours(self) -> list[Record]:
        """Records and drafts with the title of this test."""
        query = {"q": f'metadata.title:"{self.title}"', "allversions": "true"}
        return [each for each in self.user().find("/user/records", query) if each.title == self.title]

    def sent(self) -> list[str]:
        """Paths of the files whose content was sent."""
        puts = [path for method, path in self.asked if method == "PUT" and path.endswith("/content")]
        return [path.partition("/files/")[2].removesuffix("/content") for path in puts]


@pytest.fixture(params=["fake", *REAL])
def target(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Target]:
    monkeypatch.setattr(zenodo, "LAG", 0.0)
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    call = Invenio.call
    asked: list[tuple[str, str]] = []

    def noted(self: Invenio, method: str, path: str, *arguments: Any, **named: Any) -> Any:
        asked.append((method, path))
        return call(self, method, path, *arguments, **named)

    monkeypatch.setattr(Invenio, "call", noted)
    if request.param == "real":
        with FileLock(tmp_path_factory.getbasetemp().parent / "invenio.lock"):  # on SQLite it takes one writer
            yield Target(MEANS["URL"], MEANS["TOKEN"], MEANS["TOKEN2"], None, tmp_path, asked=asked)
        return
    with fake_invenio() as fake:
        yield Target(fake.url, "token-1", "token-2", fake, tmp_path, asked=asked)
        assert fake.broken == []


@pytest.mark.invenio
def test_the_real_server_is_there() -> None:
    if not REAL:
        pytest.skip("a real InvenioRDM: LLM_TRACES_INVENIO_URL, _TOKEN and _TOKEN2 are not set")
    assert Invenio(MEANS["URL"], "").look(read_name, "/vocabularies/licenses/mit") == "mit"


def describe(bundle: Bundle) -> dict[str, Any]:
    return describe_record(bundle.root, bundle.citation, bundle.package, {}, lambda name: name == "mit")


def contents(release: Release) -> dict[str, bytes]:
    """What anyone downloads from the release's URLs."""
    found = {}
    for path, url in release.urls.items():
        response = requests.get(url, timeout=20)
        response.raise_for_status()
        found[path] = response.content
    return found


def files(bundle: Bundle) -> dict[str, bytes]:
    return {each.path: (bundle.root / each.path).read_bytes() for each in bundle.files}


def test_a_draft_then_published_then_nothing_to_do(target: Target) -> None:
    bundle = target.bundle()
    draft = target.release(bundle)
    assert not draft.published
    assert draft.url == f"{target.url}/uploads/{draft.place}"
    assert draft.doi == f"10.5281/zenodo.{draft.place}"
    assert [each.is_published for each in target.ours()] == [False]
    assert len(target.sent()) == len(bundle.files)

    done = target.release(bundle, publish=True)
    assert (done.published, done.place, done.doi, done.version) == (True, draft.place, draft.doi, "1.0.0")
    assert done.concept_doi.startswith("10.5281/zenodo.")
    assert done.concept_doi != done.doi
    assert len(target.sent()) == len(bundle.files), "files were sent twice"
    assert contents(done) == files(bundle)
    assert zenodo.list_files(target.user(""), done.place).keys() == files(bundle).keys()

    before = len(target.asked)
    assert target.release(bundle, publish=True) == done
    assert target.release(bundle) == done
    assert {method for method, _ in target.asked[before:]} == {"GET"}, "a second release changed something"
    assert [each.is_published for each in target.ours()] == [True]


def test_the_metadata_of_the_record(target: Target) -> None:
    done = target.release(target.bundle(), publish=True)
    record = zenodo.find_latest(target.user(""), done.place)
    assert record is not None
    about = record.metadata
    assert (about["version"], about["publication_date"], about["publisher"]) == ("1.0.0", "2026-11-21", "Zenodo")
    assert about["creators"][0]["person_or_org"]["identifiers"] == [
        {"scheme": "orcid", "identifier": "0000-0002-1825-0097"}
    ]
    assert about["creators"][1]["person_or_org"]["name"] == "The LLM Trace Archive authors"
    assert [(each["person_or_org"]["name"], each["role"]["id"]) for each in about["contributors"]] == [
        ("Nobody, authors of Demo", "datacollector"),
        ("A. A. L.", "rightsholder"),
    ]
    assert [each["id"] for each in about["rights"]] == ["cc-by-4.0", "mit"]
    assert [(each["identifier"], each["relation_type"]["id"]) for each in about["related_identifiers"]] == [
        ("10.1234/demo", "references"),
        ("https://example.org/few.csv", "isderivedfrom"),
        ("https://example.org/many.csv", "isderivedfrom"),
        ("https://github.com/llm-trace-archive/llm-trace-archive", "issupplementto"),
    ]
    files = target.bundle().files
    assert about["sizes"] == [f"{len(files)} files", f"{sum(each.bytes for each in files) / 1e6:,.1f} MB", "5,003 rows"]
    assert "application/vnd.apache.parquet" in about["formats"]
    assert about["languages"][0]["id"] == "eng"
    assert about["additional_descriptions"][0]["description"].startswith("Made by llm-traces release: version 1.0.0 of")
    assert re.sub("<[^>]*>", "", about["description"]).split("\n") == [
        "Request traces.",
        "It holds these tables. Cite the authors of those you use, each as given here.",
        "",
        "demo/few: 3 rows, CC-BY-4.0. Cite: Nobody, Demo, 2026, doi:10.1234/demo. ",
        "demo/many: 5,000 rows, CC-BY-4.0. Cite: Nobody, Demo, 2026, doi:10.1234/demo. ",
        "",
    ]
    assert about["subjects"] == [{"subject": "LLM serving"}]


def test_a_new_version_sends_only_what_changed(target: Target) -> None:
    first = target.bundle("1.0.0", few=3, many=5000, gone=9)
    one = target.release(first, publish=True)
    second = target.bundle("1.1.0", few=4, many=5000, added=7)
    target.asked.clear()
    two = target.release(second, publish=True)
    unchanged = {path for path, content in files(first).items() if files(second).get(path) == content}
    assert "data/demo/many.parquet" in unchanged
    assert set(target.sent()) == files(second).keys() - unchanged
    assert contents(two) == files(second)
    assert contents(one) == files(first), "the version before changed"
    assert one.place != two.place
    assert one.concept_doi == two.concept_doi
    assert sorted(each.version for each in target.ours()) == ["1.0.0", "1.1.0"]
    newest = zenodo.find_latest(target.user(""), one.place)
    assert newest is not None
    assert newest.id == two.place
    assert newest.metadata["publication_date"] == "2026-11-21", "the server's own date was kept"
    # The version before is still the same as its bundle.
    assert target.release(first, publish=True).place == one.place


def test_the_draft_of_a_new_version_is_resumed(target: Target) -> None:
    one = target.release(target.bundle("1.0.0"), publish=True)
    concept = one.concept_doi.rpartition(".")[2]
    second = target.bundle("1.1.0", few=4)
    draft = target.release(second, concept=concept)
    assert not draft.published
    (target.user().call("GET", f"/records/{draft.place}/draft"))
    two = target.release(second, concept=one.place, publish=True)  # an id of a version will do
    assert two.place == draft.place
    assert contents(two) == files(second)
    assert all(each.is_published for each in target.ours())


def test_a_draft_of_an_earlier_number_becomes_this_version(target: Target) -> None:
    draft = target.release(target.bundle("1.0.0", few=3))
    bundle = target.bundle("1.1.0", few=4, many=9)
    done = target.release(bundle, publish=True)
    assert (done.place, done.version) == (draft.place, "1.1.0")
    assert contents(done) == files(bundle)
    assert [each.version for each in target.ours()] == ["1.1.0"]


def test_a_published_version_with_other_files_is_refused(target: Target) -> None:
    bundle = target.bundle()
    target.release(bundle, publish=True)
    (bundle.root / "README.md").write_text("other\n")
    with pytest.raises(Problem, match="already published, with different files") as caught:
        target.release(summed(bundle.root), publish=True)
    assert caught.value.details["found"].splitlines() == [
        f"{path}: different bytes" for path in ("README.md", "SHA256SUMS", "release-report.json")
    ]
    assert "raise the version" in caught.value.details["next"]
    assert [each.is_published for each in target.ours()] == [True]


def test_a_wrong_token_is_reported_by_its_variable_and_not_shown(target: Target) -> None:
    with pytest.raises(BadUse) as caught:
        zenodo.release(target.bundle(), target.user("wrong-and-secret"))
    assert "ZENODO_TOKEN" in str(caught.value)
    assert "deposit:write and deposit:actions" in str(caught.value)
    assert "wrong-and-secret" not in str(caught.value) + repr(target.user("wrong-and-secret"))


def test_another_users_records_are_left_alone(target: Target) -> None:
    bundle = target.bundle()
    draft = target.release(bundle)
    with pytest.raises(BadUse, match="belongs to another user"):
        stranger = target.user(target.other)
        stranger.ask(lambda: stranger.call("PUT", f"/records/{draft.place}/draft", {"metadata": {}}))
    done = target.release(bundle, publish=True)
    with pytest.raises(BadUse, match="belongs to another user"):
        zenodo.release(target.bundle("1.1.0", few=4), target.user(target.other), concept=done.place, publish=True)
    assert [each.is_published for each in target.ours()] == [True]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"date-released": "someday"}, "metadata.publication_date: "),
        ({"title": "ab"}, "metadata.title: "),
        ({"repository-code": "not a URL"}, "metadata.related_identifiers"),
    ],
)
def test_bad_metadata_is_reported_by_field_and_leaves_nothing(
    target: Target, changes: dict[str, str], found: str
) -> None:
    target.title = changes.get("title", target.title)
    bundle = cited(target.bundle(), **changes)
    with pytest.raises(Problem) as caught:
        target.release(bundle, publish=True)
    assert caught.value.details["found"].startswith(found)
    assert target.ours() == []


def test_an_unknown_licence_gets_title_and_link(target: Target) -> None:
    bundle = cited(target.bundle(), license=["MIT", "LicenseRef-Own"])
    done = target.release(bundle)
    draft = target.user().call("GET", f"/records/{done.place}/draft")
    assert [each.get("id") or each["title"]["en"] for each in draft["metadata"]["rights"]] == [
        "cc-by-4.0",
        "mit",
        "LicenseRef-Own",
    ]


def test_a_draft_that_is_not_the_bundle_is_not_published(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(bundle: Bundle, invenio: Invenio, draft: str, *rest: Any) -> None:
        send_files(bundle, invenio, draft, *rest)
        invenio.delete(f"/records/{draft}/draft/files/README.md")
        invenio.call("POST", f"/records/{draft}/draft/files", [{"key": "LICENSE.md"}])

    monkeypatch.setattr(zenodo, "send_files", lossy)
    with pytest.raises(Problem, match="differs from the bundle") as caught:
        target.release(target.bundle(), publish=True)
    assert caught.value.details["found"] == "README.md: missing there\nLICENSE.md: incomplete there"
    monkeypatch.undo()
    monkeypatch.setattr(zenodo, "LAG", 0.0)
    assert contents(target.release(target.bundle(), publish=True)) == files(target.bundle())


def test_the_server_does_not_publish_without_whole_files(target: Target) -> None:
    user = target.user()
    about = describe(target.bundle())
    draft = user.call("POST", "/records", {"files": {"enabled": True}, "metadata": about})["id"]
    with pytest.raises(Refused, match="400"):
        user.call("POST", f"/records/{draft}/draft/actions/publish")
    user.call("POST", f"/records/{draft}/draft/files", [{"key": "a"}])
    with pytest.raises(Refused, match="400"):
        user.call("POST", f"/records/{draft}/draft/actions/publish")
    user.delete(f"/records/{draft}/draft")
    user.delete(f"/records/{draft}/draft")


def corrupt(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Send other bytes than were read, for the first few reads."""
    read = Body.read
    left = [times]

    def read_corrupt(self: Body, most: int = -1) -> bytes:
        block = read(self, most)
        if block and left[0]:
            left[0] -= 1
            return bytes([block[0] ^ 1]) + block[1:]
        return block

    monkeypatch.setattr(Body, "read", read_corrupt)


def test_a_corrupt_upload_is_detected_and_sent_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, 1)
    bundle = target.bundle()
    done = target.release(bundle, publish=True)
    assert any("arrived corrupt" in line for line in target.said)
    assert contents(done) == files(bundle)


def test_an_upload_that_stays_corrupt_fails(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(monkeypatch, 1000)
    with pytest.raises(Problem, match="arrived corrupt"):
        target.release(target.bundle(), publish=True)
    assert [each.is_published for each in target.ours()] == [False]


def test_a_file_that_changes_during_its_upload_is_reported(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = target.bundle()
    (bundle.root / "LICENSE.txt").write_text("MIT?\n")
    with pytest.raises(Problem, match="the file changed while it was sent"):
        target.release(bundle)
    (bundle.root / "LICENSE.txt").write_text("TIM\n")
    with pytest.raises(Problem, match="the file changed while it was sent"):
        target.release(bundle)


def test_unusual_names_and_empty_files(target: Target) -> None:
    bundle = target.bundle()
    (bundle.root / "data" / "a b%25é+#?.txt").write_text("odd\n")
    (bundle.root / "empty").write_text("")
    bundle = summed(bundle.root)
    done = target.release(bundle, publish=True)
    assert contents(done) == files(bundle)


def test_leftover_drafts_are_resumed_or_deleted(target: Target) -> None:
    bundle = target.bundle()
    user = target.user()
    body = {"files": {"enabled": True}, "metadata": describe(bundle)}
    by_hand = {**body, "metadata": {**body["metadata"], "additional_descriptions": []}}
    leftovers = [user.call("POST", "/records", each)["id"] for each in (body, body, by_hand)]
    done = target.release(bundle, publish=True)
    assert done.place == leftovers[0]
    assert any(f"/uploads/{leftovers[1]}: deleted" in line for line in target.said)
    assert {each.id: each.is_published for each in target.ours()} == {leftovers[0]: True, leftovers[2]: False}
    leftover = user.call("POST", "/records", body)["id"]
    assert target.release(bundle, publish=True) == done
    assert leftover not in {each.id for each in target.ours()}
    user.delete(f"/records/{leftovers[2]}/draft")


def test_communities_are_asked_once(target: Target) -> None:
    slug = "demo"
    if target.fake is None:
        slug = f"demo-{uuid.uuid4().hex[:8]}"
        new = {"slug": slug, "metadata": {"title": slug}, "access": {"visibility": "public"}}
        headers = {"Authorization": f"Bearer {target.other}"}
        requests.post(f"{target.url}/api/communities", json=new, headers=headers, timeout=20).raise_for_status()
    bundle = target.bundle()
    with pytest.raises(BadUse, match="has no community absent"):
        target.release(bundle, publish=True, communities=["absent"])
    assert target.ours() == []
    target.release(bundle, publish=True, communities=[slug])
    assert any("asked the community" in line for line in target.said)
    target.said.clear()
    target.release(bundle, publish=True, communities=[slug])
    assert not any("asked the community" in line for line in target.said)


def test_a_missing_concept_record_is_reported(target: Target) -> None:
    with pytest.raises(BadUse, match="no published record 99999999"):
        target.release(target.bundle(), concept="99999999")


def test_a_rate_limit_is_respected(target: Target) -> None:
    user = target.user()
    if target.fake:
        target.fake.fault = lambda method, path, number: Fault(429) if number % 3 == 0 else None
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: user.ask(lambda: user.look(read_name, f"/communities/absent-{n}")), range(50)))
    assert found == [None] * 50
    if not any("429" in line for line in target.said):
        pytest.skip("this real server has no rate limit, or is too slow to reach it: RDM_RATELIMIT")
    assert target.release(target.bundle(), publish=True).published


KILLED = """
import os, signal, sys
from llm_trace_archive.cli.main import main
from llm_trace_archive.release.zenodo import invenio, release as zenodo

read = invenio.Body.read

def dying(self, most=-1):
    if self.file.path.startswith("data/") and self._here > 30_000:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, most)

invenio.Body.read = dying
zenodo.LAG = 0.0
main()
"""


def test_a_killed_upload_is_resumed(target: Target) -> None:
    bundle = target.bundle("1.0.0", few=3, many=50_000)
    environment = {"LLM_TRACES_ZENODO_URL": target.url, "ZENODO_SANDBOX_TOKEN": target.token}
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        "release",
        "zenodo",
        str(bundle.root),
        "--sandbox",
        "--publish",
    ]
    killed = subprocess.run(command, env=os.environ | environment, cwd=target.folder, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    (draft,) = target.ours()
    pending = [path for path, each in target.user().list_files(f"/records/{draft.id}/draft").items() if each is None]
    assert pending == ["data/demo/many.parquet"]
    done = target.release(bundle, publish=True)
    assert done.place == draft.id
    assert "data/demo/few.parquet" not in target.sent(), "a complete file was sent again"
    assert contents(done) == files(bundle)
    assert [each.is_published for each in target.ours()] == [True]


def test_files_are_imported_only_once(target: Target) -> None:
    one = target.release(target.bundle("1.0.0"), publish=True)
    user = target.user()
    draft = user.call("POST", f"/records/{one.place}/versions")["id"]
    for _ in range(2):
        deposit.import_files(user, f"/records/{draft}/draft")
    assert user.list_files(f"/records/{draft}/draft").keys() == one.urls.keys()
    with pytest.raises(Refused, match="400"):
        user.call("POST", f"/records/{draft}/draft/actions/files-import")


def reserve(target: Target, bundle: Bundle, **options: Any) -> Release:
    """Reserve the DOI of a bundle's version, as if the bundle were the archive."""
    archive = Archive(bundle.root)
    return zenodo.reserve(Contents(archive, select(archive)), target.user(), **options)


def test_a_reserved_doi_is_that_of_the_publication(target: Target) -> None:
    first = target.bundle()
    reserved = reserve(target, first)
    assert (reserved.published, reserve(target, first)) == (False, reserved)
    assert [(each.doi, each.is_published) for each in target.ours()] == [(reserved.doi, False)]
    first = cited(first, **name_doi(first.citation, first.version, reserved.doi, ""))
    one = target.release(first, doi=reserved.doi, publish=True)
    assert (one.doi, one.place) == (reserved.doi, reserved.place)
    with pytest.raises(BadUse, match=r"1\.0\.0 is already published"):
        reserve(target, first)

    second = target.bundle("1.1.0", few=4)
    later = reserve(target, second)
    assert later.concept_doi == one.concept_doi
    assert later.doi not in ("", one.doi, one.concept_doi)
    with pytest.raises(BadUse, match=r"has no draft with 10\.1234/other"):
        target.release(second, doi="10.1234/other", publish=True)
    two = target.release(second, doi=later.doi, publish=True)
    assert (two.doi, two.place) == (later.doi, later.place)
    with pytest.raises(BadUse, match=r"the last version there is 1\.1\.0, and 1\.0\.5 is lower"):
        reserve(target, target.bundle("1.0.5", few=5))


def test_an_edited_draft_of_a_new_version_is_left_alone(target: Target) -> None:
    one = target.release(target.bundle(), publish=True)
    user, second = target.user(), target.bundle("1.1.0", few=4)

    def start() -> Record:
        return user.read(read_record, "POST", f"/records/{one.place}/versions")

    started = start()
    assert reserve(target, second).place == started.id, "one that was only started is used"
    user.delete(f"/records/{started.id}/draft")
    draft = start()
    metadata = dict(draft.metadata) | {"title": f"{target.title}, edited", "publication_date": "2026-01-01"}
    metadata["rights"] = [{"id": each["id"]} for each in metadata["rights"]]  # it answers more than it takes
    user.call("PUT", f"/records/{draft.id}/draft", {"files": {"enabled": True}, "metadata": metadata})
    with pytest.raises(BadUse, match="was not made by llm-traces"):
        reserve(target, second)
    assert user.read(read_record, "GET", f"/records/{draft.id}/draft").title == metadata["title"]


def test_a_record_of_another_user_is_a_sign_of_an_earlier_version(target: Target) -> None:
    target.release(target.bundle(), publish=True)
    archive = Archive(target.bundle("1.1.0").root)
    contents, stranger = Contents(archive, select(archive)), target.user(target.other)
    with pytest.raises(BadUse, match="would be a second one of this archive"):
        zenodo.reserve(contents, stranger)
    assert not zenodo.reserve(contents, stranger, first=True).published
