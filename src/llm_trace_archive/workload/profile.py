"""What a workload looks like in figures. docs/profile.md defines each of them and names its source."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..analysis.prefix import hit_ratios
from ..core.sql import ROWS
from ..core.text import format_table
from .records import Records
from .series import Run, find_runs, key_of
from .times import duration

Counts: TypeAlias = npt.NDArray[np.int64]

DAY = 86_400_000_000  # microseconds
HOUR = 3_600_000_000
MINUTE = 60_000_000
SECOND = 1_000_000
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SCALES = (1, 10, 60, 600)  # seconds
MOST_SEGMENTS = 6  # that are printed
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Distribution:
    """How the values of a column are distributed; nulls don't count. A percentile is one of the values."""

    count: int
    mean: float
    min: int
    p50: int
    p90: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True)
class Busiest:
    """The bin of time in which most requests arrive, the first of several."""

    start_us: int
    requests: int


@dataclass(frozen=True)
class Arrivals:
    """When requests arrive. `start` is the wall-clock time of the first arrival, where the trace has an epoch.

    seconds     from the first arrival to the last, summed over the segments
    gap_cv      coefficient of variation of the times between arrivals
    dispersion  variance / mean of the number of requests in a bin, by the width of the bin in seconds
    hours       mean number of requests per hour, by the hour of the day; None if no segment has a whole day
    """

    kind: str
    start: str | None
    first_us: int
    last_us: int
    seconds: float
    per_second: float | None
    busiest_minute: Busiest
    busiest_hour: Busiest
    gap_cv: float | None
    dispersion: Mapping[str, float | None]
    hours: tuple[float, ...] | None


@dataclass(frozen=True)
class Sessions:
    """Conversations: how many, of one turn, turns of each; microseconds from a turn to the next of its session.

    gap_us    from arrival to arrival
    think_us  from the end of the answer to the next arrival, where latencies are recorded
    """

    sessions: int
    single_turn: int
    turns: Distribution
    gap_us: Distribution | None
    think_us: Distribution | None


@dataclass(frozen=True)
class Failures:
    """Of how many requests the upstream recorded whether they failed, and how many did."""

    recorded: int
    failed: int


@dataclass(frozen=True)
class Prefix:
    """Hit ratios of prefix caches: without a limit, and of LRU caches that hold a share of the distinct blocks."""

    definition: str
    blocks: int
    distinct: int
    unlimited: float
    by_share: Mapping[str, float]


@dataclass(frozen=True)
class Profile:
    """The figures of a table of requests. What its upstream does not record is None."""

    name: str
    steps: tuple[str, ...]
    rows: int
    without_arrival: int
    arrivals: Arrivals | None
    input_tokens: Distribution | None
    output_tokens: Distribution | None
    cached_tokens: Distribution | None
    sessions: Sessions | None
    failures: Failures | None
    latency_us: Distribution | None
    ttft_us: Distribution | None
    prefix: Prefix | None
    segments: tuple[Profile, ...] = field(default=())

    def as_json(self) -> str:
        """Return the profile as JSON, by schemas/profile.schema.json."""
        return to_json([self])

    def __str__(self) -> str:
        return render([self])


def to_json(profiles: Sequence[Profile]) -> str:
    """Return profiles as JSON, by schemas/profile.schema.json."""
    return json.dumps({"profiles": [asdict(each) for each in profiles]}, indent=2, ensure_ascii=False) + "\n"


# -- measuring --------------------------------------------------------------------------------------------------------


def measure(requests: Records) -> Profile:
    """Return the profile of a table of requests, and of each of its segments if there are several. Raises Problem."""
    runs = find_runs(requests)
    workloads = {run.workload for run in runs}
    parts = [
        _measure(
            requests.derive(f"SELECT * FROM {ROWS} WHERE {run.condition}", ""),
            f"{run.workload} {run.segment}".strip() if len(workloads) > 1 else run.segment,
            [replace(run, key=0)],
        )
        for run in (runs if len(runs) > 1 else ())
    ]
    return _measure(requests, ", ".join(requests.names), runs, tuple(parts))


