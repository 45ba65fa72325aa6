"""Plots of how long prompts and answers are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from ...core.sql import ROWS
from . import chart
from .chart import Row
from .study import Plot, Study

SHARES = (*(each / 100 for each in range(100)), 0.995, 0.999, 1.0)
STEPS = 8  # bins to a decade
LENGTHS = {"input": "input_tokens", "output": "output_tokens", "total": "input_tokens + output_tokens"}


def _measured(study: Study) -> dict[str, str]:
    """Return the lengths that there are, as SQL."""
    has = {name for name in ("input_tokens", "output_tokens") if study.counts[name]}
    return {name: sql for name, sql in LENGTHS.items() if set(sql.split(" + ")) <= has}


def lengths(study: Study) -> Plot | str:
    """Return the cumulative distributions of input, output and total tokens."""
    names = _measured(study)
    if not names:
        return study.why_not("input_tokens", every=False)
    rows: list[Row] = []
    for name, sql in names.items():
        rows += [{"series": name, "tokens": value, "share": share} for share, value in _percentiles(study, sql)]
    return Plot(
        "lengths",
        "Lengths of prompts and answers",
        "Share of the requests that have at most so many tokens: in the prompt, in the answer, in both together. "
        "0 is drawn as 1, because the axis is logarithmic.",
        "; ".join(
            f"{name}: half have at most {_at(rows, name, 0.5):,}, 99 % {_at(rows, name, 0.99):,}" for name in names
        )
        + " tokens.",
        rows,
        {
            **chart.lines(
                chart.numbers("drawn", "tokens", log=True),
                chart.share("share", "share of requests"),
                list(names),
                has_points=False,
            ),
            "transform": [{"calculate": "max(datum.tokens, 1)", "as": "drawn"}],
        },
    )


def _percentiles(study: Study, sql: str) -> Iterator[tuple[float, int]]:
    """Yield what `Records.percentiles` returns, from the few distinct values that lengths have: five times as fast."""
    found = study.requests.fetch(
        f"SELECT {sql} AS value, count(*) FROM {ROWS} WHERE value IS NOT NULL GROUP BY value ORDER BY value"
    )
    values, reached = [value for value, _ in found], np.cumsum([count for _, count in found])
    for share in SHARES:
        rank = max(math.ceil(Fraction(str(share)) * int(reached[-1])), 1)
        yield share, values[int(np.searchsorted(reached, rank))]


def _at(rows: Sequence[Row], name: str, share: float) -> int:
    return next(int(row["tokens"]) for row in rows if row["series"] == name and row["share"] == share)


def histogram(study: Study) -> Plot | str:
    """Return the distributions of input and output tokens."""
    names = [name for name in _measured(study) if name != "total"]
    if not names:
        return study.why_not("input_tokens", every=False)
    rows: list[Row] = []
    zeros = []
    for name in names:
        column = LENGTHS[name]
        found = study.requests.fetch(
            f"SELECT CAST(floor(log10({column}) * {STEPS}) AS INT) AS bin, count(*) FROM {ROWS} "
            f"WHERE {column} > 0 GROUP BY bin ORDER BY bin"
        )
        counts = dict(found)
        whole = study.counts[column]
        if zero := whole - sum(counts.values()):
            zeros.append(f"{zero:,} requests with 0 {name} tokens are not drawn.")
        for step in range(min(counts, default=0), max(counts, default=0) + 2):
            of_bin = {"requests": counts.get(step, 0), "share": counts.get(step, 0) / whole}
            rows += [{"series": name, "from_tokens": 10 ** (step / STEPS)} | of_bin]
    most = [max((row for row in rows if row["series"] == name), key=lambda row: row["requests"]) for name in names]
    tokens = chart.numbers("from_tokens", "tokens", log=True)
    spec = chart.lines(tokens, chart.share("share", "share of requests", is_whole=False), names, step=True)
    return Plot(
        "histogram",
        "Which lengths are common",
        f"Share of the requests with so many tokens, in bins of which {STEPS} make a power of ten.",
        "; ".join(f"most common {row['series']} length: from {row['from_tokens']:,.0f} tokens" for row in most) + ".",
        rows,
        spec,
        notes=zeros,
    )


def density(study: Study) -> Plot | str:
    """Return how many requests have which input and output tokens."""
    if why := study.why_not("input_tokens", "output_tokens", every=False):
        return why
    found = study.requests.fetch(
        f"""
        SELECT CAST(floor(log10(input_tokens) * {STEPS}) AS INT) AS i,
          CAST(floor(log10(output_tokens) * {STEPS}) AS INT) AS o, count(*)
        FROM {ROWS} WHERE input_tokens > 0 AND output_tokens > 0 GROUP BY ALL ORDER BY ALL
        """
    )
    if not found:
        return "No request has both input and output tokens above 0."
    rows = [
        {"from_input": 10 ** (i / STEPS), "to_input": 10 ** ((i + 1) / STEPS), "from_output": 10 ** (o / STEPS)}
        | {"to_output": 10 ** ((o + 1) / STEPS), "requests": count}
        for i, o, count in found
    ]
    top = max(rows, key=lambda row: row["requests"])
    rest = study.counts["rows"] - sum(row["requests"] for row in rows)
    spec = chart.heat(
        chart.numbers("from_input", "input tokens", log=True),
        chart.numbers("from_output", "output tokens", log=True),
        {"field": "requests", "type": "quantitative", "title": "requests", "scale": {"type": "log"}},
    )
    spec["encoding"] |= {"x2": {"field": "to_input"}, "y2": {"field": "to_output"}}
    return Plot(
        "density",
        "Prompts against answers",
        f"Requests by input and output tokens, in cells of which {STEPS} make a power of ten.",
        f"The fullest cell: from {top['from_input']:,.0f} input and {top['from_output']:,.0f} output tokens, "
        f"{top['requests']:,} requests.",
        rows,
        spec,
        notes=[f"{rest:,} requests without input or output tokens are not drawn."] if rest else [],
    )
