"""croissant.json: the tables as Croissant 1.0 record sets, by mlcroissant, the format's own library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from . import notice
from .citation import find_doi, format_citation, format_name

NAME = "croissant.json"


def describe_tables(
    package: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], citation: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the Croissant description of a release: one file and one record set per table, with relative paths.

    package   the release's datapackage.json
    schemas   the Table Schemas by path
    citation  CITATION.cff
    """
    import mlcroissant as mlc

    creators = [
        mlc.Person(name=format_name(each)) if "family-names" in each else mlc.Organization(name=str(each["name"]))
        for each in citation.get("authors", ())
    ]
    released = citation.get("date-released")
    licences = [licence for each in (package, *package["resources"]) for licence in each["licenses"]]
    metadata = mlc.Metadata(
        name=package["title"],
        description=package["description"],
        version=package["version"],
        url=package["homepage"],
        license=list(notice.find_pages(licences).values()),
        creators=creators,
        keywords=list(citation.get("keywords", ())),
        cite_as=format_citation(citation),
        date_published=datetime.fromisoformat(str(released)) if released else None,
        distribution=[_describe_file(each) for each in package["resources"]],
        record_sets=[_describe_records(each, schemas[each["schema"]]) for each in package["resources"]],
    )
    description: dict[str, Any] = json.loads(json.dumps(metadata.to_json(), default=str))
    doi = find_doi(citation, package["version"])
    return description | ({"identifier": f"https://doi.org/{doi}"} if doi else {})  # the library lacks it


def find_faults(description: Mapping[str, Any]) -> list[str]:
    """Return the errors and warnings of mlcroissant about a description."""
    import mlcroissant as mlc

    try:
        issues = mlc.Metadata.from_json(ctx=mlc.Context(), json_=dict(description)).ctx.issues
    except mlc.ValidationError as error:
        return [str(error)]
    return sorted({str(each) for each in (*issues.errors, *issues.warnings)})


def _describe_file(resource: Mapping[str, Any]) -> Any:
    import mlcroissant as mlc

    return mlc.FileObject(
        id=f"{resource['name']}-file",
        name=resource["path"],
        description=f"Licence: {resource['licenses'][0]['name']}. Cite: {resource['citation']}",
        content_url=resource["path"],
        content_size=f"{resource['bytes']} B",
        encoding_formats=["application/x-parquet"],  # the only name of Parquet that mlcroissant knows
        sha256=resource["hash"].removeprefix("sha256:"),
    )


def _describe_records(resource: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
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
                description=_describe_field(field),
                data_types=types[field["arrayItem"]["type"] if is_list else field["type"]],
                repeated=is_list,
                source=mlc.Source(file_object=f"{name}-file", extract=mlc.Extract(column=field["name"])),
            )
        )
    return mlc.RecordSet(
        id=name,
        name=f"{resource['trace']}/{resource['workload']}",
        description=resource["title"],
        key=[f"{name}/{column}" for column in _find_key(schema)],
        fields=fields,
    )


def _describe_field(field: Mapping[str, Any]) -> str:
    unit = f" Unit: {field['unit']}." if "unit" in field else ""
    return f"{field['description']}{unit}"


def _find_key(schema: Mapping[str, Any]) -> Iterable[str]:
    key = schema.get("primaryKey", ())
    return [key] if isinstance(key, str) else key