def _measure(requests: Records, name: str, runs: Sequence[Run], segments: tuple[Profile, ...] = ()) -> Profile:
    rows, arrivals = sum(run.rows for run in runs), sum(run.arrivals for run in runs)
    ((ids, turns),) = requests.fetch(f"SELECT count(hash_ids), count(session_id) FROM {ROWS}")
    columns = {
        column: _distribution(requests, f"SELECT {column} AS value FROM {ROWS}")
        for column in ("input_tokens", "output_tokens", "cached_tokens", "latency_us", "ttft_us")
    }
    return Profile(
        name=name,
        steps=tuple(step for step in requests.steps if step),
        rows=rows,
        without_arrival=rows - arrivals,
        # A rate of some of the requests would be a wrong rate.
        arrivals=_arrivals(requests, runs) if rows and arrivals == rows else None,
        sessions=_sessions(requests) if turns else None,
        failures=_failures(requests),
        prefix=_prefix(requests, runs) if ids else None,
        segments=segments,
        **columns,
    )


def _distribution(requests: Records, values: str) -> Distribution | None:
    """Return the distribution of the column `value` of a SELECT over `rows`."""
    wanted = ", ".join(map(str, QUANTILES.values()))
    ((count, mean, least, most, quantiles),) = requests.fetch(
        f"SELECT count(value), avg(value), min(value), max(value), quantile_disc(value, [{wanted}]) FROM ({values})"
    )
    if not count:
        return None
    p50, p90, p95, p99 = quantiles
    return Distribution(count, mean, least, p50, p90, p95, p99, most)


def _arrivals(requests: Records, runs: Sequence[Run]) -> Arrivals:
    spans = {run.key: (run.first or 0, run.last or 0) for run in runs}
    seconds = sum(last - first for first, last in spans.values()) / SECOND
    kinds = {str(each.properties.get("arrivals", "unknown")) for each in requests.source.workloads}
    epoch = requests.epoch
    first, last = min(low for low, _ in spans.values()), max(high for _, high in spans.values())
    by_clock = per_second(requests, runs, dict.fromkeys(spans, 0))
    has_day = max(high - low for low, high in spans.values()) >= DAY
    return Arrivals(
        kind=" and ".join(sorted(kinds)),
        start=(datetime.fromisoformat(epoch) + timedelta(microseconds=first)).isoformat() if epoch else None,
        first_us=first,
        last_us=last,
        seconds=seconds,
        per_second=sum(run.rows for run in runs) / seconds if seconds else None,
        busiest_minute=busiest(by_clock, MINUTE),
        busiest_hour=busiest(by_clock, HOUR),
        gap_cv=_gap_cv(requests, runs),
        dispersion=dispersion(per_second(requests, runs, {key: low for key, (low, _) in spans.items()})),
        hours=_hours(by_clock, epoch) if has_day else None,
    )


def per_second(requests: Records, runs: Sequence[Run], starts: Mapping[int, int]) -> list[tuple[Counts, Counts]]:
    """Return the seconds of each run in which requests arrive, in order, and how many do.

    starts  what the seconds of each run are counted from, in microseconds
    """
    key = key_of(runs)
    cases = " ".join(f"WHEN {run} THEN {start}" for run, start in starts.items())
    start = str(starts[0]) if len(starts) == 1 else f"CASE {key} {cases} END"
    table = requests.tabulate(
        f"SELECT {key} AS run, (arrival_us - {start}) // {SECOND} AS second, count(*) AS n FROM {ROWS} GROUP BY ALL "
        "ORDER BY ALL",
        "",
    ).arrow()
    numbers, seconds, counts = (table.column(name).to_numpy() for name in ("run", "second", "n"))
    return [(seconds[numbers == run.key], counts[numbers == run.key]) for run in runs]


def _binned(seconds: Counts, counts: Counts, width: int) -> tuple[Counts, Counts]:
    """Return the bins of a width in seconds that have requests, in order, and how many they have."""
    bins = seconds // width
    starts = np.flatnonzero(np.r_[True, bins[1:] != bins[:-1]])
    return bins[starts], np.add.reduceat(counts, starts)


def busiest(series: Iterable[tuple[Counts, Counts]], width: int) -> Busiest:
    """Return the busiest bin of a width in microseconds, of what `per_second` returns."""
    seconds = width // SECOND
    found = [_binned(*each, seconds) for each in series]
    tops = [(int(counts.max()), int(bins[counts.argmax()])) for bins, counts in found]
    requests, at = max(tops, key=lambda top: (top[0], -top[1]))
    return Busiest(at * width, requests)


