"""Tables and facts for the terminal, as plain text that can be piped."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..checks.report import result_lines
from ..core.catalogue import Entry
from ..core.errors import printable
from ..core.files import hash_name

if TYPE_CHECKING:
    from ..checks.result import Result

WIDEST = 110  # columns of running text


def echo(text: object = "", err: bool = False) -> None:
    """Print a line to stdout or stderr, with what a terminal would obey spelled out. All commands print with this."""
    if stream := sys.stderr if err else sys.stdout:  # None if it is closed
        print(printable(str(text)), file=stream, flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows under a head, each column as wide as its widest cell; `right` holds the columns to align right."""
    head, *rows = ([printable(" ".join(cell.split())) for cell in row] for row in (head, *rows))
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if n in right else f"{cell:<{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        echo("  ".join(cells).rstrip())


def print_entries(entries: Sequence[Entry], wide: bool) -> None:
    """Print a line for each workload that fits a terminal of 80 columns, or, if it is `wide`, all that is known."""
    head = ("trace/workload", "rows", "period", "capabilities", "licence", "content")
    rows = [
        (
            str(each.workload) + (" (synthetic)" if each.recipe.synthetic else ""),
            f"{each.rows:,}" if each.rows else "?",
            each.period or "?",
            ", ".join(each.capabilities) + (" (same requests)" if each.workload.same_requests_as else ""),
            each.recipe.licence["spdx"],
            each.state,
        )
        for each in entries
    ]
    shown = range(len(head)) if wide else (0, 1, 4, 5)
    print_table([head[n] for n in shown], [[row[n] for n in shown] for row in rows], right={1})


def print_entries_json(entries: Iterable[Entry]) -> None:
    """Print the workloads as a JSON list."""
    facts = [
        {
            "trace": each.workload.trace,
            "workload": each.workload.name,
            "title": each.workload.title,
            "path": each.workload.path,
            "rows": each.rows,
            "period": each.period,
            "capabilities": list(each.capabilities),
            "same_requests_as": list(each.workload.same_requests_as),
            "licence": each.recipe.licence["spdx"],
            "redistribute": each.workload.redistribute,
            "synthetic": each.recipe.synthetic,
            "content": each.state,
            "is_here": each.is_here,
        }
        for each in entries
    ]
    echo(json.dumps(facts, indent=2))


def print_info(entries: Sequence[Entry]) -> None:
    """Print what recipe and lock say of the workloads of one trace."""
    recipe = entries[0].recipe
    echo(f"{recipe.title}\n")
    echo(_fill(recipe.description, ""))
    for label, text in {
        "collected": recipe.collected,
        "homepage": recipe.homepage,
        "cite": recipe.cite,
        "licence": f"{recipe.licence['spdx']}, {recipe.licence['source']}"
        + ("" if recipe.licence["redistribute"] else "; not redistributable"),
    }.items():
        echo(_fill(f"{label:<10} {text}", " " * 11))
    for each in entries:
        workload = each.workload
        echo(f"\n{workload}: {workload.title}")
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
                echo(_fill(f"  {label:<13} {text}", " " * 16))
        if workload.listed:
            ((title, url),) = workload.sources
            echo(f"  {'upstream':<13} {url}\n{'':<16}{title}")
            continue
        for file in workload.files:
            kind, digits = file.pin or ("sha256", "not pinned")
            echo(f"  {'upstream':<13} {file.url}\n{'':<16}{hash_name(kind)} {digits}, {file.bytes or '?'} bytes")
        _print_anomalies(workload.anomalies, "  ")
    _print_anomalies(recipe.anomalies, "")


def _print_anomalies(anomalies: Iterable[Mapping[str, str]], indent: str) -> None:
    for each in anomalies:
        if not indent:
            echo()
        text = f"{indent}{'anomaly':<{15 - len(indent)}} {each['what']} [{each['source']}]"
        echo(_fill(text, " " * 16))


def _fill(text: str, indent: str) -> str:
    """Return text as lines that fit the terminal, all but the first indented; a URL or a hash is never broken."""
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    return textwrap.fill(text, max(width, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


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
        echo(line)
    return printed
