"""Series over time: how many requests and tokens arrive in each bin."""

from __future__ import annotations

from ..core.errors import BadUse
from .records import ROWS, Records
from .times import Time, microseconds

MOST_BINS = 100_000_000


def rate(requests: Records, per: Time) -> Records:
    """Return the lazy table of requests, input and output tokens per bin of time, by trace, workload and segment.

    Of merged workloads, which share a clock, by segment alone.

    per  width of a bin: a number of seconds, or "100ms", "1s", "10min", "1h"

    Bins start at multiples of their width on the trace's clock (`start_us`, microseconds since its epoch) and go from
    the first arrival of a segment to its last; those without requests are included. Tokens are null in a bin where the
    upstream does not count them for every request. Raises BadUse for requests without arrivals, Problem.
    """
    width, run = microseconds(per, "rate"), ", ".join(requests.source.run)
    if width == 0:
        raise BadUse("rate", "a bin must be longer than 0", got=str(per))
    require_arrivals(requests, "rate")
    ((bins,),) = requests.fetch(
        f"SELECT sum(n) FROM (SELECT max(arrival_us) // {width} - min(arrival_us) // {width} + 1 AS n "
        f"FROM {ROWS} GROUP BY {run})"
    )
    if (bins or 0) > MOST_BINS:
        raise BadUse(
            "rate", f"{bins:,} bins of {per} are too many", expected=f"at most {MOST_BINS:,}", next="wider bins"
        )
    return requests.tabulate(
        f"""
        WITH counted AS (
          SELECT {run}, arrival_us // {width} AS bin, count(*) AS requests,
            CASE WHEN count(input_tokens) = count(*) THEN sum(input_tokens) END AS input_tokens,
            CASE WHEN count(output_tokens) = count(*) THEN sum(output_tokens) END AS output_tokens
          FROM {ROWS} GROUP BY ALL
        ),
        bins AS (SELECT {run}, unnest(range(min(bin), max(bin) + 1)) AS bin FROM counted GROUP BY {run})
        SELECT {run}, bin * {width} AS start_us, coalesce(requests, 0) AS requests,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE input_tokens END AS BIGINT) AS input_tokens,
          CAST(CASE WHEN requests IS NULL THEN 0 ELSE output_tokens END AS BIGINT) AS output_tokens
        FROM bins LEFT JOIN counted USING ({run}, bin) ORDER BY {run}, bin
        """,
        f"rate({per!r})",
    )


def require_arrivals(requests: Records, purpose: str) -> None:
    """Raise BadUse that names the workloads of which a request has no arrival."""
    found = requests.fetch(
        f"SELECT trace || '/' || workload, count(*), count(arrival_us) FROM {ROWS} GROUP BY ALL "
        "HAVING count(arrival_us) < count(*) ORDER BY 1"
    )
    if found:
        raise BadUse(
            ", ".join(name for name, _, _ in found),
            f"can't answer {purpose}: requests have no arrival",
            found="\n".join(
                f"{name}: {rows - known:,} of {rows:,} requests without one" for name, rows, known in found
            ),
            next="llm-traces list shows which workloads have arrivals",
        )