def dispersion(series: Sequence[tuple[Counts, Counts]], scales: Iterable[int] = SCALES) -> dict[str, float | None]:
    """Return variance / mean of the requests per bin, by its width in seconds; bins start at the first arrival."""
    indexes: dict[str, float | None] = {}
    for scale in scales:
        found = [_binned(*each, scale) for each in series]
        # The bins without requests add nothing to either sum.
        size = sum(int(bins[-1]) + 1 for bins, _ in found)
        total = sum(int(counts.sum()) for _, counts in found)
        squares = sum(float(np.square(counts, dtype=np.float64).sum()) for _, counts in found)
        mean = total / size
        indexes[str(scale)] = (squares / size - mean**2) / mean if size > 1 else None
    return indexes


def _gap_cv(requests: Records, runs: Sequence[Run]) -> float | None:
    """Return standard deviation / mean of the times between arrivals; None if there are none, or all are 0."""
    gaps = sum(run.rows - 1 for run in runs)
    mean = sum((run.last or 0) - (run.first or 0) for run in runs) / max(gaps, 1)
    if mean == 0:
        return None
    squares = sum(float(np.square(each - mean).sum()) for each in find_gaps(requests, runs))
    return math.sqrt(squares / gaps) / mean


def find_gaps(requests: Records, runs: Sequence[Run]) -> Iterator[Counts]:
    """Yield the times between consecutive arrivals of each run in microseconds, in parts."""
    for run in runs:
        where = f"WHERE {run.condition}" if len(runs) > 1 else ""
        before = np.empty(0, np.int64)
        # Sorted by DuckDB, which a window function per run is 5 times slower at.
        for batch in requests.tabulate(f"SELECT arrival_us FROM {ROWS} {where} ORDER BY 1", "").batches():
            arrivals = np.concatenate([before, batch.column(0).to_numpy()])
            yield np.diff(arrivals)
            before = arrivals[-1:]


