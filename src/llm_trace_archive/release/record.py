"""What a release left behind: where it is, written back into the lock and CITATION.cff as a change to commit."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..core.archive import CITATION, LOCK, Archive
from ..core.files import replace_text
from .bundle.folder import Bundle


@dataclass(frozen=True)
class Release:
    """One version at one target.

    target       "zenodo" or "huggingface"
    place        the record's id at Zenodo; "<owner>/<name>" of the Hub's repo
    url          the page for people
    published    False for a draft
    doi          of this version; concept_doi of all versions; empty where there are none
    urls         by path in the bundle: where that file can be downloaded without a token, for ever the same bytes
    """

    target: str
    version: str
    place: str
    url: str
    published: bool
    doi: str = ""
    concept_doi: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """What a target says of a file it holds: size in bytes, and a digest of kind "sha256", "md5" or "git_blob"."""

    bytes: int
    kind: str
    digest: str


def place(archive: Archive, target: str) -> str:
    """Where the newest release recorded of a target is (`Release.place`); empty if there is none."""
    return next((str(each["place"]) for each in archive.lock.get("releases", ()) if each["target"] == target), "")


def record(archive: Archive, bundle: Bundle, release: Release) -> list[str]:
    """Write where a published release is into the lock and CITATION.cff; the paths that changed, for a commit.

    The lock gets the release, and each resource whose bytes the bundle has its URL, which `llm-traces setup` tells
    git-annex. Of a target the newest counts. Nothing is written for a draft. Raises BadUse if the disk is full.
    """
    from ..lock.describe import describe  # with pyarrow, which the targets need not wait for

    if not release.published:
        return []
    paths = (LOCK, CITATION)
    before = [(archive.root / path).read_bytes() for path in paths]
    lock = copy.deepcopy(archive.lock)
    told = {
        "target": release.target,
        "version": release.version,
        "place": release.place,
        "url": release.url,
        "doi": release.doi,
        "conceptDoi": release.concept_doi,
    }
    others = [each for each in lock.get("releases", ()) if each["target"] != release.target]
    lock["releases"] = [*others, {name: value for name, value in told.items() if value}]
    released = {each["path"]: each["hash"] for each in bundle.package["resources"]}
    for resource in lock["resources"]:
        url = release.urls.get(resource["path"])
        if url and released.get(resource["path"]) == resource["hash"]:
            kept = [each for each in resource.get("urls", ()) if urlsplit(each).netloc != urlsplit(url).netloc]
            resource["urls"] = [*kept, url]
    replace_text(archive.root / LOCK, json.dumps(lock, indent=2, ensure_ascii=False) + "\n")
    archive.reread()
    describe(archive)
    if release.doi:
        _cite(archive, release)
    return [path for path, text in zip(paths, before, strict=True) if (archive.root / path).read_bytes() != text]


def _cite(archive: Archive, release: Release) -> None:
    """The DOI of all versions, which stays true when the next one is made, and beside it that of this version."""
    import yaml

    path = archive.root / CITATION
    citation: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    citation["doi"] = release.concept_doi or release.doi
    this = {"type": "doi", "value": release.doi, "description": f"version {release.version}"}
    others = [each for each in citation.get("identifiers", ()) if each.get("description") != this["description"]]
    citation["identifiers"] = [*others, this]
    replace_text(path, yaml.safe_dump(citation, sort_keys=False, allow_unicode=True, width=120))
