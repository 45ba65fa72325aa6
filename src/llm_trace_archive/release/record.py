"""What a release leaves in the archive: where it is, in the lock and CITATION.cff, as a change to commit."""

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

NEXT = "run the same command again; it resumes where this one stopped"  # advice where a release may succeed later


@dataclass(frozen=True)
class Release:
    """One version at one target.

    target       "zenodo" or "huggingface"
    place        the record's id at Zenodo; OWNER/NAME of the repo on the Hub
    url          the page for people
    published    False for a draft
    doi          of this version; concept_doi of all versions; empty where there are none
    urls         where everyone can download each file permanently, without a token, by path in the bundle
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
class RemoteFile:
    """A file as a target reports it: size in bytes, and a digest of kind "sha256", "md5" or "git_blob"."""

    bytes: int
    kind: str
    digest: str


def mask(text: str, token: str) -> str:
    """Return a server's text without the token, which it may repeat. Mask before cutting: a part is secret too."""
    return text.replace(token, "<token>") if token else text


def find_place(archive: Archive, target: str) -> str:
    """Return the place of the newest recorded release at a target (`Release.place`), or nothing."""
    return next((str(each["place"]) for each in archive.lock.get("releases", ()) if each["target"] == target), "")


def record(archive: Archive, bundle: Bundle, release: Release) -> list[str]:
    """Write a published release into the lock and CITATION.cff; return the paths that changed, to be committed.

    The lock gets the release, which replaces an earlier one at the same target, and the URL of each resource that has
    the same bytes in the bundle; `llm-traces setup` passes those to git-annex. A draft changes nothing. Raises BadUse
    or OSError if a file can't be written.
    """
    from ..lock.describe import describe  # imports pyarrow, which the targets don't need

    if not release.published:
        return []
    paths = (LOCK, CITATION)
    before = [(archive.root / path).read_bytes() for path in paths]
    lock = copy.deepcopy(archive.lock)
    entry = {
        "target": release.target,
        "version": release.version,
        "place": release.place,
        "url": release.url,
        "doi": release.doi,
        "conceptDoi": release.concept_doi,
    }
    others = [each for each in lock.get("releases", ()) if each["target"] != release.target]
    lock["releases"] = [*others, {name: value for name, value in entry.items() if value}]
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
        _add_doi(archive, release)
    return [path for path, text in zip(paths, before, strict=True) if (archive.root / path).read_bytes() != text]


def _add_doi(archive: Archive, release: Release) -> None:
    """Write the DOI of all versions, which later releases keep, and that of this version."""
    import yaml

    path = archive.root / CITATION
    citation: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    citation["doi"] = release.concept_doi or release.doi
    this = {"type": "doi", "value": release.doi, "description": f"version {release.version}"}
    others = [each for each in citation.get("identifiers", ()) if each.get("description") != this["description"]]
    citation["identifiers"] = [*others, this]
    replace_text(path, yaml.safe_dump(citation, sort_keys=False, allow_unicode=True, width=120))
