"""The metadata of a release for Zenodo: CITATION.cff, datapackage.json and the recipes in the terms of InvenioRDM."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.archive import CITATION, Archive
from ...core.errors import BadUse
from ...core.recipe import Recipe
from ..content.citation import read_licences
from ..content.crate import find_media_type
from ..content.notice import find_pages
from .answers import Record

NEXT = "correct CITATION.cff, then llm-traces release bundle DIR"
ENGLISH = "eng"
# In every record and draft that llm-traces makes, so that it knows them from those that people make.
MADE = "Made by llm-traces release: version {version} of {repository}"


def describe_record(
    root: Path,
    citation: Mapping[str, Any],
    package: Mapping[str, Any],
    sizes: Mapping[str, int],
    is_known: Callable[[str], bool],
) -> dict[str, Any]:
    """Return the `metadata` of a record (https://inveniordm.docs.cern.ch/reference/metadata/).

    root       of an archive or a bundle, whose recipes name authors and rights holders
    sizes      of the files in bytes, by path; empty if they are not known yet
    is_known   returns whether the server's vocabulary has a licence of that id

    Raises BadUse if CITATION.cff lacks a required field.
    """
    for key in ("title", "authors", "date-released"):
        if not citation.get(key):
            raise BadUse(CITATION, f"the file lacks {key}, which Zenodo requires", next=NEXT)
    version, repository = str(package.get("version", "")), find_repository(citation, package)
    archive = Archive(root)
    recipes = [archive.recipe(trace) for trace in dict.fromkeys(str(each["trace"]) for each in package["resources"])]
    made = MADE.format(version=version, repository=repository)
    return {
        "resource_type": {"id": "dataset"},
        "title": str(citation["title"]),
        "creators": [_describe_creator(each) for each in citation["authors"]],
        "contributors": list(_list_contributors(recipes)),
        "publication_date": str(citation["date-released"]),
        "version": version,
        "publisher": "Zenodo",
        "description": _compose_description(str(citation.get("abstract") or ""), package),
        "additional_descriptions": [{"description": made, "type": {"id": "technical-info"}}],
        "rights": list(_list_rights(citation, package, is_known)),
        "subjects": [{"subject": str(each)} for each in citation.get("keywords", ())],
        "languages": [{"id": ENGLISH}],
        "related_identifiers": list(_list_related(recipes, package, repository)),
    } | _measure(sizes, package)


def find_repository(citation: Mapping[str, Any], package: Mapping[str, Any]) -> str:
    """Return the repository's URL, which with the title identifies our records among the user's. Raises BadUse."""
    url = citation.get("repository-code") or package.get("homepage")
    if not url:
        raise BadUse(CITATION, "the file lacks repository-code, which identifies our records", next=NEXT)
    return str(url)


def is_made_by_us(draft: Record, repository: str) -> bool:
    """Return whether llm-traces made a draft. One that somebody started from our record has another version or none."""
    return MADE.format(version=draft.version, repository=repository) in draft.notes


def _describe_creator(author: Mapping[str, Any]) -> dict[str, Any]:
    """Return an author of CITATION.cff: a person if there is a family name, else an organisation."""
    family = " ".join(str(author[key]) for key in ("name-particle", "family-names", "name-suffix") if author.get(key))
    given = str(author.get("given-names") or "")
    who: dict[str, Any] = (
        {"type": "personal", "family_name": family} | ({"given_name": given} if given else {})
        if author.get("family-names")
        else {"type": "organizational", "name": str(author.get("name") or given)}
    )
    if author.get("orcid"):
        orcid = str(author["orcid"]).rstrip("/").rpartition("/")[2]
        who["identifiers"] = [{"scheme": "orcid", "identifier": orcid}]
    places = [{"name": str(author["affiliation"])}] if author.get("affiliation") else []
    return {"person_or_org": who} | ({"affiliations": places} if places else {})


def _list_contributors(recipes: list[Recipe]) -> Iterator[dict[str, Any]]:
    """Yield the authors of the traces, as their citations name them, and those who hold the copyright."""
    names: dict[tuple[str, str], None] = {}
    for recipe in recipes:
        names[f"{recipe.cite.partition(',')[0]}, authors of {recipe.title}", "datacollector"] = None
        for notice in recipe.licence.get("copyright", ()):
            holder = re.sub(r"^(?:(?:Copyright|©|\(c\))\s*)+[\d\s,–-]*(?:by\s+)?", "", notice, flags=re.IGNORECASE)
            names[holder, "rightsholder"] = None
    for name, role in names:
        yield {"person_or_org": {"type": "organizational", "name": name}, "role": {"id": role}}


def _compose_description(abstract: str, package: Mapping[str, Any]) -> str:
    """Return the abstract and a list of the tables, in simple HTML. Without its tags it is still readable.

    DataCite and search engines drop the tags, and with them what separates the cells of a table.
    """
    paragraphs = [f"<p>{html.escape(each.strip())}</p>" for each in abstract.split("\n\n") if each.strip()]
    items = []
    for each in package["resources"]:
        count = each.get("facts", {}).get("rows")
        licences = " and ".join(licence["name"] for licence in each.get("licenses", ()))
        facts = ", ".join(filter(None, (f"{count:,} rows" if count is not None else "", licences)))
        text = f"{each['trace']}/{each['workload']}: {facts}. Cite: {str(each.get('citation', '')).rstrip('.')}."
        items.append(f"<li>{html.escape(text)} </li>")
    head = "<p>It holds these tables. Cite the authors of those you use, each as given here.</p>"
    return "\n".join([*paragraphs, head, "<ul>", *items, "</ul>"])


def _measure(sizes: Mapping[str, int], package: Mapping[str, Any]) -> dict[str, Any]:
    if not sizes:
        return {}
    rows = sum(int(each.get("facts", {}).get("rows") or 0) for each in package["resources"])
    return {
        "sizes": [f"{len(sizes)} files", f"{sum(sizes.values()) / 1e6:,.1f} MB", f"{rows:,} rows"],
        "formats": sorted({find_media_type(path) for path in sizes}),
    }


def _list_rights(
    citation: Mapping[str, Any], package: Mapping[str, Any], is_known: Callable[[str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield every licence once, those of the data first: by id, or with title and link if the server lacks the id."""
    resources = [licence for each in package["resources"] for licence in each.get("licenses", ())]
    own = [{"name": each, "path": ""} for each in read_licences(citation)]
    for name, link in find_pages([*package.get("licenses", ()), *resources, *own]).items():
        if is_known(name.lower()):
            yield {"id": name.lower()}
        else:
            yield {"title": {"en": name}} | ({"link": link} if link.startswith("http") else {})


def _list_related(recipes: list[Recipe], package: Mapping[str, Any], repository: str) -> Iterator[dict[str, Any]]:
    """Yield the papers, the upstream files and records that the tables derive from, and the repository."""
    for recipe in {each.doi: each for each in recipes if each.doi}.values():
        # Zenodo's DOIs are of data; those of other publishers are of papers.
        is_data = str(recipe.doi).startswith("10.5281/zenodo.")
        kind, relation = ("dataset", "isderivedfrom") if is_data else ("publication", "references")
        yield _relate("doi", str(recipe.doi), relation, kind)
    paths = [str(source.get("path", "")) for each in package["resources"] for source in each.get("sources", ())]
    for path in dict.fromkeys(paths):
        if path.startswith(("https://", "http://")):
            yield _relate("url", path, "isderivedfrom", "dataset")
    yield _relate("url", repository, "issupplementto", "software")


def _relate(scheme: str, identifier: str, relation: str, kind: str) -> dict[str, Any]:
    return {
        "scheme": scheme,
        "identifier": identifier,
        "relation_type": {"id": relation},
        "resource_type": {"id": kind},
    }
