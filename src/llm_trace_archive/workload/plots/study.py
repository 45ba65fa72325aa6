"""What the plots of one table share, measured when the first of them needs it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...core.sql import ROWS
from ..profile import HOUR, MINUTE, SECOND, busiest, per_second
from ..series import Run, find_runs
from .chart import MOST_SERIES, Row, Spec, numbers

if TYPE_CHECKING:
    from ..requests import Requests

MOST_BINS = 300  # of a plot over time
WIDTHS = [
    *(each * 1_000 for each in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(each * SECOND for each in (1, 2, 5, 10, 15, 30)),
    *(each * MINUTE for each in (1, 2, 5, 10, 15, 30)),
    *(each * HOUR for each in (1, 2, 3, 6, 12, 24, 48, 168)),
]
COUNTED = ("arrival_us", "input_tokens", "output_tokens", "session_id", "failed", "latency_us", "ttft_us", "hash_ids")
WHOLE = "whole period"


@dataclass(frozen=True)
class Plot:
    """A chart of a table of requests, and what stands beside it.

    definition  what is drawn, in a sentence or two
    summary     what the chart shows, in words, for those who don't see it
    rows        the numbers that are drawn
    spec        the chart in Vega-Lite, without the rows
    choices     parameters of the chart that a reader can choose, by their label: the name and the values
    notes       what to know to read it
    """

    name: str
    title: str
    definition: str
    summary: str
    rows: Sequence[Row]
    spec: Spec
    choices: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """The names of what the rows have."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def as_csv(self) -> str:
        """Return the rows as CSV."""
        return as_csv(self.rows)

    @property
    def full_spec(self) -> Spec:
        """The chart with what it needs of its rows."""
        return with_data(self.spec, self.rows)


def with_data(spec: Spec, rows: Sequence[Row]) -> Spec:
    """Return a chart with those columns of rows that it names, as CSV with as many digits as can be seen."""
    text = json.dumps(spec)
    values = {name: value for row in rows for name, value in row.items() if name in text and value is not None}
    kinds = {name: "string" if isinstance(value, str) else "number" for name, value in values.items()}
    drawn = as_csv([{name: row.get(name) for name in kinds} for row in rows], 6)
    return {**spec, "data": {"values": drawn, "format": {"type": "csv", "parse": kinds}}}


def as_csv(rows: Sequence[Row], digits: int = 10) -> str:
    """Return rows as CSV, their numbers to so many digits."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.{digits}g}" if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    )
    return out.getvalue()


@dataclass(frozen=True)
class Series:
    """Requests and tokens per bin of a part of the time, as `series.rate` counts them; `width` is in microseconds."""

    label: str
    width: int
    first: int
    last: int
    rows: Sequence[Row]


class Study:
    """A table of requests, and the measurements that its plots share."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests

    @cached_property
    def runs(self) -> list[Run]:
        """The runs that share a clock."""
        return find_runs(self.requests)

    @cached_property
    def shown(self) -> list[Run]:
        """The runs that a plot of one line for each shows: the longest, in their order."""
        longest = sorted(self.runs, key=lambda run: -run.rows)[:MOST_SERIES]
        return [run for run in self.runs if run in longest]

    @cached_property
    def labels(self) -> dict[tuple[Any, ...], str]:
        """The label of each run that is shown, by the values of its columns."""
        workloads = len({run.workload for run in self.runs}) > 1
        segments = len({run.columns.get("segment") for run in self.runs}) > 1
        return {
            tuple(run.columns.values()): " ".join(
                (*([run.workload] if workloads else []), *([run.segment] if segments or not workloads else []))
            )
            for run in self.shown
        }

    @cached_property
    def left_out(self) -> list[str]:
        """A note on the runs that are not shown."""
        rest = len(self.runs) - len(self.shown)
        return [f"The {len(self.shown)} largest of {len(self.runs)} segments are drawn."] if rest else []

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many rows there are, and how many have each column."""
        names = ", ".join(f"count({name})" for name in COUNTED)
        (found,) = self.requests.fetch(f"SELECT count(*), {names} FROM {ROWS}")
        return dict(zip(("rows", *COUNTED), found, strict=True))

    def why_not(self, *columns: str, every: bool = True) -> str:
        """Return why a plot of columns is impossible; empty if it is not.

        every  whether all rows must have them, or only one
        """
        rows = self.counts["rows"]
        if not rows:
            return "There are no requests."
        for name in columns:
            if not self.counts[name]:
                return f"The upstream does not record {NAMES[name]}."
            if every and self.counts[name] < rows:
                return f"{rows - self.counts[name]:,} of {rows:,} requests have no {NAMES[name]}."
        return ""

    # -- over time -----------------------------------------------------------------------------------------------------

    @cached_property
    def span(self) -> int:
        """The longest time from the first arrival of a run to its last, in microseconds."""
        return max((run.last or 0) - (run.first or 0) for run in self.shown)

    @cached_property
    def windows(self) -> list[Series]:
        """The rate over the whole period, and over its busiest hour and minute where they are shorter."""
        low, high = min(run.first or 0 for run in self.shown), max(run.last or 0 for run in self.shown)
        found = [self._series(WHOLE, low, high, self.requests)]
        seconds = per_second(self.requests, self.runs, {run.key: 0 for run in self.runs})
        for label, width in (("busiest hour", HOUR), ("busiest minute", MINUTE)):
            if width * 2 <= self.span:
                start = busiest(seconds, width).start_us
                part = f"SELECT * FROM {ROWS} WHERE arrival_us >= {start} AND arrival_us < {start + width}"
                found.append(self._series(label, start, start + width, self.requests.derive(part, "")))
        return found

    def _series(self, label: str, first: int, last: int, requests: Requests) -> Series:
        length = self.span if label == WHOLE else last - first
        width = next((each for each in WIDTHS if length <= each * MOST_BINS), WIDTHS[-1])
        return Series(label, width, first, last, list(self.rate_of(requests, width)))

    def rate_of(self, requests: Requests, width: int) -> Iterator[Row]:
        """Yield the rows of `series.rate` of the runs that are shown, each with the label of its run."""
        table = requests.rate(width / SECOND).arrow()
        columns = [name for name in requests.source.run if name in table.column_names]
        for row in table.to_pylist():
            key = tuple(row.pop(name) for name in columns)
            if key in self.labels:
                yield {"series": self.labels[key], **row}

    def time_axis(self, **scale: Any) -> tuple[list[Spec], Spec]:
        """Return how the time of a row comes from `start_us`, and its axis: a date where the trace has an epoch."""
        from datetime import UTC, datetime

        if epoch := self.requests.epoch:
            start = round(datetime.fromisoformat(epoch).replace(tzinfo=UTC).timestamp() * 1000)
            axis = {"field": "time", "type": "temporal", "title": None, "scale": {"type": "utc"} | scale}
            return [{"calculate": f"{start} + datum.start_us / 1000", "as": "time"}], axis
        unit, name = next(
            (each for each in ((24 * HOUR, "days"), (HOUR, "hours"), (MINUTE, "minutes")) if self.span >= 3 * each[0]),
            (SECOND, "seconds"),
        )
        title = f"{name} since the trace's clock began"
        return [{"calculate": f"datum.start_us / {unit}", "as": "time"}], numbers("time", title, zero=False, **scale)


NAMES = {
    "arrival_us": "arrivals",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "session_id": "sessions",
    "failed": "failures",
    "latency_us": "latencies",
    "ttft_us": "times to the first token",
    "hash_ids": "prefix blocks",
}
