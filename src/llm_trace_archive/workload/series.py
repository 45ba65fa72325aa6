"""Series over time: how many requests and tokens arrive in each bin, and the runs that share a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import BadUse
from ..core.sql import ROWS, quote
from .records import Records
from .times import Time, microseconds

MOST_BINS = 100_000_000


@dataclass(frozen=True)
class Run:
    """The requests that share a clock, as those of a segment do; `key` is its number in SQL.

    columns      the names and values that tell its rows from those of others
    arrivals     how many requests have an arrival
    first, last  arrivals in microseconds since the trace's epoch, or None
    """

    key: int
    columns: Mapping[str, str | int]
    rows: int
    arrivals: int
    first: int | None
    last: int | None

    @property
    def workload(self) -> str:
        """The workload, as `trace/workload`; empty if several share the clock."""
        return f"{self.columns['trace']}/{self.columns['workload']}" if "workload" in self.columns else ""

    @property
    def segment(self) -> str:
        """The segment, as people read it."""
        return f"segment {self.columns['segment']}"

    @property
    def values(self) -> dict[str, str]:
        """The values of its columns as SQL."""
        return {
            name: quote(value) if isinstance(value, str) else f"{value}::SMALLINT"
            for name, value in self.columns.items()
        }

    @property
    def condition(self) -> str:
        """The SQL that is true for its rows."""
        return " AND ".join(f"{name} = {value}" for name, value in self.values.items())


def find_runs(requests: Records) -> list[Run]:
    """Return the runs of a table of requests, in the order of their names. Raises Problem."""
    names = requests.source.run
    found = requests.fetch(
        f"SELECT count(*), count(arrival_us), min(arrival_us), max(arrival_us), {', '.join(names)} FROM {ROWS} "
        f"GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}"
    )
    return [Run(key, dict(zip(names, each[4:], strict=True)), *each[:4]) for key, each in enumerate(found)]


def key_of(runs: Sequence[Run]) -> str:
    """Return the SQL of the key of a row's run; the fewer columns it needs, the faster."""
    if len(runs) < 2:
        return "0"
    if len({run.workload for run in runs}) == 1:
        cases = (f"WHEN {run.columns['segment']} THEN {run.key}" for run in runs)
        return f"CASE segment {' '.join(cases)} END"
    return f"CASE {' '.join(f'WHEN {run.condition} THEN {run.key}' for run in runs)} END"


def rate(requests: Records, per: Time) -> Records:
    """Return the lazy table of requests, input and output tokens per bin of time, by trace, workload and segment.

    Of merged workloads, which share a clock, by segment alone.

    per  width of a bin: a number of seconds, or "100ms", "1s", "10min", "1h"

    Bins start at multiples of their width on the trace's clock (`start_us`, microseconds since its epoch) and go from
    the first arrival of a segment to its last; those without requests are included. Tokens are null in a bin where the
    upstream does not count them for every request. Raises BadUse for requests without arrivals, Problem.
    """
    width = microseconds(per, "rate")
    if width == 0:
        raise BadUse("rate", "a bin must be longer than 0", got=str(per))
    runs = find_runs(requests)
    require_arrivals(runs, "rate")
    spans = {run.key: ((run.first or 0) // width, (run.last or 0) // width) for run in runs}
    if (bins := sum(last - first + 1 for first, last in spans.values())) > MOST_BINS:
        raise BadUse(
            "rate", f"{bins:,} bins of {per} are too many", expected=f"at most {MOST_BINS:,}", next="give wider bins"
        )
    names = ", ".join(requests.source.run)
    series = " UNION ALL ".join(
        f"SELECT {run.key} AS run, {', '.join(f'{value} AS {name}' for name, value in run.values.items())}, "
        f"unnest(range({spans[run.key][0]}, {spans[run.key][1] + 1})) AS bin"
        for run in runs
    )
    bins_of_all = series or f"SELECT 0 AS run, {names}, 0 AS bin FROM {ROWS} LIMIT 0"
    return requests.tabulate(
        f"""
        WITH counted AS (
          SELECT {key_of(runs)} AS run, arrival_us // {width} AS bin, count(*) AS requests,
            CASE WHEN count(input_tokens) = count(*) THEN sum(input_tokens) END AS input_tokens,
            CASE WHEN count(output_tokens) = count(*) THEN sum(output_tokens) END AS output_tokens
          FROM {ROWS} GROUP BY ALL
        ),
        bins AS ({bins_of_all})
        SELECT {names}, bin * {width} AS start_us, coalesce(requests, 0) AS requests,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE input_tokens END AS BIGINT) AS input_tokens,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE output_tokens END AS BIGINT) AS output_tokens
        FROM bins LEFT JOIN counted USING (run, bin) ORDER BY run, bin
        """,
        f"rate({per!r})",
    )


def require_arrivals(runs: Sequence[Run], purpose: str) -> None:
    """Raise BadUse that names the runs of which a request has no arrival."""
    lacking = [run for run in runs if run.arrivals < run.rows]
    if lacking:
        raise BadUse(
            ", ".join(dict.fromkeys(run.workload or run.segment for run in lacking)),
            f"can't answer {purpose}: requests have no arrival",
            found="\n".join(
                f"{f'{run.workload} {run.segment}'.strip()}: {run.rows - run.arrivals:,} of {run.rows:,} have none"
                for run in lacking
            ),
            next='keep those that have one: .filter("arrival_us IS NOT NULL"), or llm-traces shape --filter'
            if any(run.arrivals for run in lacking)
            else "llm-traces list --wide shows which workloads have arrivals",
        )
