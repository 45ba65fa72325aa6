"""ro-crate-metadata.json: the bundle as an RO-Crate 1.1, every file with its licence and origin.

https://www.researchobject.org/ro-crate/specification/1.1/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from . import notice
from .citation import find_doi, format_citation

NAME = "ro-crate-metadata.json"
MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".md": "text/markdown",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".cff": "application/yaml",
}


def describe_files(package: Mapping[str, Any], citation: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """Return the RO-Crate of a release as JSON-LD. The same release gives the same graph, in the same order.

    package   the release's datapackage.json
    citation  CITATION.cff
    texts     paths of the bundle's files that are not tables
    """
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")

    def add(kind: str, identifier: str, **properties: str) -> Any:
        return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))

    resources, home = package["resources"], package["homepage"]
    licences = {
        name: add("CreativeWork", page, name=name, description="SPDX licence", url=page)
        for name, page in notice.find_pages(each for part in (package, *resources) for each in part["licenses"]).items()
    }
    origins = {each["path"]: each["title"] for resource in resources for each in resource["sources"]}
    works = {url: add("CreativeWork", url, name=title, url=url) for url, title in origins.items()}
    for each in resources:
        properties = {
            "name": each["title"],
            "description": each["description"],
            "encodingFormat": each["mediatype"],
            "contentSize": str(each["bytes"]),
            "identifier": each["hash"],
            "creditText": each["citation"],
        }
        table = crate.add_file(dest_path=each["path"], properties=properties)
        _refer(table, "license", [licences[name] for name in notice.find_pages(each["licenses"])])
        _refer(table, "isBasedOn", [works[source["path"]] for source in each["sources"]])
    for path in sorted(texts):
        if path != NAME:  # the library describes this file itself
            crate.add_file(dest_path=path, properties={"name": path, "encodingFormat": find_media_type(path)})
    root, doi = crate.root_dataset, find_doi(citation, package["version"])
    del root["datePublished"]  # the library sets it to the present time
    described = {
        "name": package["title"],
        "description": package["description"],
        "version": package["version"],
        "identifier": f"https://doi.org/{doi}" if doi else "",
        "url": home,
        "datePublished": str(citation.get("date-released", "")),
        "publisher": add("Organization", home, name=package["title"], url=home),
        "keywords": ", ".join(citation.get("keywords", ())),
        "creditText": format_citation(citation),
    }
    for name, value in described.items():
        if value:
            root[name] = value
    _refer(root, "license", [licences[name] for name in notice.find_pages(package["licenses"])])
    _refer(root, "author", [add(**_author(each, home)) for each in citation.get("authors", ())])
    described_crate: dict[str, Any] = crate.metadata.generate()
    return described_crate


def find_media_type(path: str) -> str:
    """Return the media type of a file in a bundle."""
    return MEDIA_TYPES.get(PurePosixPath(path).suffix, "text/plain")


def _author(author: Mapping[str, Any], home: str) -> dict[str, str]:
    if "family-names" not in author:
        name = str(author["name"])
        return {"kind": "Organization", "identifier": f"#{name.replace(' ', '-')}", "name": name, "url": home}
    name = f"{author.get('given-names', '')} {author['family-names']}".strip()
    return {"kind": "Person", "identifier": str(author.get("orcid") or f"#{name.replace(' ', '-')}"), "name": name}


def _refer(entity: Any, name: str, entities: Sequence[Any]) -> None:
    """Refer to entities. One stands by itself, not in a list."""
    if entities:
        entity.append_to(name, list(entities), compact=True)
