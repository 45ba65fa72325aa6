"""What an InvenioRDM server answers, read strictly: any other answer is a failure that names what it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...upstream.http import Failure
from ..record import RemoteFile

ID = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True)
class Record:
    """A version of a record, published or a draft.

    concept      the id that all its versions share
    created      the time, as text that sorts
    doi          of this version, and concept_doi of all versions; empty where there is none yet
    metadata     as it was sent
    """

    id: str
    concept: str
    is_published: bool
    created: str = ""
    doi: str = ""
    concept_doi: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """The number of the version; empty where it is not set."""
        return str(self.metadata.get("version") or "")

    @property
    def title(self) -> str:
        """The title; empty where it is not set."""
        return str(self.metadata.get("title") or "")

    @property
    def related(self) -> frozenset[str]:
        """The identifiers of what the record relates to."""
        return frozenset(_list_values(self.metadata.get("related_identifiers"), "identifier"))

    @property
    def notes(self) -> frozenset[str]:
        """The additional descriptions."""
        return frozenset(_list_values(self.metadata.get("additional_descriptions"), "description"))


def read_record(answer: Any) -> Record:
    """Return the record or draft in an answer. Raises Failure."""
    record = _require(dict, answer, "a record")
    parent = _require(dict, record.get("parent"), "a record with `parent`")
    metadata = _require(dict, record.get("metadata", {}), "a record with `metadata`")
    return Record(
        id=read_id(record.get("id"), "a record"),
        concept=read_id(parent.get("id"), "a record's `parent`"),
        is_published=_require(bool, record.get("is_published"), "a record with `is_published`"),
        created=str(record.get("created") or ""),
        doi=_find_doi(record),
        concept_doi=_find_doi(parent),
        metadata=metadata,
    )


def read_id(value: Any, of: str) -> str:
    """Return an id. Raises Failure."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Failure(f"the answer is not {of} with an `id`")
    return value


def read_name(answer: Any) -> str:
    """Return the id of an entry of a vocabulary, or of a community. Raises Failure."""
    return read_id(_require(dict, answer, "an entry").get("id"), "an entry")


def read_page(answer: Any) -> tuple[list[Any], int]:
    """Return the hits of a page of a listing, and how many there are on all pages. Raises Failure."""
    hits = _require(dict, _require(dict, answer, "a listing").get("hits"), "a listing with `hits`")
    return _require(list, hits.get("hits"), "a listing with `hits.hits`"), _require(
        int, hits.get("total"), "a listing with `hits.total`"
    )


def read_names(answer: Any) -> set[str]:
    """Return the ids and names of the communities in a listing. Raises Failure."""
    found, _ = read_page(answer)
    return {str(each[key]) for each in found if isinstance(each, dict) for key in ("id", "slug") if key in each}


def read_files(answer: Any) -> dict[str, RemoteFile | None]:
    """Return the files of a record or draft by key; None for an incomplete file. Raises Failure."""
    entries = _require(list, _require(dict, answer, "a list of files").get("entries"), "a list of files with `entries`")
    files = {}
    for each in entries:
        key = _require(str, _require(dict, each, "a list of files").get("key"), "a list of files with a `key` each")
        files[key] = read_entry(each)
    return files


def read_entry(answer: Any) -> RemoteFile | None:
    """Return a file's entry; None if the file is incomplete. Raises Failure."""
    entry = _require(dict, answer, "a file's entry")
    if entry.get("status") != "completed":
        return None
    kind, _, digest = str(entry.get("checksum") or "").partition(":")
    return RemoteFile(_require(int, entry.get("size"), "a file's entry with `size`"), kind, digest)


def list_errors(errors: Any) -> Iterator[tuple[str, str]]:
    """Yield the errors of an answer as (field, text). They are a list of {"field", "messages"}, or one text."""
    if isinstance(errors, str):
        yield "", errors
        return
    for each in errors if isinstance(errors, list) else ():
        if not isinstance(each, dict):
            yield "", str(each)
            continue
        messages = each.get("messages") or [each.get("message", "")]
        texts = messages if isinstance(messages, list) else [messages]
        yield str(each.get("field") or each.get("community_id") or ""), " ".join(map(str, texts))


def _require(kind: type, value: Any, what: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Failure(f"the answer is not {what}")
    return value


def _find_doi(record: Mapping[str, Any]) -> str:
    pids = record.get("pids")
    doi = pids.get("doi") if isinstance(pids, dict) else None
    identifier = doi.get("identifier") if isinstance(doi, dict) else None
    return identifier if isinstance(identifier, str) and re.fullmatch(r"10\.\d{4,9}/[!-~]{1,100}", identifier) else ""


def _list_values(value: Any, key: str) -> Iterator[str]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict) and isinstance(each.get(key), str):
            yield each[key]
