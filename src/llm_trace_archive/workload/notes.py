"""What spoils a benchmark unless it is meant: ties, failures, requests without tokens, arrivals not measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..core.sql import ROWS
from .records import Records
from .times import duration

TIES = 0.01  # of the requests
RAMP = 2  # times the rate of the other half, and
CERTAIN = 4  # standard deviations of a Poisson process apart


def notes(requests: Records) -> list[str]:
    """Return what to know before these requests are replayed; nothing if there is nothing."""
    return [*_origins(requests), *_rows(requests), *_ties(requests)]


def ramp(early: int, late: int) -> bool:
    """Return whether the numbers of requests in the two halves of a time differ more than chance and patience allow."""
    return max(early, late) > RAMP * min(early, late) and abs(early - late) > CERTAIN * math.sqrt(early + late)


def _origins(requests: Records) -> Iterator[str]:
    for origin in requests.source.origins:
        if origin.arrivals != "measured":
            what = "arrivals are synthetic" if origin.arrivals == "synthetic" else "requests have no arrivals"
            yield f"{origin.workload}: {what}"
        if not origin.redistribute:
            yield f"{origin.workload} may not be redistributed ({origin.licence}), nor may what is made of it"


def _rows(requests: Records) -> Iterator[str]:
    ((rows, failed, no_input, no_output),) = requests.fetch(
        f"SELECT count(*), count(*) FILTER (failed), count(*) FILTER (input_tokens = 0),"
        f" count(*) FILTER (output_tokens = 0) FROM {ROWS}"
    )
    if not rows:
        yield "there are no requests"
    if failed:
        yield f"{failed:,} of {rows:,} requests failed; filter('NOT failed') leaves them out"
    for count, column in ((no_input, "input_tokens"), (no_output, "output_tokens")):
        if count:
            yield f"{count:,} of {rows:,} requests have 0 {column}; filter('{column} > 0') leaves them out"


def _ties(requests: Records) -> Iterator[str]:
    run = ", ".join(requests.source.run)
    ((rows, times, step),) = requests.fetch(
        f"""
        SELECT sum(n), count(*), median(arrival_us - before) FROM (
            SELECT arrival_us, n, lag(arrival_us) OVER (PARTITION BY {run} ORDER BY arrival_us) AS before FROM (
                SELECT {run}, arrival_us, count(*) AS n FROM {ROWS} WHERE arrival_us IS NOT NULL GROUP BY ALL
            )
        )
        """
    )
    if rows and rows - times > TIES * rows:
        steps = f" arrivals come in steps of {duration(step)}" if step else ""
        yield f"{rows - times:,} of {rows:,} requests arrive at the very time of another:{steps or ' they all do'}"
