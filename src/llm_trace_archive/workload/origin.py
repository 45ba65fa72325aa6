"""Where rows come from: what a paper cites, and what a saved workload remembers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..core.archive import Archive
from ..core.recipe import Workload


@dataclass(frozen=True)
class Origin:
    """A workload that rows come from. `sha256` is that of its file in the lock, empty if it is in no lock.

    recipe  the digest of what decides the bytes of its file
    """

    workload: str
    sha256: str
    recipe: str
    licence: str
    redistribute: bool
    citation: str
    arrivals: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return asdict(self)


def origin_of(archive: Archive, workload: Workload) -> Origin:
    """Return the origin of the rows of a workload."""
    return Origin(
        str(workload),
        str(archive.locked.get(str(workload), {}).get("hash", "")).removeprefix("sha256:"),
        workload.digest,
        workload.licence,
        workload.redistribute,
        workload.cite,
        str(workload.properties.get("arrivals", "absent")),
    )


_SPECIAL = re.compile(r"([&%$#_{}])")


def bibtex(archive: Archive, origins: Iterable[Origin]) -> str:
    """Return an entry of BibTeX for each trace that the rows come from; its note is the whole citation."""
    traces = {each.workload.partition("/")[0]: each for each in origins}
    return "\n\n".join(_entry(archive, trace, each) for trace, each in traces.items())


def _entry(archive: Archive, trace: str, origin: Origin) -> str:
    fields = {"title": trace, "note": _escape(origin.citation), "key": trace}
    if trace in archive.recipes:
        recipe = archive.recipe(trace)
        fields |= {"title": f"{{{_escape(recipe.title)}}}", "howpublished": f"\\url{{{recipe.homepage}}}"}
        fields |= {"doi": recipe.doi} if recipe.doi else {}
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@misc{{{trace},\n{lines}}}"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
