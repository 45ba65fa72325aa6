"""Whether the licence of a trace allows to redistribute it, and whether what the licence requires is known."""

from __future__ import annotations

from collections.abc import Iterator

from ...checks.result import Result
from ...core.recipe import Recipe
from ..content.notice import find_keys, requires_notice

# Licences under which everyone may redistribute a changed copy, be it under conditions that NOTICE meets.
ALLOWING = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "MIT",
    "ODbL-1.0",
    "ODC-By-1.0",
    "PDDL-1.0",
}


def check_rights(recipe: Recipe) -> Iterator[Result]:
    """Check that the licence allows a changed copy or the recipe says why, and the notices that MIT and BSD require."""
    licence, source = recipe.licence, f"recipes/{recipe.name}.toml"
    keys = find_keys(licence["spdx"])
    others = [key for key in keys if key not in ALLOWING]
    silent = bool(others or not keys) and not licence.get("reason")
    allowed = "allowed"
    found = f"not by {', '.join(others) or licence['spdx']}: state why in `reason` of [licence]" if silent else allowed
    yield Result("licence", f"redistribution of {recipe.name}, converted", allowed, 0, found, source)
    requiring = [key for key in keys if requires_notice(key)]
    if requiring:
        known = "in the recipe"
        found = known if licence.get("copyright") else "unknown: quote it in `copyright` of [licence]"
        yield Result("licence", f"copyright notice that {', '.join(requiring)} requires", known, 0, found, source)
