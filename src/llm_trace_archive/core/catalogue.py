"""The workloads of an archive and their state: the facts behind `llm-traces list` and `info`. Reads no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .archive import Archive
from .recipe import Recipe, Workload


@dataclass(frozen=True)
class Entry:
    """What a reader chooses a workload by. `rows` and `period` are None while neither recipe nor lock knows them."""

    workload: Workload
    recipe: Recipe
    rows: int | None
    period: str | None
    capabilities: tuple[str, ...]
    state: str
    facts: Mapping[str, Any]


def entries(archive: Archive, workloads: list[Workload]) -> Iterator[Entry]:
    """Yield an entry for each workload, from recipes and lock."""
    locked = archive.locked
    for workload in workloads:
        facts = locked.get(str(workload), {})
        stats = facts.get("facts", {})
        yield Entry(
            workload,
            archive.recipe(workload.trace),
            stats.get("rows", workload.rows),
            _period(workload, stats),
            capabilities(workload),
            _state(archive, workload, facts),
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
    spans = [(each["first_us"], each["last_us"]) for each in stats.get("segments", ()) if each["last_us"] is not None]
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
