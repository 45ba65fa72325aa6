"""Tables and facts for the terminal; plain text, so that it can be piped."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from .catalogue import Entry


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows under a head, each column as wide as its widest cell; `right` names those aligned right."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if n in right else f"{cell:<{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_info(entries: Sequence[Entry]) -> None:
    """Print all that recipe and lock say of the workloads of one trace."""
    recipe = entries[0].recipe
    print(f"{recipe.title}\n")
    print(textwrap.fill(recipe.description, 110))
    for label, text in {
        "collected": recipe.collected,
        "homepage": recipe.homepage,
        "cite": recipe.cite,
        "licence": f"{recipe.licence['spdx']}, {recipe.licence['source']}"
        + ("" if recipe.licence["redistribute"] else "; not redistributed"),
    }.items():
        print(textwrap.fill(f"{label:<10} {text}", 110, subsequent_indent=" " * 11))
    for each in entries:
        workload = each.workload
        print(f"\n{workload}: {workload.title}")
        facts = {
            "content": f"{each.state}, {workload.path}",
            "rows": f"{each.rows:,}" if each.rows else "not known",
            "period": each.period
            or ("not known until it is built" if not each.facts else "none: the upstream has no arrivals"),
            "shows": ", ".join(each.capabilities),
            **{key.replace("_", " "): _plain(value) for key, value in workload.properties.items()},
            "failures": _plain(each.facts.get("facts", {}).get("failures")),
            "sha256": str(each.facts.get("hash", "")).removeprefix("sha256:"),
            "columns": ", ".join(sorted({rule.column for file in workload.files for rule in file.rules})),
        }
        for label, text in facts.items():
            if text:
                print(textwrap.fill(f"  {label:<13} {text}", 110, subsequent_indent=" " * 16))
        for file in workload.files:
            print(
                f"  {'upstream':<13} {file.url}\n"
                f"{'':<16}sha256 {file.sha256 or 'not pinned'}, {file.bytes or '?'} bytes"
            )
    for anomaly in (*recipe.anomalies, *(each for entry in entries for each in entry.workload.anomalies)):
        print()
        print(textwrap.fill(f"oddity  {anomaly['what']} [{anomaly['source']}]", 110, subsequent_indent=" " * 8))


def _plain(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
