"""Tables and facts for the terminal, as plain text that can be piped."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..checks.report import result_lines
from ..core.catalogue import Entry
from ..core.files import hash_name

if TYPE_CHECKING:
    from ..checks.result import Result


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows under a head, each column as wide as its widest cell; `right` holds the columns to align right."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if n in right else f"{cell:<{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_info(entries: Sequence[Entry]) -> None:
    """Print what recipe and lock say of the workloads of one trace."""
    recipe = entries[0].recipe
    print(f"{recipe.title}\n")
    print(textwrap.fill(recipe.description, 110))
    for label, text in {
        "collected": recipe.collected,
        "homepage": recipe.homepage,
        "cite": recipe.cite,
        "licence": f"{recipe.licence['spdx']}, {recipe.licence['source']}"
        + ("" if recipe.licence["redistribute"] else "; not redistributable"),
    }.items():
        print(textwrap.fill(f"{label:<10} {text}", 110, subsequent_indent=" " * 11))
    for each in entries:
        workload = each.workload
        print(f"\n{workload}: {workload.title}")
        facts = {
            "content": f"{each.state}, {workload.path}",
            "rows": f"{each.rows:,}" if each.rows else "unknown",
            "period": each.period
            or ("unknown until it is built" if not each.facts else "none: the upstream has no arrivals"),
            "capabilities": ", ".join(each.capabilities),
            "same requests": ", ".join(workload.same_requests_as) and f"as {', '.join(workload.same_requests_as)}",
            "redistributed": "" if workload.redistribute else "no, for local use only",
            **{key.replace("_", " "): _plain(value) for key, value in workload.properties.items()},
            "failures": _plain(each.facts.get("facts", {}).get("failures")),
            "sha256": str(each.facts.get("hash", "")).removeprefix("sha256:"),
            "columns": ", ".join(sorted({rule.column for file in workload.files for rule in file.rules})),
        }
        for label, text in facts.items():
            if text:
                print(textwrap.fill(f"  {label:<13} {text}", 110, subsequent_indent=" " * 16))
        if workload.listed:
            ((title, url),) = workload.sources
            print(f"  {'upstream':<13} {url}\n{'':<16}{title}")
            continue
        for file in workload.files:
            kind, digits = file.pin or ("sha256", "not pinned")
            print(f"  {'upstream':<13} {file.url}\n{'':<16}{hash_name(kind)} {digits}, {file.bytes or '?'} bytes")
        _print_anomalies(workload.anomalies, "  ")
    _print_anomalies(recipe.anomalies, "")


def _print_anomalies(anomalies: Iterable[Mapping[str, str]], indent: str) -> None:
    for each in anomalies:
        if not indent:
            print()
        text = f"{indent}{'anomaly':<{15 - len(indent)}} {each['what']} [{each['source']}]"
        print(textwrap.fill(text, 110, subsequent_indent=" " * 16))


def _plain(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def print_results(subject: str, results: Iterable[Result]) -> list[Result]:
    """Print results as they come, and return them."""
    printed: list[Result] = []

    def keep() -> Iterator[Result]:
        for result in results:
            printed.append(result)
            yield result

    for line in result_lines(subject, keep()):
        print(line, flush=True)
    return printed
