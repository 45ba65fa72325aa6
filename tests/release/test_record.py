"""What a release writes back: the lock, CITATION.cff, and through `setup` git-annex's URLs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.record import Release, place, record
from support.bundles import tiny_bundle
from support.programs import git, llm_traces, run
from support.servers import plain, site
from support.small_archive import are_right, publish

CONCEPT, DOI = "10.5281/zenodo.100", "10.5281/zenodo.101"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """One locked workload; its upstream can't be had, and nothing is cached."""
    made, _ = publish(tmp_path, "http://127.0.0.1:9", {"few": ("few.csv", 7), "new": ("new.csv", 8)}, unbuilt=("new",))
    bundle = tiny_bundle(tmp_path / "tiny")
    (made.root / "CITATION.cff").write_text((bundle.root / "CITATION.cff").read_text())
    git("add", "--all", cwd=made.root)
    git("commit", "--quiet", "--message", "Citation", cwd=made.root)
    return made


def of(archive: Archive, url: str = "https://zenodo.example", **changed: str) -> tuple[Bundle, Release]:
    """A bundle that holds what the archive has, and a release of it."""
    bundle = Bundle(archive.root, ())
    urls = {path: f"{url}/records/101/files/{path}" for path in ["data/demo/few.parquet", "README.md"]}
    told = Release("zenodo", "1.0.0", "101", f"{url}/records/101", True, DOI, CONCEPT, urls)
    return bundle, replace(told, **changed)


def test_a_release_is_told_in_lock_and_citation_and_kept_by_describe(archive: Archive) -> None:
    assert record(archive, *of(archive)) == ["datapackage.json", "CITATION.cff"]
    assert record(archive, *of(archive)) == []
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
    assert citation["doi"] == CONCEPT, "of all versions: it stays true"
    assert citation["identifiers"] == [{"type": "doi", "value": DOI, "description": "version 1.0.0"}]
    assert place(archive, "zenodo") == "101" and place(archive, "huggingface") == ""
    llm_traces("describe", cwd=archive.root, check=True)
    assert archive.lock == lock


def test_the_newest_of_a_target_counts(archive: Archive) -> None:
    record(archive, *of(archive))
    hub = {"data/demo/few.parquet": "https://hub.example/resolve/1.1.0/data/demo/few.parquet"}
    record(archive, *of(archive, target="huggingface", place="a/b", doi="", concept_doi="", urls=hub))
    record(archive, *of(archive, "https://zenodo.example/2", version="1.1.0", doi="10.5281/zenodo.102"))
    assert [each["target"] for each in archive.lock["releases"]] == ["huggingface", "zenodo"]
    assert archive.lock["resources"][0]["urls"] == [
        *hub.values(),
        "https://zenodo.example/2/records/101/files/data/demo/few.parquet",
    ]
    citation = yaml.safe_load((archive.root / "CITATION.cff").read_text())
    assert [each["description"] for each in citation["identifiers"]] == ["version 1.0.0", "version 1.1.0"]


def test_nothing_is_told_of_a_draft_or_of_other_bytes(archive: Archive, tmp_path: Path) -> None:
    bundle, release = of(archive)
    assert record(archive, bundle, replace(release, published=False)) == []
    assert "releases" not in archive.lock
    record(archive, tiny_bundle(tmp_path / "other"), release)
    assert "urls" not in archive.lock["resources"][0]


def test_a_clone_gets_a_released_file_from_its_url(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream is out of reach; git-annex checks the download by the key's sha256."""
    content = (archive.root / "data/demo/few.parquet").read_bytes()
    with site() as served:
        served.scripts["/records/101/files/data/demo/few.parquet"] = plain(content)
        record(archive, *of(archive, served.url))
        git("commit", "--quiet", "--all", "--message", "Released", cwd=archive.root)
        git("clone", "--quiet", "--single-branch", str(archive.root), "clone", cwd=tmp_path)
        clone = tmp_path / "clone"
        monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "empty"))
        told = llm_traces("setup", cwd=clone, check=True).stdout
        assert "recorded 1 file with a URL of a release" in told
        assert "nothing to do" in llm_traces("setup", cwd=clone).stdout
        # No remote but the web: neither the clone's origin nor our special remote.
        git("remote", "remove", "origin", cwd=clone)
        offline = llm_traces("get", "demo/few", "--offline", cwd=clone)
        assert offline.returncode == 1 and "not tried: offline" in offline.stderr
        assert not served.requests
        run("datalad", "get", "data/demo/few.parquet", cwd=clone)
        assert are_right(clone)
        assert served.requests["/records/101/files/data/demo/few.parquet"]
