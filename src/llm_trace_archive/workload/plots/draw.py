"""Which plots there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...core.errors import BadUse
from ...core.extras import require
from . import arrivals, prefix, serving, sessions, tokens
from .study import Plot, Study

if TYPE_CHECKING:
    from ..requests import Requests

PLOTS: dict[str, tuple[str, Callable[[Study], Plot | str]]] = {
    "rate": ("Requests over time", arrivals.rate),
    "tokens": ("Tokens over time", arrivals.tokens),
    "rhythm": ("Rhythm of the day and the week", arrivals.rhythm),
    "lengths": ("Lengths of prompts and answers", tokens.lengths),
    "histogram": ("Which lengths are common", tokens.histogram),
    "density": ("Prompts against answers", tokens.density),
    "gaps": ("Times between arrivals", arrivals.gaps),
    "dispersion": ("Burstiness by time scale", arrivals.dispersion_of),
    "turns": ("Turns of a session", sessions.turns),
    "think": ("Time until the next turn", sessions.think),
    "growth": ("Growth of the context", sessions.growth),
    "hit-ratio": ("Prefix reuse by the size of the cache", prefix.hit_ratio),
    "reuse-time": ("Time until a block comes back", prefix.reuse_time),
    "failures": ("Failures over time", serving.failures),
    "concurrency": ("Requests in flight", serving.concurrency),
    "latency": ("Latency against answers", serving.latency),
    "ttft": ("First token against prompts", serving.ttft),
}


def draw(requests: Requests, name: str) -> Plot:
    """Return a plot of a table of requests. Raises BadUse for an unknown name, and for what the rows don't have."""
    if name not in PLOTS:
        raise BadUse("plot", f"there is no plot '{name}'", there_are=", ".join(PLOTS))
    found = PLOTS[name][1](Study(requests))
    if isinstance(found, str):
        raise BadUse(", ".join(requests.names), f"can't draw {name}: {found}", next="llm-traces list --wide")
    return found


def draw_all(requests: Requests) -> Iterator[tuple[str, Plot | str]]:
    """Yield each plot by its title, or why there is none."""
    study = Study(requests)
    for title, make in PLOTS.values():
        yield title, make(study)


def as_altair(plot: Plot) -> Any:
    """Return a plot as a chart of Altair, which a notebook shows. Raises BadUse without Altair."""
    altair = require("altair", "report", "a plot in a notebook")
    from .chart import CONFIGS

    return altair.Chart.from_dict({**plot.full_spec, "config": CONFIGS["light"], "title": plot.title})
