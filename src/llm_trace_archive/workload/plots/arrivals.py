"""Plots of when requests arrive: rates, the rhythm of days and weeks, and burstiness."""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from ..profile import DAY, HOUR, SECOND, dispersion, find_gaps, per_second
from ..times import duration
from . import chart
from .chart import Row
from .study import WHOLE, Plot, Study

WINDOW = "window"
SCALES = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 21600, 43200, 86400)  # seconds
STEPS = 8  # bins of gaps to a decade


def rate(study: Study) -> Plot | str:
    """Return the requests per second over time."""
    if why := study.why_not("arrival_us"):
        return why
    rows = [
        {WINDOW: window.label, "series": row["series"], "start_us": row["start_us"], "width_us": window.width}
        | {"requests": row["requests"], "requests_per_s": row["requests"] * SECOND / window.width}
        for window in study.windows
        for row in window.rows
    ]
    busiest = max((row for row in rows if row[WINDOW] == WHOLE), key=lambda row: row["requests_per_s"])
    width = study.windows[0].width
    return _over_time(
        study,
        "rate",
        "Requests over time",
        "Requests per second: those that arrive in a bin, divided by its width. Bins without requests count.",
        f"{study.counts['rows']:,} requests within {duration(study.span)}; the busiest {duration(width)} has "
        f"{busiest['requests_per_s']:.3g} requests a second.",
        rows,
        ("requests_per_s", "requests per second"),
        list(study.labels.values()),
    )


def tokens(study: Study) -> Plot | str:
    """Return the input and output tokens per second over time."""
    if why := study.why_not("arrival_us"):
        return why
    has = [name for name in ("input_tokens", "output_tokens") if not study.why_not(name)]
    if not has:
        return study.why_not("input_tokens")
    many = len(study.labels) > 1
    names = {name: name.replace("_", " ") for name in has}
    rows = [
        {WINDOW: window.label, "series": f"{row['series']}, {label}" if many else label, "start_us": row["start_us"]}
        | {"width_us": window.width, "tokens": row[name], "tokens_per_s": row[name] * SECOND / window.width}
        for window in study.windows
        for row in window.rows
        for name, label in names.items()
        if row[name] is not None
    ]
    by = list(dict.fromkeys(row["series"] for row in rows))[: chart.MOST_SERIES]
    totals = {
        label: sum(row["tokens"] for row in rows if row[WINDOW] == WHOLE and row["series"].endswith(label))
        for label in names.values()
    }
    return _over_time(
        study,
        "tokens",
        "Tokens over time",
        "Tokens per second of the requests that arrive in a bin: those of their prompts, and those of their answers.",
        " and ".join(f"{total:,} {label}" for label, total in totals.items()) + f" within {duration(study.span)}.",
        [row for row in rows if row["series"] in by],
        ("tokens_per_s", "tokens per second"),
        by,
        ["all", *names.values()] if len(names) > 1 else None,
    )


def _over_time(
    study: Study,
    name: str,
    title: str,
    definition: str,
    summary: str,
    rows: list[Row],
    value: tuple[str, str],
    by: list[str],
    shown: list[str] | None = None,
) -> Plot:
    transform, time = study.time_axis()
    windows = {window.label: duration(window.width) for window in study.windows}
    bins = "Bins: " + ", ".join(f"{width} of the {label}" for label, width in windows.items()) + "."
    spec = chart.lines(time, chart.numbers(*value), by, step=True)
    spec |= {
        "params": [{"name": WINDOW, "value": WHOLE}],
        "transform": [{"filter": f"datum.{WINDOW} == {WINDOW}"}, *transform],
    }
    choices = {"Time shown": (WINDOW, list(windows))} if len(windows) > 1 else {}
    if shown:
        spec["params"].append({"name": "which", "value": shown[0]})
        spec["transform"].insert(0, {"filter": f"which == {shown[0]!r} || indexof(datum.series, which) >= 0"})
        choices["Tokens shown"] = ("which", shown)
    return Plot(name, title, definition, summary, rows, spec, choices, [bins, *study.left_out])


