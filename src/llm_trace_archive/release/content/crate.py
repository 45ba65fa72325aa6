"""ro-crate-metadata.json: the bundle as an RO-Crate 1.1, every file with its licence and origin.

https://www.researchobject.org/ro-crate/specification/1.1/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from . import notice
from .croissant import cite

NAME = "ro-crate-metadata.json"
MEDIA_TYPES = {
    ".json": "application/json",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".cff": "application/yaml",
}


def crate(package: Mapping[str, Any], citation: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """The crate of a release: `package` is its datapackage.json, `citation` its CITATION.cff.

    texts  paths of the bundle's files that are not tables
    """
    resources = package["resources"]
    licences = notice.pages(licence for each in (package, *resources) for licence in each["licenses"])
    home = package["homepage"]
    authors = [_author(each, home) for each in citation.get("authors", ())]
    publisher = {"@id": home, "@type": "Organization", "name": package["title"], "url": home}
    texts = sorted(path for path in texts if path != NAME)  # the descriptor is not a part of what it describes
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": package["title"],
        "description": package["description"],
        "version": package["version"],
        "url": package["homepage"],
        "datePublished": str(citation.get("date-released", "")),
        "license": _ids(notice.pages(package["licenses"]).values()),
        "author": _ids(each["@id"] for each in authors),
        "publisher": _ids([package["homepage"]]),
        "keywords": ", ".join(citation.get("keywords", ())),
        "creditText": cite(citation),
        "hasPart": _ids([*(each["path"] for each in resources), *texts]),
    }
    graph = [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        },
        {key: value for key, value in root.items() if value},
        *(_table(each) for each in resources),
        *(_text(path) for path in texts),
        *({"@id": url, "@type": "CreativeWork", "name": key, "description": "SPDX licence"} | {"url": url}
          for key, url in licences.items()),
        *_origins(resources),
        *authors,
        publisher,
    ]  # fmt: skip
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _table(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@id": resource["path"],
        "@type": "File",
        "name": resource["title"],
        "description": resource["description"],
        "encodingFormat": resource["mediatype"],
        "contentSize": str(resource["bytes"]),
        "identifier": resource["hash"],
        "license": _ids(notice.pages(resource["licenses"]).values()),
        "isBasedOn": _ids(each["path"] for each in resource["sources"]),
        "creditText": resource["citation"],
    }


def _text(path: str) -> dict[str, str]:
    media = MEDIA_TYPES.get(PurePosixPath(path).suffix, "text/plain")
    return {"@id": path, "@type": "File", "name": path, "encodingFormat": media}


def _origins(resources: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    for url, title in {each["path"]: each["title"] for found in resources for each in found["sources"]}.items():
        yield {"@id": url, "@type": "CreativeWork", "name": title, "url": url}


def _author(author: Mapping[str, Any], home: str) -> dict[str, str]:
    if "family-names" not in author:
        name = str(author["name"])
        return {"@id": f"#{name.replace(' ', '-')}", "@type": "Organization", "name": name, "url": home}
    name = f"{author.get('given-names', '')} {author['family-names']}".strip()
    return {"@id": str(author.get("orcid") or f"#{name.replace(' ', '-')}"), "@type": "Person", "name": name}


def _ids(urls: Iterable[str]) -> dict[str, str] | list[dict[str, str]]:
    """References; a single one stands by itself, as the specification recommends."""
    found = [{"@id": url} for url in urls]
    return found[0] if len(found) == 1 else found
