"""What a release records: in the lock, in CITATION.cff, and by `setup` in git-annex."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.record import Release, find_place, record
from support.bundles import tiny_bundle
from support.command import run_here
from support.programs import git, run
from support.servers import plain, site
from support.small_archive import are_right, publish

CONCEPT, DOI = "10.5281/zenodo.100", "10.5281/zenodo.101"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """One locked workload, whose upstream is not available and not cached."""
    made, _ = publish(tmp_path, "http://127.0.0.1:9", {"few": ("few.csv", 7), "new": ("new.csv", 8)}, unbuilt=("new",))
    bundle = tiny_bundle(tmp_path / "tiny")
    (made.root / "CITATION.cff").write_text((bundle.root / "CITATION.cff").read_text())
    git("add", "--all", cwd=made.root)
    git("commit", "--quiet", "--message", "Citation", cwd=made.root)
    return made


def publication_of(archive: Archive, url: str = "https://zenodo.example", **changed: str) -> tuple[Bundle, Release]:
    """A bundle with what the archive has, and a release of it."""
    bundle = Bundle(archive.root, ())
    urls = {path: f"{url}/records/101/files/{path}" for path in ["data/demo/few.parquet", "README.md"]}
    release = Release("zenodo", "1.0.0", "101", f"{url}/records/101", True, DOI, CONCEPT, urls)
    return bundle, replace(release, **changed)


def test_a_release_is_recorded_in_lock_and_citation_and_describe_keeps_it(archive: Archive) -> None:
    assert record(archive, *publication_of(archive)) == ["datapackage.json", "CITATION.cff"]
    assert record(archive, *publication_of(archive)) == []
    lock = archive.lock
    assert lock["releases"] == [
        {
            "target": "zenodo",
            "version": "1.0.0",
            "place": "101",
            "url": "https://zenodo.example/records/101",
            "doi": DOI,
            "conceptDoi": CONCEPT,
        }
    ]
    assert lock["resources"][0]["urls"] == ["https://zenodo.example/records/101/files/data/demo/few.parquet"]
    citation = yaml.safe_load((archive.root / "CITATION.cff").read_text())
    assert citation["doi"] == DOI
    assert citation["identifiers"] == [
        {"type": "doi", "value": DOI, "description": "The DOI of version 1.0.0."},
        {"type": "doi", "value": CONCEPT, "description": "The concept DOI, of all versions."},
    ]
    assert find_place(archive, "zenodo") == "101" and find_place(archive, "huggingface") == ""
    assert run_here("describe", cwd=archive.root).returncode == 0
    assert archive.lock == lock


def test_the_newest_release_at_a_target_replaces_the_one_before(archive: Archive) -> None:
    record(archive, *publication_of(archive))
    hub = {"data/demo/few.parquet": "https://hub.example/resolve/1.1.0/data/demo/few.parquet"}
    record(archive, *publication_of(archive, target="huggingface", place="a/b", doi="", concept_doi="", urls=hub))
    record(archive, *publication_of(archive, "https://zenodo.example/2", version="1.1.0", doi="10.5281/zenodo.102"))
    assert [each["target"] for each in archive.lock["releases"]] == ["huggingface", "zenodo"]
    assert archive.lock["resources"][0]["urls"] == [
        *hub.values(),
        "https://zenodo.example/2/records/101/files/data/demo/few.parquet",
    ]
    citation = yaml.safe_load((archive.root / "CITATION.cff").read_text())
    assert citation["doi"] == DOI, "CITATION.cff is about 1.0.0"


def test_drafts_and_changed_tables_are_not_recorded(archive: Archive, tmp_path: Path) -> None:
    bundle, release = publication_of(archive)
    assert record(archive, bundle, replace(release, published=False)) == []
    assert "releases" not in archive.lock
    record(archive, tiny_bundle(tmp_path / "other"), release)
    assert "urls" not in archive.lock["resources"][0]


def test_a_clone_gets_a_released_file_from_its_url(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream is not available; git-annex checks the download by the sha256 in its key."""
    content = (archive.root / "data/demo/few.parquet").read_bytes()
    with site() as served:
        served.scripts["/records/101/files/data/demo/few.parquet"] = plain(content)
        record(archive, *publication_of(archive, served.url))
        git("commit", "--quiet", "--all", "--message", "Released", cwd=archive.root)
        git("clone", "--quiet", "--single-branch", str(archive.root), "clone", cwd=tmp_path)
        clone = tmp_path / "clone"
        monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "empty"))
        assert "recorded 1 file with a URL of a release" in run_here("setup", cwd=clone).stdout
        assert "nothing to do" in run_here("setup", cwd=clone).stdout
        # No remote but the web: neither the clone's origin nor our special remote.
        git("remote", "remove", "origin", cwd=clone)
        offline = run_here("get", "demo/few", "--offline", cwd=clone)
        assert offline.returncode == 1 and "not tried: offline" in offline.stderr
        assert not served.requests
        run("datalad", "get", "data/demo/few.parquet", cwd=clone)
        assert are_right(clone)
        assert served.requests["/records/101/files/data/demo/few.parquet"]
