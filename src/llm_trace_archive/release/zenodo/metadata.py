"""A bundle's metadata for Zenodo: CITATION.cff and datapackage.json in the terms of InvenioRDM."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...core.archive import CITATION
from ...core.errors import BadUse
from ..bundle.folder import Bundle

NEXT = "correct CITATION.cff, then llm-traces release bundle DIR"


def describe_record(bundle: Bundle, is_known: Callable[[str], bool]) -> dict[str, Any]:
    """Return the `metadata` of a record (https://inveniordm.docs.cern.ch/reference/metadata/).

    is_known  returns whether the server's vocabulary has a licence of that id

    Raises BadUse if CITATION.cff lacks a required field.
    """
    citation, package = bundle.citation, bundle.package
    for key in ("title", "authors", "date-released"):
        if not citation.get(key):
            raise BadUse(CITATION, f"the file lacks {key}, which Zenodo requires", next=NEXT)
    return {
        "resource_type": {"id": "dataset"},
        "title": str(citation["title"]),
        "creators": [_describe_creator(each) for each in citation["authors"]],
        "publication_date": str(citation["date-released"]),
        "version": bundle.version,
        "publisher": "Zenodo",
        "description": _compose_description(str(citation.get("abstract") or ""), package),
        "rights": list(_list_rights(citation, package, is_known)),
        "subjects": [{"subject": str(each)} for each in citation.get("keywords", ())],
        "related_identifiers": list(_list_related(bundle)),
    }


def find_repository(bundle: Bundle) -> str:
    """Return the repository's URL, which with the title identifies our records among the user's. Raises BadUse."""
    url = bundle.citation.get("repository-code") or bundle.package.get("homepage")
    if not url:
        raise BadUse(CITATION, "the file lacks repository-code, which identifies our records", next=NEXT)
    return str(url)


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


def _compose_description(abstract: str, package: Mapping[str, Any]) -> str:
    """Return the abstract and a table of the traces, in simple HTML, as Zenodo keeps no other."""
    text = html.escape(abstract).strip().replace("\n\n", "</p><p>")
    rows = [("trace", "table", "rows", "licence", "cite")]
    for each in package["resources"]:
        count = each.get("facts", {}).get("rows")
        licences = " and ".join(licence["name"] for licence in each.get("licenses", ()))
        rows.append(
            (
                str(each.get("trace", each["name"])),
                str(each.get("workload", each["path"])),
                f"{count:,}" if count is not None else "",
                licences,
                str(each.get("citation", "")),
            )
        )
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    table = "".join(f"<tr>{row}</tr>" for row in [cells[0].replace("td>", "th>"), *cells[1:]])
    return f"<p>{text}</p><table><tbody>{table}</tbody></table>"


def _list_rights(
    citation: Mapping[str, Any], package: Mapping[str, Any], is_known: Callable[[str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield every licence once: by its id, or with title and link if the server does not know it."""
    own = citation.get("license") or ()
    names = dict.fromkeys([own] if isinstance(own, str) else own, "")
    for each in package["resources"]:
        for licence in each.get("licenses", ()):
            for name in re.split(r"\s+(?:AND|OR|WITH)\s+|[()]", licence["name"]):
                if name.strip():
                    names[name.strip()] = names.get(name.strip()) or str(licence.get("path", ""))
    for name, link in names.items():
        if is_known(name.lower()):
            yield {"id": name.lower()}
        else:
            yield {"title": {"en": name}} | ({"link": link} if link.startswith("http") else {})


def _list_related(bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Yield the upstreams' DOIs and files, which the tables derive from, and the repository."""
    identifiers: dict[tuple[str, str], None] = {}
    for each in bundle.package["resources"]:
        if each.get("doi"):
            identifiers["doi", str(each["doi"])] = None
        for source in each.get("sources", ()):
            if str(source.get("path", "")).startswith(("https://", "http://")):
                identifiers["url", str(source["path"])] = None
    for scheme, identifier in identifiers:
        yield {"scheme": scheme, "identifier": identifier, "relation_type": {"id": "isderivedfrom"}}
    yield {
        "scheme": "url",
        "identifier": find_repository(bundle),
        "relation_type": {"id": "issupplementto"},
        "resource_type": {"id": "software"},
    }
