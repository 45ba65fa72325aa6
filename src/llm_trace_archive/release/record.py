"""What a release left behind: where it is, written back into the lock and CITATION.cff as a change to commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