def _hours(series: Iterable[tuple[Counts, Counts]], epoch: str | None) -> tuple[float, ...]:
    """Return the mean number of requests per hour of each hour of the day, over the hours from first to last arrival.

    Without an epoch, the day begins where the clock of the trace does.
    """
    moment = datetime.fromisoformat(epoch) if epoch else datetime(1970, 1, 1)
    offset = round((moment - datetime(moment.year, moment.month, moment.day)).total_seconds())
    requests, hours = np.zeros(24), np.zeros(24)
    for seconds, counts in series:
        found, sums = _binned(seconds + offset, counts, HOUR // SECOND)
        np.add.at(requests, found % 24, sums)
        np.add.at(hours, np.arange(found[0], found[-1] + 1) % 24, 1)
    return tuple(float(mean) for mean in requests / hours)


def _sessions(requests: Records) -> Sessions:
    whole = "trace, workload, session_id"
    turns = f"SELECT count(*) AS value FROM {ROWS} WHERE session_id IS NOT NULL GROUP BY {whole}"
    distribution = _distribution(requests, turns)
    assert distribution
    ((single,),) = requests.fetch(f"SELECT count(*) FROM ({turns}) WHERE value = 1")
    following = sql_of_turns(requests)
    return Sessions(
        sessions=distribution.count,
        single_turn=single,
        turns=distribution,
        gap_us=_distribution(requests, f"SELECT gap AS value FROM ({following})"),
        think_us=_distribution(requests, f"SELECT think AS value FROM ({following})"),
    )


def sql_of_turns(requests: Records) -> str:
    """Return the SELECT of each turn's `gap` and `think` time in microseconds, as `Sessions` defines them."""
    run = ", ".join(requests.source.run)
    return f"""
        SELECT arrival_us - lag(arrival_us) OVER turns AS gap,
          arrival_us - lag(arrival_us + latency_us) OVER turns AS think
        FROM {ROWS} WHERE session_id IS NOT NULL
        WINDOW turns AS (PARTITION BY {run}, session_id ORDER BY turn, arrival_us, request_id)
    """


def _failures(requests: Records) -> Failures | None:
    ((recorded, failed),) = requests.fetch(f"SELECT count(failed), count(*) FILTER (failed) FROM {ROWS}")
    return Failures(recorded, failed) if recorded else None


def _prefix(requests: Records, runs: Sequence[Run]) -> Prefix | None:
    """Return the hit ratios of the rows in their order; each run starts with an empty cache."""
    numbered = requests.tabulate(f"SELECT hash_ids, {key_of(runs)} AS run FROM {ROWS}", "")
    lists, numbers = itertools.tee(numbered.batches())
    reuse = hit_ratios(
        (batch.column("hash_ids") for batch in lists),
        SHARES,
        segments=(batch.column("run") for batch in numbers),
    )
    if reuse is None:
        return None
    by_share = {str(share): ratio for share, ratio in reuse.by_share.items()}
    return Prefix(reuse.definition, reuse.blocks, reuse.distinct, reuse.unlimited, by_share)


# -- as text ----------------------------------------------------------------------------------------------------------

_BARS = "▁▂▃▄▅▆▇█"


def render(profiles: Sequence[Profile]) -> str:
    """Return profiles side by side as plain text: a figure per line, a dash for what is not recorded.

    The segments of a single one stand beside it, unless there are many.
    """
    if len(profiles) == 1 and len(profiles[0].segments) <= MOST_SEGMENTS:
        profiles = [*profiles, *profiles[0].segments]
    columns = [dict(figures(each)) for each in profiles]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    rows = [(label, *(column.get(label, "–") for column in columns)) for label in labels]
    shown = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return format_table(("", *(each.name for each in profiles)), shown, range(1, len(profiles) + 1))


def figures(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each figure that the workload has as people read it: what it is, and its value."""
    yield "requests", f"{profile.rows:,}"
    if profile.without_arrival:
        yield "without an arrival", f"{profile.without_arrival:,}"
    yield from _arrival_figures(profile.arrivals)
    for label, tokens in (
        ("input tokens", profile.input_tokens),
        ("output tokens", profile.output_tokens),
        ("cached tokens", profile.cached_tokens),
    ):
        yield from _spread(label, tokens, lambda value: f"{value:,.0f}")
    if sessions := profile.sessions:
        yield "sessions", f"{sessions.sessions:,}"
        yield "of one turn", f"{sessions.single_turn / sessions.sessions:.1%}"
        yield from _spread("turns", sessions.turns, lambda value: f"{value:,.3g}")
        yield from _spread("next turn after", sessions.gap_us, duration)
        yield from _spread("think time", sessions.think_us, duration)
    if failures := profile.failures:
        yield "failed", f"{failures.failed / failures.recorded:.2%} of {failures.recorded:,}"
    yield from _spread("latency", profile.latency_us, duration)
    yield from _spread("first token after", profile.ttft_us, duration)
    if prefix := profile.prefix:
        yield "prefix blocks", f"{prefix.blocks:,}"
        yield "distinct", f"{prefix.distinct:,}"
        yield "hit ratio", f"{prefix.unlimited:.4f}"
        for share, ratio in prefix.by_share.items():
            yield f"  LRU of {float(share):.0%}", f"{ratio:.4f}"


def _arrival_figures(arrivals: Arrivals | None) -> Iterator[tuple[str, str]]:
    if not arrivals:
        return
    yield "arrivals", arrivals.kind
    if arrivals.start:
        yield "first arrival", arrivals.start[:19].replace("T", " ")
    yield "period", duration(arrivals.seconds * SECOND)
    if arrivals.per_second:
        yield "requests per second", f"{arrivals.per_second:.4g}"
    yield "busiest minute", f"{arrivals.busiest_minute.requests:,}"
    yield "busiest hour", f"{arrivals.busiest_hour.requests:,}"
    if arrivals.gap_cv is not None:
        yield "CV of the gaps", f"{arrivals.gap_cv:.4g}"
    for scale, index in arrivals.dispersion.items():
        if index is not None:
            yield f"dispersion at {scale} s", f"{index:.4g}"
    if arrivals.hours:
        most = max(arrivals.hours)
        yield "by hour, 0 to 23", "".join(_BARS[int(hour / most * (len(_BARS) - 1))] for hour in arrivals.hours)


def _spread(label: str, values: Distribution | None, show: Callable[[float], str]) -> Iterator[tuple[str, str]]:
    if values:
        yield f"{label}, mean", show(values.mean)
        for name in (*QUANTILES, "max"):
            yield f"  {label}, {name}", show(getattr(values, name))