def rhythm(study: Study) -> Plot | str:
    """Return the mean requests per hour by the day and the hour."""
    if why := study.why_not("arrival_us"):
        return why
    if study.span < 2 * DAY:
        return f"The trace is {duration(study.span)} long: too short for a daily rhythm, which needs two days."
    epoch = study.requests.epoch
    start = datetime.fromisoformat(epoch) if epoch else datetime(1970, 1, 1)
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    days: dict[str, None] = {}
    is_by_week = study.span >= 14 * DAY
    if is_by_week and epoch:
        days = dict.fromkeys(calendar.day_name)
    for row in study.rate_of(study.requests, HOUR):
        moment = start + timedelta(microseconds=row["start_us"])
        day = _day(moment, is_by_week, bool(epoch), start)
        days[day] = None
        found[day, moment.hour].append(row["requests"])
    order = list(days) if epoch else sorted(days, key=lambda day: int(day.split()[1]))
    rows: list[Row] = [
        {"day": day, "hour": hour, "requests_per_hour": sum(counts) / len(counts), "hours": len(counts)}
        for (day, hour), counts in found.items()
    ]
    rows.sort(key=lambda row: (order.index(row["day"]), row["hour"]))
    most = max(rows, key=lambda row: row["requests_per_hour"])
    least = min(rows, key=lambda row: row["requests_per_hour"])
    spec = chart.heat(
        {"field": "hour", "type": "ordinal", "title": "hour of the day", "axis": {"labelAngle": 0}},
        {"field": "day", "type": "nominal", "title": None, "sort": order},
        {"field": "requests_per_hour", "type": "quantitative", "title": "per hour"},
    )
    return Plot(
        "rhythm",
        "Rhythm of the day and the week",
        "Mean number of requests that arrive in an hour, over every such hour from the first to the last arrival.",
        f"Busiest at {most['hour']} h, {most['day']} ({most['requests_per_hour']:,.0f} requests an hour); quietest at "
        f"{least['hour']} h, {least['day']} ({least['requests_per_hour']:,.0f}).",
        rows,
        spec,
        notes=[] if epoch else ["The trace has no date: its days begin where its clock does."],
    )


def _day(moment: datetime, is_by_week: bool, has_date: bool, start: datetime) -> str:
    if has_date:
        return calendar.day_name[moment.weekday()] if is_by_week else f"{moment:%a %d %b}"
    number = (moment - start).days
    return f"day {number % 7 + 1 if is_by_week else number + 1}"


def gaps(study: Study) -> Plot | str:
    """Return the distribution of the times between arrivals."""
    if why := study.why_not("arrival_us"):
        return why
    counts = np.zeros(20 * STEPS, np.int64)
    zero, total, length = 0, 0, 0
    for each in find_gaps(study.requests, study.runs):
        positive = each[each > 0]
        zero += len(each) - len(positive)
        total, length = total + len(each), length + int(each.sum())
        counts += np.bincount((np.log10(positive) * STEPS).astype(np.int64), minlength=len(counts))
    if not length:
        return "All requests arrive at once."
    rows = list(_tail(counts, zero, total, length / total))
    spec = chart.lines(
        chart.numbers("gap_s", "time between two arrivals, seconds", log=True, format="~g"),
        chart.share("longer", "share of gaps that are longer", log=True),
        ["measured", "Poisson process"],
    )
    return Plot(
        "gaps",
        "Times between arrivals",
        "Share of the gaps between consecutive arrivals that are longer than a time. The dashed line is a Poisson "
        "process of the same rate: a longer tail than its tail means bursts.",
        f"{total:,} gaps, {duration(length / total)} on average; {zero / total:.1%} are 0.",
        rows,
        spec,
    )


def _tail(counts: np.ndarray[tuple[int], np.dtype[np.int64]], zero: int, total: int, mean: float) -> Iterator[Row]:
    filled = np.flatnonzero(counts)
    longer = total - zero
    lowest = min(int(filled[0]), int(np.log10(max(mean, 1)) - 1) * STEPS)
    for index in range(lowest, int(filled[-1]) + 2):
        gap = 10 ** (index / STEPS)
        if longer:
            yield {"series": "measured", "gap_s": gap / SECOND, "longer": longer / total}
        expected = float(np.exp(-gap / mean))
        if expected >= 1 / total:
            yield {"series": "Poisson process", "gap_s": gap / SECOND, "longer": expected}
        longer -= int(counts[index])


def dispersion_of(study: Study) -> Plot | str:
    """Return the index of dispersion by the width of the bins."""
    if why := study.why_not("arrival_us"):
        return why
    scales = [each for each in SCALES if each * SECOND * 8 <= study.span]
    starts = {run.key: run.first or 0 for run in study.runs}
    found = dispersion(per_second(study.requests, study.runs, starts), scales)
    rows = [{"width_s": int(scale), "dispersion": index} for scale, index in found.items() if index]
    if len(rows) < 2:
        return f"The trace is {duration(study.span)} long: too short for bins of several widths."
    spec = chart.lines(
        chart.numbers("width_s", "width of the bins, seconds", log=True),
        chart.numbers("dispersion", "variance / mean", log=True, format="~g"),
        rules=chart.rule("y", 1, "1: a Poisson process"),
    )
    first, last = rows[0], rows[-1]
    return Plot(
        "dispersion",
        "Burstiness by time scale",
        "Index of dispersion: variance / mean of the number of requests in bins of a width. 1 at every width for a "
        "Poisson process; it grows with the width where load comes in waves. Widths of which 8 fit into the trace.",
        f"{first['dispersion']:.3g} in bins of {first['width_s']} s, {last['dispersion']:.3g} in bins of "
        f"{duration(last['width_s'] * SECOND)}.",
        rows,
        spec,
    )
