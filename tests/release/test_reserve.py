"""The whole way of a release, in the order of docs/release.md: the DOI first, so that the bundle names its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_trace_archive import __version__
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.content import citation as citing
from llm_trace_archive.release.zenodo import release as zenodo
from support.command import run_here
from support.fake_hub import FakeHub, fake_hub
from support.fake_invenio import Fake, Record, fake_invenio
from support.golden import assert_golden
from support.hub_runs import NAME, client_of
from support.programs import git
from support.releases import DOI, Release

HAND_MADE = {
    "resource_type": {"id": "dataset"},
    "title": "LLM Trace Archive",
    "creators": [{"person_or_org": {"type": "organizational", "name": "Analytical Engine Society"}}],
    "publication_date": "2025-11-21",
    "publisher": "Zenodo",
    "description": "Mine.",
    "related_identifiers": [
        {
            "scheme": "url",
            "identifier": "https://github.com/llm-trace-archive/llm-trace-archive",
            "relation_type": {"id": "issupplementto"},
            "resource_type": {"id": "software"},
        }
    ],
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    with fake_invenio() as fake:
        monkeypatch.setattr(zenodo, "LAG", 0.0)
        monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("LLM_TRACES_ZENODO_URL", fake.url)
        monkeypatch.setenv("ZENODO_TOKEN", "token-1")
        yield fake
        assert fake.broken == []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def unreserved(archive_copy: Release) -> Release:
    """An archive whose CITATION.cff names no DOI, and only one licence."""
    path = archive_copy.root / "CITATION.cff"
    text = re.sub(r"doi: .*\n(.*\n)*", "", path.read_text())
    path.write_text(re.sub(r"license:\n(  - .*\n)+", "license: MIT\n", text))
    archive_copy.commit()
    return archive_copy


def run(
    release: Release, *arguments: str | Path, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    ran = run_here("release", *arguments, cwd=release.root, **environment)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


def read_citation(root: Path) -> dict[str, Any]:
    citation: dict[str, Any] = yaml.safe_load((root / "CITATION.cff").read_text())
    return citation


def test_the_whole_way(unreserved: Release, fake: Fake, hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    ran = run(unreserved, "bundle", target, "--mirror", unreserved.mirror, code=1)
    assert "found none: llm-traces release reserve" in ran.stdout

    ran = run(unreserved, "reserve")
    (draft,) = fake.drafts
    assert_golden("release/reserved", ran.stdout, server=fake.url)
    citation = read_citation(unreserved.root)
    assert citation["doi"] == draft.doi
    assert citation["identifiers"] == [
        {"type": "doi", "value": draft.doi, "description": f"The DOI of version {__version__}."}
    ]
    assert citation["license"] == ["Apache-2.0", "CC-BY-4.0", "MIT"]
    again = run(unreserved, "reserve")
    assert "CITATION.cff" not in again.stdout and fake.drafts == [draft]

    unreserved.commit()
    run(unreserved, "bundle", target, "--mirror", unreserved.mirror)
    bundle = Bundle.open(target)
    assert_names_doi(bundle, draft.doi)

    with client_of(hub):
        run(unreserved, "huggingface", target, "--repo", NAME)
        git("commit", "--quiet", "--all", "--message", "Released on the Hub", cwd=unreserved.root)
        run(unreserved, "zenodo", target)
        ran = run(unreserved, "zenodo", target, "--publish")
        assert "datapackage.json: now names the release at zenodo; review and commit it\n" in ran.stdout
        (published,) = fake.published
        assert (published.id, published.doi, fake.drafts) == (draft.id, draft.doi, [])
        assert read_citation(unreserved.root)["identifiers"][1]["value"] == f"10.5281/zenodo.{published.parent}"
        assert "nothing differs" in run(unreserved, "status", target, "--repo", NAME).stdout
    again = run(unreserved, "zenodo", target, "--publish")
    assert "nothing to do" in again.stdout and "now names" not in again.stdout


def assert_names_doi(bundle: Bundle, doi: str) -> None:
    """CITATION.cff, Croissant, RO-Crate and README of a bundle name its DOI."""
    assert citing.find_doi(bundle.citation, bundle.version) == doi
    croissant = bundle.read_json("croissant.json")
    assert croissant["identifier"] == f"https://doi.org/{doi}" and doi in croissant["citeAs"]
    graph = {each["@id"]: each for each in bundle.read_json("ro-crate-metadata.json")["@graph"]}
    assert graph["./"]["identifier"] == f"https://doi.org/{doi}" and doi in graph["./"]["creditText"]
    assert f"https://doi.org/{doi}" in (bundle.root / "README.md").read_text()


def raise_version(release: Release, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the archive one of another version."""
    monkeypatch.setattr("llm_trace_archive.__version__", version)
    for name in ("CITATION.cff", "datapackage.json", "CHANGELOG.md"):
        path = release.root / name
        text = path.read_text()
        path.write_text(re.sub(r'(\nversion: |"version": "|\n## )\d+\.\d+\.\d+', rf"\g<1>{version}", text, count=1))
    Archive(release.root)


