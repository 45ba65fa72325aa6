"""What a workload looks like in figures. docs/profile.md defines each of them and names its source."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..analysis.prefix import hit_ratios
from ..core.text import format_table
from .records import ROWS, Records, quote
from .times import duration

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
    runs = requests.fetch(f"SELECT {_run(requests)} FROM {ROWS} GROUP BY ALL ORDER BY ALL")
    name = ", ".join(requests.names)
    parts = [
        _measure(
            requests.derive(f"SELECT * FROM {ROWS} WHERE {_is_run(requests, run)}", ""),
            "{}/{} segment {}".format(*run) if len(requests.source.workloads) > 1 < len(run) else f"segment {run[-1]}",
            [run],
        )
        for run in (runs if len(runs) > 1 else ())
    ]
    return _measure(requests, name, runs, tuple(parts))


def _measure(
    requests: Records, name: str, runs: Sequence[tuple[Any, ...]], segments: tuple[Profile, ...] = ()
) -> Profile:
    ((rows, arrivals, ids, turns),) = requests.fetch(
        f"SELECT count(*), count(arrival_us), count(hash_ids), count(session_id) FROM {ROWS}"
    )
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
        arrivals=_arrivals(requests) if rows and arrivals == rows else None,
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


def _arrivals(requests: Records) -> Arrivals:
    run = _run(requests)
    ((first, last, span, longest, rows),) = requests.fetch(
        f"SELECT min(lo), max(hi), sum(hi - lo), max(hi - lo), sum(n) FROM "
        f"(SELECT min(arrival_us) AS lo, max(arrival_us) AS hi, count(*) AS n FROM {ROWS} GROUP BY {run})"
    )
    ((cv,),) = requests.fetch(
        f"SELECT stddev_pop(gap) / nullif(avg(gap), 0) FROM (SELECT arrival_us - "
        f"lag(arrival_us) OVER (PARTITION BY {run} ORDER BY arrival_us) AS gap FROM {ROWS})"
    )
    seconds = int(span) / SECOND
    kinds = {str(each.properties.get("arrivals", "unknown")) for each in requests.source.workloads}
    epoch = requests.epoch
    return Arrivals(
        kind=" and ".join(sorted(kinds)),
        start=_moment(epoch, first),
        first_us=first,
        last_us=last,
        seconds=seconds,
        per_second=int(rows) / seconds if seconds else None,
        busiest_minute=_busiest(requests, MINUTE),
        busiest_hour=_busiest(requests, HOUR),
        gap_cv=cv,
        dispersion=_dispersion(requests),
        hours=_hours(requests, epoch) if longest >= DAY else None,
    )


def _moment(epoch: str | None, us: int) -> str | None:
    return (datetime.fromisoformat(epoch) + timedelta(microseconds=us)).isoformat() if epoch else None


def _busiest(requests: Records, width: int) -> Busiest:
    run = _run(requests)
    ((start, count),) = requests.fetch(
        f"SELECT arrival_us // {width} * {width} AS start, count(*) AS n FROM {ROWS} GROUP BY start, {run} "
        "ORDER BY n DESC, start LIMIT 1"
    )
    return Busiest(start, count)


def _dispersion(requests: Records) -> dict[str, float | None]:
    """Return variance / mean of the requests per bin; bins start at the first arrival of their segment."""
    run = _run(requests)
    found = requests.fetch(
        f"""
        WITH counted AS (
          SELECT {run}, (arrival_us - start) // {SECOND} AS bin, count(*) AS n
          FROM {ROWS} JOIN (SELECT {run}, min(arrival_us) AS start FROM {ROWS} GROUP BY {run}) USING ({run})
          GROUP BY ALL
        ),
        bins AS (
          SELECT scale, {run}, bin // scale AS bin, sum(n) AS n
          FROM counted, (SELECT unnest({list(SCALES)}) AS scale) GROUP BY ALL
        ),
        runs AS (SELECT scale, max(bin) + 1 AS bins, sum(n) AS n, sum(n * n) AS squares FROM bins GROUP BY scale, {run})
        SELECT scale, sum(bins), CAST(sum(n) AS DOUBLE), CAST(sum(squares) AS DOUBLE) FROM runs GROUP BY scale
        ORDER BY scale
        """
    )
    # The bins without requests add nothing to either sum.
    return {
        str(scale): None if bins < 2 else (squares / int(bins) - (n / int(bins)) ** 2) / (n / int(bins))
        for scale, bins, n, squares in found
    }


def _hours(requests: Records, epoch: str | None) -> tuple[float, ...]:
    """Return the mean number of requests per hour of each hour of the day, over the hours from first to last arrival.

    Without an epoch, the day begins where the clock of the trace does.
    """
    run = _run(requests)
    moment = datetime.fromisoformat(epoch) if epoch else datetime(1970, 1, 1)
    offset = (moment - datetime(moment.year, moment.month, moment.day)) // timedelta(microseconds=1)
    found = requests.fetch(
        f"""
        WITH counted AS (
          SELECT {run}, (arrival_us + {offset}) // {HOUR} AS hour, count(*) AS n FROM {ROWS} GROUP BY ALL
        ),
        hours AS (SELECT {run}, unnest(range(min(hour), max(hour) + 1)) AS hour FROM counted GROUP BY {run})
        SELECT hour % 24 AS of_day, avg(coalesce(n, 0)) FROM hours LEFT JOIN counted USING ({run}, hour)
        GROUP BY of_day ORDER BY of_day
        """
    )
    return tuple(mean for _, mean in found)


def _sessions(requests: Records) -> Sessions:
    run = _run(requests)
    whole = "trace, workload, session_id"
    turns = f"SELECT count(*) AS value FROM {ROWS} WHERE session_id IS NOT NULL GROUP BY {whole}"
    distribution = _distribution(requests, turns)
    assert distribution
    ((single,),) = requests.fetch(f"SELECT count(*) FROM ({turns}) WHERE value = 1")
    following = f"""
        SELECT arrival_us - lag(arrival_us) OVER turns AS gap,
          arrival_us - lag(arrival_us + latency_us) OVER turns AS think
        FROM {ROWS} WHERE session_id IS NOT NULL
        WINDOW turns AS (PARTITION BY {run}, session_id ORDER BY turn, arrival_us, request_id)
    """
    return Sessions(
        sessions=distribution.count,
        single_turn=single,
        turns=distribution,
        gap_us=_distribution(requests, f"SELECT gap AS value FROM ({following})"),
        think_us=_distribution(requests, f"SELECT think AS value FROM ({following})"),
    )


def _failures(requests: Records) -> Failures | None:
    ((recorded, failed),) = requests.fetch(f"SELECT count(failed), count(*) FILTER (failed) FROM {ROWS}")
    return Failures(recorded, failed) if recorded else None


def _prefix(requests: Records, runs: Sequence[tuple[Any, ...]]) -> Prefix | None:
    """Return the hit ratios of the rows in their order; each run starts with an empty cache."""
    cases = [f"WHEN {_is_run(requests, run)} THEN {number}" for number, run in enumerate(runs)]
    numbered = requests.derive(f"SELECT hash_ids, CASE {' '.join(cases)} END AS run FROM {ROWS}", "")
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


def _run(requests: Records) -> str:
    return ", ".join(requests.source.run)


def _is_run(requests: Records, run: tuple[Any, ...]) -> str:
    values = zip(requests.source.run, run, strict=True)
    return " AND ".join(f"{name} = {quote(value) if isinstance(value, str) else value}" for name, value in values)


# -- as text ----------------------------------------------------------------------------------------------------------

_BARS = "▁▂▃▄▅▆▇█"


def render(profiles: Sequence[Profile]) -> str:
    """Return profiles side by side as plain text: a figure per line, a dash for what is not recorded.

    The segments of a single one stand beside it, unless there are many.
    """
    if len(profiles) == 1 and len(profiles[0].segments) <= MOST_SEGMENTS:
        profiles = [*profiles, *profiles[0].segments]
    columns = [dict(_figures(each)) for each in profiles]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    rows = [(label, *(column.get(label, "–") for column in columns)) for label in labels]
    shown = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return format_table(("", *(each.name for each in profiles)), shown, range(1, len(profiles) + 1))


def _figures(profile: Profile) -> Iterator[tuple[str, str]]:
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
