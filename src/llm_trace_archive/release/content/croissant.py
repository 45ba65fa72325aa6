"""croissant.json: the tables as Croissant 1.0 record sets, made and judged by mlcroissant, the format's own library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from . import notice

NAME = "croissant.json"


def croissant(
    package: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], citation: Mapping[str, Any]
) -> dict[str, Any]:
    """The Croissant description of a release: a file and a record set a table, all its columns, paths relative.

    package   the release's datapackage.json
    schemas   each Table Schema by its path
    citation  CITATION.cff
    """
    import mlcroissant as mlc

    creators = [
        mlc.Person(name=_person(each)) if "family-names" in each else mlc.Organization(name=str(each["name"]))
        for each in citation.get("authors", ())
    ]
    released = citation.get("date-released")
    licences = [licence for each in (package, *package["resources"]) for licence in each["licenses"]]
    metadata = mlc.Metadata(
        name=package["title"],
        description=package["description"],
        version=package["version"],
        url=package["homepage"],
        license=list(notice.pages(licences).values()),
        creators=creators,
        keywords=list(citation.get("keywords", ())),
        cite_as=cite(citation),
        date_published=datetime.fromisoformat(str(released)) if released else None,
        distribution=[_file(each) for each in package["resources"]],
        record_sets=[_records(each, schemas[each["schema"]]) for each in package["resources"]],
    )
    made: dict[str, Any] = json.loads(json.dumps(metadata.to_json(), default=str))
    return made


def faults(made: Mapping[str, Any]) -> list[str]:
    """What mlcroissant finds wrong or missing in a description."""
    import mlcroissant as mlc

    try:
        issues = mlc.Metadata.from_json(ctx=mlc.Context(), json_=dict(made)).ctx.issues
    except mlc.ValidationError as error:
        return [str(error)]
    return sorted({str(each) for each in (*issues.errors, *issues.warnings)})


def cite(citation: Mapping[str, Any]) -> str:
    """How to cite the archive, as one line."""
    authors = ", ".join(
        _person(each) if "family-names" in each else str(each["name"]) for each in citation.get("authors", ())
    )
    told = [authors, citation.get("title"), f"version {citation.get('version')}", citation.get("date-released")]
    told += [f"https://doi.org/{citation['doi']}" if "doi" in citation else citation.get("repository-code")]
    return ", ".join(str(each) for each in told if each) + "; and the authors of the traces used, see NOTICE"


def _person(author: Mapping[str, Any]) -> str:
    return " ".join(str(author[key]) for key in ("given-names", "name-particle", "family-names") if author.get(key))


def _licence(resource: Mapping[str, Any]) -> str:
    return str(resource["licenses"][0]["name"])


def _file(resource: Mapping[str, Any]) -> Any:
    import mlcroissant as mlc

    return mlc.FileObject(
        id=f"{resource['name']}-file",
        name=resource["path"],
        description=f"Licence: {_licence(resource)}. Cite: {resource['citation']}",
        content_url=resource["path"],
        content_size=f"{resource['bytes']} B",
        encoding_formats=["application/x-parquet"],  # the one name of Parquet that mlcroissant reads
        sha256=resource["hash"].removeprefix("sha256:"),
    )


def _records(resource: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    import mlcroissant as mlc

    name = resource["name"]
    types = {
        "boolean": mlc.DataType.BOOL,
        "integer": mlc.DataType.INTEGER,
        "number": mlc.DataType.FLOAT,
        "string": mlc.DataType.TEXT,
    }
    fields = []
    for field in schema["fields"]:
        is_list = field["type"] == "array"
        fields.append(
            mlc.Field(
                id=f"{name}/{field['name']}",
                name=field["name"],
                description=_meaning(field),
                data_types=types[field["arrayItem"]["type"] if is_list else field["type"]],
                repeated=is_list,
                source=mlc.Source(file_object=f"{name}-file", extract=mlc.Extract(column=field["name"])),
            )
        )
    return mlc.RecordSet(
        id=name,
        name=f"{resource['trace']}/{resource['workload']}",
        description=resource["title"],
        key=[f"{name}/{column}" for column in _key(schema)],
        fields=fields,
    )


def _meaning(field: Mapping[str, Any]) -> str:
    unit = f" Unit: {field['unit']}." if "unit" in field else ""
    return f"{field['description']}{unit}"


def _key(schema: Mapping[str, Any]) -> Iterable[str]:
    key = schema.get("primaryKey", ())
    return [key] if isinstance(key, str) else key
