"""How the fake InvenioRDM checks metadata, and the texts of its errors."""

from __future__ import annotations

import re
from typing import Any

LICENCES = ("apache-2.0", "cc-by-4.0", "mit")
RELATIONS = ("isderivedfrom", "issupplementto", "references")
ROLES = ("datacollector", "rightsholder")
RESOURCE_TYPES = ("dataset", "publication", "software")


class Answer(Exception):
    """An answer, which any depth of the code may raise."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers


def refusal(status: int, message: str, *errors: tuple[str, str]) -> Answer:
    found = [{"field": name, "messages": [text]} for name, text in errors]
    return Answer(status, {"status": status, "message": message} | ({"errors": found} if found else {}))


def judge(metadata: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the metadata without wrong fields, and their errors. Raises Answer for an unknown vocabulary id."""
    kept, errors = dict(metadata or {}), []

    def drop(key: str, field_: str, text: str) -> None:
        kept.pop(key, None)
        errors.append((f"metadata.{field_}", text))

    for key in ("resource_type", "title", "publication_date", "creators", "publisher"):
        if not kept.get(key):
            drop(key, key, "Missing data for required field.")
    if 0 < len(kept.get("title", "")) < 3:
        drop("title", "title", "Shorter than minimum length 3.")
    if not re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", kept.get("publication_date", "2026")):
        drop("publication_date", "publication_date", "Please provide a valid date or interval.")
    for number, creator in enumerate(kept.get("creators", ())):
        who = creator["person_or_org"]
        if who["type"] not in ("personal", "organizational"):
            drop("creators", f"creators.{number}.person_or_org.type", "Invalid value.")
        elif not who.get("family_name" if who["type"] == "personal" else "name"):
            drop("creators", f"creators.{number}.person_or_org.family_name", "Family name cannot be blank.")
    for each in kept.get("rights", ()):
        if "id" in each and each["id"] not in LICENCES:
            raise refusal(400, f"Invalid value {each['id']}.")
        if "id" not in each and not each.get("title", {}).get("en"):
            drop("rights", "rights", "An identifier or title must be present.")
    for each in kept.get("contributors", ()):
        if each["role"]["id"] not in ROLES:
            raise refusal(400, f"Invalid value {each['role']['id']}.")
        if each["person_or_org"]["type"] != "organizational" or not each["person_or_org"]["name"]:
            drop("contributors", "contributors.0.person_or_org.name", "Name cannot be blank.")
    for each in kept.get("languages", ()):
        if each != {"id": "eng"}:
            raise refusal(400, f"Invalid value {each}.")
    for each in kept.get("additional_descriptions", ()):
        if each.keys() != {"description", "type"} or each["type"] != {"id": "technical-info"}:
            raise refusal(400, f"Invalid value {each}.")
    for key in ("sizes", "formats"):
        if not all(isinstance(each, str) and each for each in kept.get(key, ())):
            drop(key, key, "Not a valid string.")
    for each in kept.get("related_identifiers", ()):
        if each["resource_type"]["id"] not in RESOURCE_TYPES:
            raise refusal(400, f"Invalid value {each['resource_type']['id']}.")
        if each["relation_type"]["id"] not in RELATIONS:
            raise refusal(400, f"Invalid value {each['relation_type']['id']}.")
        good = r"https?://\S+" if each["scheme"] == "url" else r"10\.\d{4,9}/\S+"
        if not re.fullmatch(good, each["identifier"]):
            drop("related_identifiers", "related_identifiers.0.identifier", f"Invalid {each['scheme']} identifier.")
    return kept, errors
