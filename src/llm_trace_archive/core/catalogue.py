"""The workloads of an archive and their state: the facts behind `llm-traces list` and `info`. Reads no data."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .archive import Archive
from .files import hash_name
from .recipe import Recipe, Workload
from .text import format_table

WIDTH = 80  # columns of the list
WIDEST = 110  # columns of running text


@dataclass(frozen=True)
class Entry:
    """What a reader chooses a workload by. `rows` and `period` are None while neither recipe nor lock knows them.

    place  where the content is, or would be
    """

    workload: Workload
    recipe: Recipe
    rows: int | None
    period: str | None
    capabilities: tuple[str, ...]
    state: str
    place: str
    facts: Mapping[str, Any]

    @property
    def is_here(self) -> bool:
        """Whether the content is here."""
        return self.state.startswith("here")

    def as_dict(self) -> dict[str, Any]:
        """Return what a reader chooses it by, for programs."""
        return {
            "trace": self.workload.trace,
            "workload": self.workload.name,
            "title": self.workload.title,
            "path": self.place,
            "rows": self.rows,
            "period": self.period,
            "capabilities": list(self.capabilities),
            "same_requests_as": list(self.workload.same_requests_as),
            "licence": self.recipe.licence["spdx"],
            "redistribute": self.workload.redistribute,
            "synthetic": self.recipe.synthetic,
            "content": self.state,
            "is_here": self.is_here,
        }


def entries(archive: Archive, workloads: list[Workload]) -> Iterator[Entry]:
    """Yield an entry for each workload, from recipes and lock."""
    for workload in workloads:
        facts = archive.record(workload)
        stats = facts.get("facts", {})
        yield Entry(
            workload,
            archive.recipe(workload.trace),
            stats.get("rows", workload.rows),
            _period(workload, stats),
            capabilities(workload),
            _state(archive, workload, facts),
            workload.path if archive.store is None else str(archive.path(workload)),
            facts,
        )


def capabilities(workload: Workload) -> tuple[str, ...]:
    """Return what a table has: arrivals, sessions, turns, prefix blocks, latencies, failures; or its kind."""
    if not workload.is_requests:
        return (workload.table,)
    mapped = {rule.column for file in workload.files for rule in file.rules}
    arrivals = workload.properties.get("arrivals", "absent")
    has = {
        {"measured": "arrivals", "synthetic": "arrivals (synthetic)"}.get(arrivals, ""): "arrival_us" in mapped,
        "sessions": "session_id" in mapped,
        "turns": "turn" in mapped,
        "prefix blocks": "hash_ids" in mapped,
        "latencies": bool(mapped & {"latency_us", "ttft_us"}),
        "failures": "failed" in mapped,
    }
    return tuple(name for name, there in has.items() if there and name)


def _state(archive: Archive, workload: Workload, facts: Mapping[str, Any]) -> str:
    if archive.is_present(workload):
        return "here" if facts else "here, not in the lock"
    return "not here" if facts else "not built" if workload.is_pinned else "unpinned"


def _period(workload: Workload, stats: Mapping[str, Any]) -> str | None:
    """Return from when to when, or, of a clock without a date or reset between segments, how long in all."""
    spans = [(each["first_us"], each["last_us"]) for each in stats.get("segments", ())]
    spans = [span for span in spans if None not in span]
    if not spans:
        return None
    epoch = workload.properties.get("epoch")
    if len(spans) > 1 or not epoch:
        length = _duration(sum(last - first for first, last in spans))
        return length if len(spans) == 1 else f"{length} in {len(spans)} segments"
    start = datetime.fromisoformat(epoch)
    ends = [(start + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M") for us in spans[0]]
    return f"{ends[0]} to {ends[1]}"


def _duration(us: int) -> str:
    seconds = us / 1e6
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


# -- as text ----------------------------------------------------------------------------------------------------------


def format_entries(entries: Sequence[Entry], wide: bool) -> str:
    """Return a line for each workload that fits a terminal of 80 columns, or, if it is `wide`, all that is known.

    To fit, the names of licences are cut; those of workloads are needed whole.
    """
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
    table = [[row[n] for n in shown] for row in (head, *rows)]
    if not wide:
        others = [max(len(row[n]) for row in table) + 2 for n in (0, 1, 3)]
        room = max(WIDTH - sum(others), len("licence"))
        for row in table:
            row[2] = row[2] if len(row[2]) <= room else f"{row[2][: room - 1]}…"
    return format_table(table[0], table[1:], right={1})


def format_info(entries: Sequence[Entry]) -> str:
    """Return what recipe and lock say of the workloads of one trace."""
    return "\n".join(_info(entries))


def _info(entries: Sequence[Entry]) -> Iterator[str]:
    recipe = entries[0].recipe
    yield f"{recipe.title}\n"
    yield _fill(recipe.description, "")
    for label, text in {
        "collected": recipe.collected,
        "homepage": recipe.homepage,
        "cite": recipe.cite,
        "licence": f"{recipe.licence['spdx']}, {recipe.licence['source']}"
        + ("" if recipe.licence["redistribute"] else "; not redistributable"),
    }.items():
        yield _fill(f"{label:<10} {text}", " " * 11)
    for each in entries:
        workload = each.workload
        yield f"\n{workload}: {workload.title}"
        facts = {
            "content": f"{each.state}, {each.place}",
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
                yield _fill(f"  {label:<13} {text}", " " * 16)
        if workload.listed:
            ((title, url),) = workload.sources
            yield f"  {'upstream':<13} {url}\n{'':<16}{title}"
            continue
        for file in workload.files:
            kind, digits = file.pin or ("sha256", "not pinned")
            yield f"  {'upstream':<13} {file.url}\n{'':<16}{hash_name(kind)} {digits}, {file.bytes or '?'} bytes"
        yield from _anomalies(workload.anomalies, "  ")
    yield from _anomalies(recipe.anomalies, "")


def _anomalies(anomalies: Iterable[Mapping[str, str]], indent: str) -> Iterator[str]:
    for each in anomalies:
        if not indent:
            yield ""
        text = f"{indent}{'anomaly':<{15 - len(indent)}} {each['what']} [{each['source']}]"
        yield _fill(text, " " * 16)


def _fill(text: str, indent: str) -> str:
    """Return text as lines that fit the terminal, all but the first indented; a URL or a hash is never broken."""
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    return textwrap.fill(text, max(width, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
