"""Plots of conversations: how many turns, how long until the next, how the context grows."""

from __future__ import annotations

from ...core.sql import ROWS
from ..profile import SECOND, sql_of_turns
from ..times import duration
from . import chart
from .chart import Row
from .study import Plot, Study
from .tokens import SHARES

MOST_TURNS = 60
FEWEST = 5  # sessions that a median is drawn of


def turns(study: Study) -> Plot | str:
    """Return the distribution of turns per session."""
    if why := study.why_not("session_id", every=False):
        return why
    found = study.requests.fetch(
        f"SELECT turns, count(*) FROM (SELECT count(*) AS turns FROM {ROWS} WHERE session_id IS NOT NULL "
        "GROUP BY trace, workload, session_id) GROUP BY turns ORDER BY turns"
    )
    sessions = sum(count for _, count in found)
    left = sessions
    rows: list[Row] = []
    for number, count in found:
        rows.append({"turns": number, "sessions": count, "at_least": left / sessions})
        left -= count
    single = found[0][1] if found[0][0] == 1 else 0
    return Plot(
        "turns",
        "Turns of a session",
        "Share of the sessions that have at least so many turns.",
        f"{sessions:,} sessions, {single / sessions:.1%} of one turn; the longest has {found[-1][0]:,}.",
        rows,
        chart.lines(chart.numbers("turns", "turns", log=True), chart.share("at_least", "share of sessions", log=True)),
    )


def think(study: Study) -> Plot | str:
    """Return the distributions of the times from a turn to the next."""
    if why := study.why_not("session_id", "arrival_us", every=False):
        return why
    following = study.requests.tabulate(sql_of_turns(study.requests), "")
    rows: list[Row] = []
    names = {"gap": "from arrival to arrival", "think": "from the end of the answer"}
    for column, name in names.items():
        found = following.percentiles(column, SHARES)
        rows += [
            {"series": name, "seconds": value / SECOND, "share": share}
            for share, value in found.items()
            if value is not None
        ]
    by = list(dict.fromkeys(row["series"] for row in rows))
    if not by:
        return "No session has a second turn."
    medians = {row["series"]: row["seconds"] for row in rows if row["share"] == 0.5}
    return Plot(
        "think",
        "Time until the next turn",
        "Share of the turns that follow within a time, from the arrival of the turn before, and, where latencies are "
        "recorded, from the end of its answer. Times below a millisecond are drawn as one.",
        "; ".join(f"half of the turns follow within {duration(at * SECOND)} {name}" for name, at in medians.items())
        + ".",
        rows,
        {
            **chart.lines(
                chart.numbers("drawn", "seconds", log=True, format="~g"),
                chart.share("share", "share of turns"),
                by,
                has_points=False,
            ),
            "transform": [{"calculate": "max(datum.seconds, 0.001)", "as": "drawn"}],
        },
    )


def growth(study: Study) -> Plot | str:
    """Return the input tokens by turn."""
    if why := study.why_not("session_id", "input_tokens", every=False):
        return why
    found = study.requests.fetch(
        f"""
        SELECT number, count(*), quantile_disc(input_tokens, [0.5, 0.9]) FROM (
          SELECT input_tokens, row_number() OVER (
            PARTITION BY trace, workload, session_id ORDER BY turn, arrival_us, request_id) AS number
          FROM {ROWS} WHERE session_id IS NOT NULL AND input_tokens IS NOT NULL
        ) WHERE number <= {MOST_TURNS} GROUP BY number HAVING count(*) >= {FEWEST} ORDER BY number
        """
    )
    if len(found) < 2:
        return f"Fewer than {FEWEST} sessions have a second turn."
    rows = [
        {"series": name, "turn": number, "input_tokens": values[place], "sessions": count}
        for number, count, values in found
        for place, name in enumerate(("median", "90th percentile"))
    ]
    first, last = rows[0], rows[-2]
    return Plot(
        "growth",
        "Growth of the context",
        "Input tokens of the first turn of a session, of the second, and so on: median and 90th percentile. Not drawn: "
        f"turns that fewer than {FEWEST} sessions reach, and those after {MOST_TURNS}.",
        f"The median prompt grows from {first['input_tokens']:,} tokens in turn 1 to {last['input_tokens']:,} in turn "
        f"{last['turn']}.",
        rows,
        chart.lines(
            chart.numbers("turn", "turn", zero=False),
            chart.numbers("input_tokens", "input tokens"),
            ["median", "90th percentile"],
        ),
    )
