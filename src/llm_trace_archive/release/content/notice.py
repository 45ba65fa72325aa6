"""NOTICE, and the licences of a release: whose data these are, under which licence, and what was changed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...core.archive import Archive
from ...core.recipe import Recipe, Workload
from .selection import Selection

HEAD = """\
{title} {version}

The tables under data/ are made from traces that others measured and published. Each stays under the licence of its
publisher, given here, whose terms bind whoever passes it on. Cite the authors of the traces you use.

Changed in all of them: converted to Parquet, columns named, ordered and typed by one schema (schemas/), times in
microseconds. Rows are in the upstream's order. recipes/ says for each column where it comes from.

Copyright: the upstreams' own copyright lines stand at the page that `licence` names below; none is repeated here.

Code, schemas, recipes and descriptions are under LICENSE.txt.
"""
LICENCES = "LICENSES"
# CC licences ask for their URI, not for their text.
CREATIVE_COMMONS = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


def pages(licences: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Each licence that stands in the expressions, by its SPDX id, with the page of its text.

    licences  a descriptor's: `name`, an SPDX expression, and `path`, which is the page of what SPDX does not list
    """
    from license_expression import ExpressionError, get_spdx_licensing

    spdx = get_spdx_licensing()
    found = {}
    for each in licences:
        try:
            keys = spdx.license_keys(each["name"])
        except ExpressionError:  # the check of the package tells
            continue
        for key in keys:
            found[key] = f"https://spdx.org/licenses/{key}.html" if key in spdx.known_symbols else each["path"]
    return dict(sorted(found.items()))


def copies(licences: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Where the text stands of each licence that asks that a copy of it goes along, by its SPDX id.

    MIT and BSD: "this permission notice" (or "this list of conditions") in all copies; Apache-2.0: section 4 (a).
    """
    asking = (key for key in pages(licences) if key in ("MIT", "Apache-2.0") or key.startswith("BSD-"))
    return {key: f"{LICENCES}/{key}.txt" for key in asking}


def notice(archive: Archive, selection: Selection, package: Mapping[str, Any]) -> str:
    """The text of NOTICE: the licences, a paragraph a released trace, then what the release leaves out.

    package  the release's datapackage.json
    """
    lines = [HEAD.format(title=package["title"], version=package["version"])]
    lines += _licences([licence for each in package["resources"] for licence in each["licenses"]])
    for trace in dict.fromkeys(each.trace for each in selection.released):
        workloads = [each for each in selection.released if each.trace == trace]
        lines += _trace(archive.recipe(trace), workloads)
    if selection.left_out:
        lines += ["Not in this release", "-" * 19]
        lines += [f"  {workload}: {reason}" for workload, reason in selection.left_out]
    return "\n".join(lines).rstrip("\n") + "\n"


def _licences(licences: list[Mapping[str, str]]) -> Iterator[str]:
    found, copied = pages(licences), copies(licences)
    if not found:
        return
    yield "Licences\n--------"
    width = max(map(len, found))
    for key, url in found.items():
        if key in copied:
            told = f"text: {copied[key]}"
        elif key in CREATIVE_COMMONS:
            told = f"asks for the link, not for a copy: {CREATIVE_COMMONS[key]}"
        else:
            told = url
        yield f"  {key:<{width}}  {told}"
    yield ""


def _trace(recipe: Recipe, workloads: list[Workload]) -> Iterator[str]:
    head = f"{recipe.name}: {recipe.title}"
    yield f"{head}\n{'-' * len(head)}"
    told = [("cite", recipe.cite), ("doi", f"https://doi.org/{recipe.doi}" if recipe.doi else "")]
    told += [("licence", f"{recipe.licence['spdx']}, {recipe.licence['source']}"), ("", recipe.licence.get("note", ""))]
    told += [("homepage", recipe.homepage)]
    for label, text in told:
        if text:
            yield _line(label, text)
    for workload in workloads:
        yield _line("table", workload.path)
        yield from (_line("source", url) for _, url in workload.sources)
        yield _line("changed", _changed(workload))
    yield ""


def _changed(workload: Workload) -> str:
    derived = dict.fromkeys(rule.column for file in workload.tables for rule in file.rules if rule.derive)
    made = f"; computed here: {', '.join(derived)}" if derived else ""
    if workload.restores:
        return f"nothing is lost: the upstream's bytes can be written back{made}"
    lost = sorted({name for file in workload.tables for name in file.lost})
    less = f", less {', '.join(lost)}" if lost else ""
    return f"does not hold all of the upstream{less}{made}"


def _line(label: str, text: str) -> str:
    lines = textwrap.wrap(text, 108, break_long_words=False, break_on_hyphens=False)  # a URL is never cut
    return f"  {label:<9} " + f"\n{'':<12}".join(lines)