def test_the_next_version_has_its_own_doi_first_and_no_earlier_one(
    unreserved: Release, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(unreserved, "reserve")
    publish_the_draft(unreserved, fake)
    raise_version(unreserved, "0.2.0", monkeypatch)
    run(unreserved, "reserve")
    (first,), (second,) = fake.published, fake.drafts
    citation = read_citation(unreserved.root)
    assert citation["doi"] == second.doi != first.doi
    assert [each["value"] for each in citation["identifiers"]] == [second.doi, f"10.5281/zenodo.{first.parent}"]
    assert second.parent == first.parent


def publish_the_draft(release: Release, fake: Fake) -> None:
    """Publish what was reserved, and write the record into the lock, as a release does."""
    (draft,) = fake.drafts
    draft.is_published = True
    path = release.root / "datapackage.json"
    lock = json.loads(path.read_text())
    lock["releases"] = [{"target": "zenodo", "version": __version__, "place": draft.id, "url": "https://example.org/"}]
    path.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")


def test_a_published_version_and_a_lower_one_are_refused(
    unreserved: Release, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(unreserved, "reserve")
    publish_the_draft(unreserved, fake)
    published = run(unreserved, "reserve", code=2).stderr
    raise_version(unreserved, "0.0.9", monkeypatch)
    lower = run(unreserved, "reserve", code=2).stderr
    assert_golden("release/not-reserved", published + lower, server=fake.url)
    assert fake.drafts == []
    assert "is reserved for 0.0.9" in run(unreserved, "reserve", "--older").stdout


def test_a_second_maintainer_makes_no_second_concept(
    unreserved: Release, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with the first one's commits but the last, nor with none of them."""
    shutil.copytree(unreserved.root, tmp_path / "second", symlinks=True)
    run(unreserved, "reserve")
    publish_the_draft(unreserved, fake)
    without_any = Release(Archive(tmp_path / "second"), unreserved.mirror)
    messages = [run(without_any, "reserve", code=2, ZENODO_TOKEN="token-2").stderr]
    shutil.copy(unreserved.root / "CITATION.cff", without_any.root)
    raise_version(without_any, "0.2.0", monkeypatch)
    messages.append(run(without_any, "reserve", code=2, ZENODO_TOKEN="token-2").stderr)
    (without_any.root / "CITATION.cff").write_text(
        re.sub(r"\ndoi: (.*\n)*", "\n", (without_any.root / "CITATION.cff").read_text())
    )
    fake.records.clear()
    messages.append(run(without_any, "reserve", code=2, ZENODO_TOKEN="token-2").stderr)
    assert_golden("release/second-concept", "".join(messages), server=fake.url)
    assert fake.drafts == []
    assert "new draft" in run(without_any, "reserve", "--first", ZENODO_TOKEN="token-2").stdout


def test_the_record_can_be_given(unreserved: Release, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    run(unreserved, "reserve")
    (draft,) = fake.drafts
    draft.is_published, draft.metadata["title"] = True, "Another title"
    raise_version(unreserved, "0.2.0", monkeypatch)
    run(unreserved, "reserve", "--record", draft.id)
    assert [each.parent for each in fake.drafts] == [draft.parent]


def test_a_hand_made_draft_is_neither_deleted_nor_overwritten(
    unreserved: Release, fake: Fake, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Record("7001", "7000", "1", 1, dict(HAND_MADE))
    fake.records[mine.id] = mine
    assert "new draft" in run(unreserved, "reserve").stdout
    unreserved.commit()
    run(unreserved, "bundle", tmp_path / "bundle", "--mirror", unreserved.mirror)
    ran = run(unreserved, "zenodo", tmp_path / "bundle", "--publish")
    assert f"{fake.url}/uploads/{mine.id}: left as it is, a draft that llm-traces did not make" in ran.stdout
    assert (fake.drafts, mine.metadata) == ([mine], HAND_MADE)

    # The server has one draft of a new version: also one that somebody started and edited by hand.
    (published,) = fake.published
    edited = Record("7002", published.parent, "1", 2, {**published.metadata, "version": "", "description": "Better."})
    fake.records[edited.id] = edited
    raise_version(unreserved, "0.2.0", monkeypatch)
    ran = run(unreserved, "reserve", code=2)
    assert_golden("release/hand-made-draft", ran.stderr, server=fake.url)
    assert edited.metadata["description"] == "Better."
    edited.metadata = {**published.metadata, "version": "", "publication_date": "2026-01-01"}  # started, not edited
    assert f"/uploads/{edited.id}: " in run(unreserved, "reserve").stdout


def test_a_bundle_whose_draft_is_gone_or_that_names_none_is_refused(
    bundle: Bundle, original: Release, fake: Fake, tmp_path: Path
) -> None:
    ran = run(original, "zenodo", bundle.root, "--publish", code=2)
    assert DOI in ran.stderr
    messages = ran.stderr
    from support.bundles import tiny_bundle

    nameless = tiny_bundle(tmp_path / "nameless")
    ran = run_here("release", "zenodo", nameless.root, cwd=tmp_path)
    assert ran.returncode == 2
    assert_golden("release/no-draft", messages + ran.stderr, server=fake.url, tmp=tmp_path)
    assert fake.records == {}


def test_the_archive_must_be_about_one_version(unreserved: Release, fake: Fake) -> None:
    path = unreserved.root / "CITATION.cff"
    path.write_text(path.read_text().replace(f"version: {__version__}", "version: 9.9.9"))
    assert "is about another version" in run(unreserved, "reserve", code=2).stderr
    assert fake.asked == []
