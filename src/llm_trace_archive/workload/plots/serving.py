"""Plots of how requests were served: failures, requests in flight, latencies."""

from __future__ import annotations

import itertools

import numpy as np

from ...core.sql import ROWS
from ..profile import SECOND
from ..series import key_of
from ..times import duration
from . import chart
from .chart import Row
from .study import Plot, Study

STEPS = 6  # bins of tokens to a decade
FEWEST = 5  # requests that a percentile is drawn of


def failures(study: Study) -> Plot | str:
    """Return the share of failed requests over time."""
    if why := study.why_not("arrival_us") or study.why_not("failed", every=False):
        return why
    width = study.windows[0].width
    recorded, failed = (
        {
            (row["series"], row["start_us"]): row["requests"]
            for row in study.rate_of(study.requests.derive(f"SELECT * FROM {ROWS} WHERE {where}", ""), width)
        }
        for where in ("failed IS NOT NULL", "failed")
    )
    rows = [
        {"series": name, "start_us": start, "requests": count, "failed": failed.get((name, start), 0)}
        | {"share": failed.get((name, start), 0) / count}
        for (name, start), count in recorded.items()
        if count
    ]
    total, wrong = sum(row["requests"] for row in rows), sum(row["failed"] for row in rows)
    transform, time = study.time_axis()
    spec = chart.lines(time, chart.share("share", "share that failed", is_whole=False), list(study.labels.values()))
    spec["transform"] = transform
    return Plot(
        "failures",
        "Failures over time",
        "Share of the requests that arrive in a bin of which the upstream records that they failed. Bins without "
        "requests are left out.",
        f"{wrong:,} of {total:,} requests failed ({wrong / total:.2%}).",
        rows,
        spec,
        notes=[f"Bins of {duration(width)}.", *study.left_out],
    )


def concurrency(study: Study) -> Plot | str:
    """Return the number of requests in flight over time."""
    if why := study.why_not("arrival_us", "latency_us"):
        return why
    width = study.windows[0].width
    ends: dict[int, list[tuple[int, int]]] = {}
    for run, end, count in study.requests.fetch(
        f"SELECT {key_of(study.runs)} AS run, (arrival_us + latency_us) // {width} AS end_bin, count(*) FROM {ROWS} "
        "GROUP BY ALL ORDER BY ALL"
    ):
        ends.setdefault(run, []).append((end, count))
    keys = {study.labels[tuple(run.columns.values())]: run.key for run in study.shown}
    rows: list[Row] = []
    for name, part in itertools.groupby(study.windows[0].rows, key=lambda row: row["series"]):
        bins = list(part)
        ended = np.array(ends[keys[name]])
        starts = np.array([row["start_us"] // width for row in bins])
        done = np.r_[0, ended[:, 1].cumsum()][np.searchsorted(ended[:, 0], starts, side="right")]
        inside = np.cumsum([row["requests"] for row in bins]) - done
        rows += [
            {"series": name, "start_us": row["start_us"], "in_flight": int(count)}
            for row, count in zip(bins, inside, strict=True)
        ]
    most = max(row["in_flight"] for row in rows)
    transform, time = study.time_axis()
    spec = chart.lines(time, chart.numbers("in_flight", "requests in flight"), list(study.labels.values()), step=True)
    spec["transform"] = transform
    return Plot(
        "concurrency",
        "Requests in flight",
        "Requests that have arrived and are not answered yet, at the end of each bin. An answer ends when its latency "
        "has passed since the arrival.",
        f"At most {most:,} requests are in flight at the end of a bin.",
        rows,
        spec,
        notes=[f"Bins of {duration(width)}.", *study.left_out],
    )


def latency(study: Study) -> Plot | str:
    """Return the latency by output tokens."""
    return _against(study, "latency", "Latency against answers", "latency_us", "output_tokens", "the last token")


def ttft(study: Study) -> Plot | str:
    """Return the time to the first token by input tokens."""
    return _against(study, "ttft", "First token against prompts", "ttft_us", "input_tokens", "the first token")


def _against(study: Study, name: str, title: str, column: str, tokens: str, until: str) -> Plot | str:
    if why := study.why_not(column, tokens, every=False):
        return why
    found = study.requests.fetch(
        f"""
        SELECT CAST(floor(log10({tokens}) * {STEPS}) AS INT) AS bin, count(*), quantile_disc({column}, [0.1, 0.5, 0.9])
        FROM {ROWS} WHERE {tokens} > 0 AND {column} IS NOT NULL GROUP BY bin HAVING count(*) >= {FEWEST} ORDER BY bin
        """
    )
    if not found:
        return f"No {FEWEST} requests of about as many {tokens.replace('_', ' ')} have one."
    names = ("10th percentile", "median", "90th percentile")
    rows = [
        {"series": series, "tokens": 10 ** ((step + 0.5) / STEPS), "seconds": values[place] / SECOND, "requests": count}
        for step, count, values in found
        for place, series in enumerate(names)
    ]
    medians = [row for row in rows if row["series"] == "median"]
    words = tokens.replace("_", " ")
    return Plot(
        name,
        title,
        f"Time from the arrival to {until}, by {words}: percentiles in bins of which {STEPS} make a power of ten. "
        f"Requests with 0 {words} and bins of fewer than {FEWEST} requests are not drawn.",
        f"The median goes from {medians[0]['seconds']:.3g} s at about {medians[0]['tokens']:,.0f} {words} to "
        f"{medians[-1]['seconds']:.3g} s at about {medians[-1]['tokens']:,.0f}.",
        rows,
        chart.lines(
            chart.numbers("tokens", words, log=True), chart.numbers("seconds", "seconds", log=True, format="~g"), names
        ),
    )
