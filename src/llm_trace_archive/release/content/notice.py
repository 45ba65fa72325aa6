"""NOTICE and the licences of a release: whose data it is, under which licence, and what was changed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...checks.package import load_spdx
from ...core.archive import Archive
from ...core.recipe import Recipe, Workload
from .selection import Selection

HEAD = """\
{title} {version}

The tables under data/ are made from traces that others measured and published. Each trace stays under the licence of
its publisher, named below, whose terms apply to everyone who redistributes it. Cite the authors of the traces you use.

Changed in all of them: converted to Parquet; columns named, ordered and typed by one schema (schemas/); times in
microseconds. Rows keep the upstream's order. recipes/ says where each column comes from.

Code, schemas, recipes and descriptions are under LICENSE.txt.
"""
LICENCES = "LICENSES"
TEMPLATE = re.compile(r"^Copyright \(c\) <.*$", re.MULTILINE)
UNKNOWN = "not known here: see the page named by licence"
# CC licences require their URI, not their text.
CREATIVE_COMMONS = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


def find_keys(expression: str) -> list[str]:
    """Return the SPDX ids in an expression, each once; none if it is malformed (the package's check)."""
    from license_expression import ExpressionError

    try:
        return [str(key) for key in load_spdx().license_keys(expression)]
    except ExpressionError:
        return []


def find_pages(licences: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the page of each licence in the SPDX expressions, by its SPDX id, in the order of the expressions.

    licences  those of a descriptor: `name`, the expression, and `path`, the page of a licence that SPDX does not list
    """
    pages = {}
    for each in licences:
        for key in find_keys(each["name"]):
            is_listed = key in load_spdx().known_symbols
            pages[key] = f"https://spdx.org/licenses/{key}.html" if is_listed else each["path"]
    return pages


def find_copies(licences: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the path of the text of each licence that requires a copy of itself, by its SPDX id.

    MIT and BSD: "this permission notice" (or "this list of conditions") in all copies; Apache-2.0: section 4 (a).
    """
    requiring = (key for key in sorted(find_pages(licences)) if key == "Apache-2.0" or requires_notice(key))
    return {key: f"{LICENCES}/{key}.txt" for key in requiring}


def requires_notice(key: str) -> bool:
    """Return whether a licence requires "the above copyright notice" in every copy."""
    return key == "MIT" or key.startswith("BSD-")


def add_notices(text: str, notices: Iterable[str]) -> str:
    """Return the text of a licence with the copyright notices of what is under it, in place of its own template."""
    lines = "\n".join(dict.fromkeys(notices))
    if not lines:
        return text
    filled, count = TEMPLATE.subn(lambda _: lines, text, count=1)
    return filled if count else f"{lines}\n\n{text}"


def compose_notice(archive: Archive, selection: Selection, package: Mapping[str, Any]) -> str:
    """Return NOTICE: the licences, one paragraph per released trace, then what the release leaves out.

    package  the release's datapackage.json
    """
    lines = [HEAD.format(title=package["title"], version=package["version"])]
    lines += _list_licences([licence for each in package["resources"] for licence in each["licenses"]])
    for trace in dict.fromkeys(each.trace for each in selection.released):
        workloads = [each for each in selection.released if each.trace == trace]
        lines += _list_trace(archive.recipe(trace), workloads)
    if selection.left_out:
        lines += ["Not in this release", "-" * 19]
        lines += [f"  {workload}: {reason}" for workload, reason in selection.left_out]
    return "\n".join(lines).rstrip("\n") + "\n"


def _list_licences(licences: list[Mapping[str, str]]) -> Iterator[str]:
    pages, copies = find_pages(licences), find_copies(licences)
    if not pages:
        return
    yield "Licences\n--------"
    width = max(map(len, pages))
    for key, place in sorted(pages.items()):
        if key in copies:
            place = f"text: {copies[key]}"
        elif key in CREATIVE_COMMONS:
            place = f"requires a link, not a copy: {CREATIVE_COMMONS[key]}"
        yield f"  {key:<{width}}  {place}"
    yield ""


def _list_trace(recipe: Recipe, workloads: list[Workload]) -> Iterator[str]:
    head = f"{recipe.name}: {recipe.title}"
    yield f"{head}\n{'-' * len(head)}"
    facts = [("cite", recipe.cite), ("doi", f"https://doi.org/{recipe.doi}" if recipe.doi else "")]
    facts += [("licence", f"{recipe.licence['spdx']}, {recipe.licence['source']}")]
    facts += [("", recipe.licence.get("note", "")), ("", recipe.licence.get("reason", ""))]
    facts += [("copyright", each) for each in recipe.licence.get("copyright", (UNKNOWN,))]
    facts += [("homepage", recipe.homepage)]
    for label, text in facts:
        if text:
            yield _wrap_line(label, text)
    for workload in workloads:
        yield _wrap_line("table", workload.path)
        yield from (_wrap_line("source", url) for _, url in workload.sources)
        yield _wrap_line("changed", _describe_change(workload))
    yield ""


def _describe_change(workload: Workload) -> str:
    derived = dict.fromkeys(rule.column for file in workload.tables for rule in file.rules if rule.derive)
    computed = f"; computed here: {', '.join(derived)}" if derived else ""
    if workload.restores:
        return f"nothing is lost: the upstream file can be restored byte for byte{computed}"
    lost = sorted({name for file in workload.tables for name in file.lost})
    left_out = f" without {', '.join(lost)}" if lost else ""
    return f"part of the upstream{left_out}{computed}"


def _wrap_line(label: str, text: str) -> str:
    lines = textwrap.wrap(text, 108, break_long_words=False, break_on_hyphens=False)  # a URL is never cut
    return f"  {label:<9} " + f"\n{'':<12}".join(lines)
