"""Series over time: how many requests and tokens arrive in each bin, and the runs that share a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import BadUse
from .records import ROWS, Records, quote
from .times import Time, microseconds

MOST_BINS = 100_000_000


@dataclass(frozen=True)
class Run:
    """The requests that share a clock: those of a segment; `key` is its number in SQL, `condition` true for its rows.

    trace        of merged workloads, which share a clock, all their names; so is `workload`
    arrivals     how many requests have an arrival
    first, last  arrivals in microseconds since the trace's epoch, or None
    """

    key: int
    trace: str
    workload: str
    segment: int
    rows: int
    arrivals: int
    first: int | None
    last: int | None
    condition: str

    @property
    def name(self) -> str:
        """The workload, as `trace/workload`."""
        return f"{self.trace}/{self.workload}"


def find_runs(requests: Records) -> list[Run]:
    """Return the runs of a table of requests, in the order of their names. Raises Problem."""
    is_merged = "trace" not in requests.source.run
    names = "trace, workload"
    if is_merged:
        names = ", ".join(f"string_agg(DISTINCT {name}, '+' ORDER BY {name})" for name in ("trace", "workload"))
    found = requests.fetch(
        f"SELECT {names}, segment, count(*), count(arrival_us), min(arrival_us), max(arrival_us) FROM {ROWS} "
        "GROUP BY ALL ORDER BY ALL"
    )
    conditions = [
        ("" if is_merged else f"trace = {quote(trace)} AND workload = {quote(workload)} AND ") + f"segment = {segment}"
        for trace, workload, segment, *_ in found
    ]
    return [Run(key, *(*each, condition)) for key, (each, condition) in enumerate(zip(found, conditions, strict=True))]


def key_of(runs: Sequence[Run]) -> str:
    """Return the SQL of the key of a row's run; the fewer columns it needs, the faster."""
    if len(runs) < 2:
        return "0"
    if len({run.name for run in runs}) == 1:
        return f"CASE segment {' '.join(f'WHEN {run.segment} THEN {run.key}' for run in runs)} END"
    return f"CASE {' '.join(f'WHEN {run.condition} THEN {run.key}' for run in runs)} END"


def rate(requests: Records, per: Time) -> Records:
    """Return the lazy table of requests, input and output tokens per bin of time, by trace, workload and segment.

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
    names = (
        ", ".join(
            f"({run.key}, {quote(run.trace)}, {quote(run.workload)}, {run.segment}::SMALLINT, "
            f"{spans[run.key][0]}::BIGINT, {spans[run.key][1]}::BIGINT)"
            for run in runs
        )
        or "(0, '', '', 0::SMALLINT, 1::BIGINT, 0::BIGINT)"
    )  # of no requests, no bins
    return requests.tabulate(
        f"""
        WITH counted AS (
          SELECT {key_of(runs)} AS run, arrival_us // {width} AS bin, count(*) AS requests,
            CASE WHEN count(input_tokens) = count(*) THEN sum(input_tokens) END AS input_tokens,
            CASE WHEN count(output_tokens) = count(*) THEN sum(output_tokens) END AS output_tokens
          FROM {ROWS} GROUP BY ALL
        ),
        runs(run, trace, workload, segment, low, high) AS (VALUES {names}),
        bins AS (SELECT run, trace, workload, segment, unnest(range(low, high + 1)) AS bin FROM runs)
        SELECT trace, workload, segment, bin * {width} AS start_us, coalesce(requests, 0) AS requests,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE input_tokens END AS BIGINT) AS input_tokens,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE output_tokens END AS BIGINT) AS output_tokens
        FROM bins LEFT JOIN counted USING (run, bin) ORDER BY run, bin
        """,
        f"rate({per!r})",
    )


def require_arrivals(runs: Sequence[Run], purpose: str) -> None:
    """Raise BadUse that names the workloads of which a request has no arrival."""
    lacking = [run for run in runs if run.arrivals < run.rows]
    if lacking:
        raise BadUse(
            ", ".join(dict.fromkeys(run.name for run in lacking)),
            f"can't answer {purpose}: requests have no arrival",
            found="\n".join(
                f"{run.name}, segment {run.segment}: {run.rows - run.arrivals:,} of {run.rows:,} requests without one"
                for run in lacking
            ),
            next="llm-traces list shows which workloads have arrivals",
        )
