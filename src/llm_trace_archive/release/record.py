"""What a release leaves in the archive: where it is, in the lock and CITATION.cff, as a change to commit."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from ..core.archive import CITATION, LOCK, Archive
from ..core.documents import read_yaml
from ..core.errors import BadUse
from ..core.files import replace_text
from ..core.git import Git
from .bundle.folder import Bundle
from .content.citation import OF_VERSION, find_dois, list_licences, name_doi
from .content.contents import Contents
from .content.selection import select

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
        cite(archive, release, list_licences(bundle.package.get("licenses", ())))
    return [path for path, text in zip(paths, before, strict=True) if (archive.root / path).read_bytes() != text]


def cite(archive: Archive, release: Release, licences: list[str]) -> bool:
    """Write the DOIs of a version, published or reserved, and the licences to CITATION.cff; return whether it changed.

    Does nothing if the file is about another version. Raises BadUse if it can't be read; OSError.
    """
    import yaml

    citation = read_yaml(archive.root, CITATION)
    if str(citation.get("version")) != release.version:
        return False
    named = name_doi(citation, release.version, release.doi, release.concept_doi) | {"license": licences}
    if named == citation:
        return False
    replace_text(archive.root / CITATION, yaml.safe_dump(named, sort_keys=False, allow_unicode=True, width=120))
    return True


def find_earlier(archive: Archive, version: str) -> str:
    """Return what shows that a version is not the archive's first, or nothing."""
    named = find_dois(Contents(archive, select(archive)).citation)
    for doi, description in named.items():
        if description != OF_VERSION.format(version):
            return f"{CITATION} names {doi}: {description}"
    for each in archive.lock.get("releases", ()):
        if each["version"] != version:
            return f"{LOCK} names version {each['version']} at {each['target']}"
    tags = [each for each in Git(archive.root).ask("tag").split() if each != version and read_version(each)]
    return f"git has the tag {tags[-1]} of another version" if tags else ""


def require_newer(version: str, others: Iterable[str], place: str) -> None:
    """Raise BadUse if a version is lower than the highest of the others. Names that are no versions don't count."""
    known = [found for found in map(read_version, others) if found]
    this = read_version(version)
    if known and this and this < max(known):
        raise BadUse(
            place,
            f"the last version there is {max(known)}, and {version} is lower",
            kept="nothing was sent",
            next="raise the version; or add --older, if it is meant to come after",
        )


def read_version(text: str) -> Version | None:
    """Return a version that can be compared, or None."""
    try:
        return Version(text) if text[:1].isdigit() else None
    except InvalidVersion:
        return None
