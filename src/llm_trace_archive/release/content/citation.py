"""CITATION.cff: how to cite the archive, with the DOI of the version that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...core.archive import CITATION, Archive
from ...core.documents import read_yaml
from ...core.errors import BadUse
from .notice import find_pages

# A DOI is the version's by its description, so that an earlier one is never taken for it.
OF_VERSION = "The DOI of version {0}."
OF_CONCEPT = "The concept DOI, of all versions."
PLACEHOLDER = re.compile(
    r"\b(?:todo|tbd|fixme|xxx|placeholder|example|anonymous|unknown|nobody|somebody|(?:your|my|full|first|last) name"
    r"|name here|(?:john|jane|jo) doe|doe|lorem)\b",
    re.IGNORECASE,
)
SAMPLE_ORCIDS = ("0000-0002-1825-0097", "0000-0000-0000-0000")  # ORCID's own example, and one to fill in


def read_citation(archive: Archive) -> dict[str, Any]:
    """Return the archive's CITATION.cff, every value as text; nothing if it is missing or not YAML."""
    try:
        return read_yaml(archive.root, CITATION)
    except BadUse:
        return {}


def find_doi(citation: Mapping[str, Any], version: str) -> str:
    """Return the DOI of a version, or nothing."""
    wanted = OF_VERSION.format(version)
    return next((doi for doi, description in find_dois(citation).items() if description == wanted), "")


def find_concept_doi(citation: Mapping[str, Any]) -> str:
    """Return the DOI of all versions, or nothing."""
    return next((doi for doi, description in find_dois(citation).items() if description == OF_CONCEPT), "")


def find_dois(citation: Mapping[str, Any]) -> dict[str, str]:
    """Return the description of each DOI in `identifiers`, by DOI."""
    identifiers = citation.get("identifiers")
    dois = [each for each in identifiers if isinstance(each, dict)] if isinstance(identifiers, list) else []
    return {str(each.get("value")): str(each.get("description", "")) for each in dois if each.get("type") == "doi"}


def name_doi(citation: Mapping[str, Any], version: str, doi: str, concept_doi: str) -> dict[str, Any]:
    """Return CITATION.cff with the DOI of its version, and of all versions if that is known, and no other.

    The version's comes first: of several, tools such as cffconvert take the first.
    """
    found = {OF_VERSION.format(version): doi, OF_CONCEPT: concept_doi or find_concept_doi(citation)}
    identifiers = citation.get("identifiers")
    others = [
        each
        for each in (identifiers if isinstance(identifiers, list) else ())
        if not isinstance(each, dict) or each.get("type") != "doi"
    ]
    dois = [
        {"type": "doi", "value": value, "description": description} for description, value in found.items() if value
    ]
    return {**citation, "doi": doi, "identifiers": [*dois, *others]}


def list_licences(licences: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the SPDX ids among a package's licences, the only ones CITATION.cff knows; NOTICE names the others."""
    return [key for key in find_pages(licences) if not key.startswith("LicenseRef-")]


def read_licences(citation: Mapping[str, Any]) -> list[str]:
    """Return the licences that CITATION.cff names: one, or a list of them."""
    licence = citation.get("license") or []
    return [str(each) for each in licence] if isinstance(licence, list) else [str(licence)]


def format_citation(citation: Mapping[str, Any]) -> str:
    """Return how to cite the archive, on one line."""
    authors = ", ".join(format_name(each) for each in citation.get("authors", ()))
    parts = [authors, citation.get("title"), f"version {citation.get('version')}", citation.get("date-released")]
    parts += [f"https://doi.org/{citation['doi']}" if "doi" in citation else citation.get("repository-code")]
    return ", ".join(str(each) for each in parts if each) + "; and the authors of the traces used, see NOTICE"


def format_name(author: Mapping[str, Any]) -> str:
    """Return the name of an author: a person if there is a family name, else an organisation."""
    if "family-names" not in author:
        return str(author.get("name", ""))
    return " ".join(str(author[key]) for key in ("given-names", "name-particle", "family-names") if author.get(key))


def find_placeholder(author: Mapping[str, Any], title: str) -> str:
    """Return what of an author is no name of a person or an organisation, or nothing. `title` is the archive's."""
    name, orcid = format_name(author), str(author.get("orcid", ""))
    if not name.strip() or PLACEHOLDER.search(name) or (title and title.casefold() in name.casefold()):
        return name or "no name"
    return orcid if any(each in orcid for each in SAMPLE_ORCIDS) else ""
