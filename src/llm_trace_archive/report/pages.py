"""What stands on the pages: HTML from templates, and what they need of a workload."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .. import __version__
from ..checks.figures import published_figures
from ..checks.result import Result
from ..core.archive import Archive
from ..core.extras import require
from ..core.files import hash_name
from ..core.recipe import Recipe, Workload
from ..core.table import Table
from ..workload.plots.chart import CONFIGS, DASHES, LIGHT, Row
from ..workload.plots.study import WHOLE, Plot, with_data
from ..workload.profile import Profile, figures
from ..workload.requests import Requests

TILES = {
    "requests": "requests",
    "period": "period",
    "requests per second": "requests per second",
    "CV of the gaps": "CV of the gaps",
    "  input tokens, p50": "median input tokens",
    "  output tokens, p50": "median output tokens",
    "sessions": "sessions",
    "failed": "failed",
    "hit ratio": "hit ratio, no limit",
}
SHOWN = 40  # rows of a table on a page
# The figures of the profile that stand beside a plot, by how their names begin.
BESIDE = {
    "rate": ("requests per second", "period", "busiest"),
    "tokens": ("input tokens, mean", "output tokens, mean"),
    "lengths": ("input tokens", "  input tokens", "output tokens", "  output tokens"),
    "gaps": ("CV of the gaps",),
    "dispersion": ("dispersion",),
    "turns": ("sessions", "of one turn", "turns", "  turns"),
    "think": ("next turn", "  next turn", "think", "  think"),
    "hit-ratio": ("prefix blocks", "distinct", "hit ratio", "  LRU"),
    "failures": ("failed",),
    "latency": ("latency", "  latency"),
    "ttft": ("first token", "  first token"),
}


@dataclass(frozen=True)
class Subject:
    """A workload of the report: its table, what was measured on it, and its plots, or why there is none, by title."""

    requests: Requests
    name: str
    slug: str
    title: str
    profile: Profile
    plots: Mapping[str, Plot | str]

    @property
    def drawn(self) -> list[Plot]:
        """The plots that there are."""
        return [each for each in self.plots.values() if isinstance(each, Plot)]

    @property
    def absent(self) -> dict[str, str]:
        """Why there is no plot, by its title."""
        return {title: each for title, each in self.plots.items() if isinstance(each, str)}

    @property
    def recipes(self) -> list[Recipe]:
        """The recipes of the workloads that the rows come from."""
        return self.requests.source.recipes

    @property
    def is_synthetic(self) -> bool:
        """Whether the content is that of look-alikes."""
        return any(recipe.synthetic for recipe in self.recipes)

    @property
    def marks(self) -> list[str]:
        """What a reader must know first: that content or arrivals are not measured, or may not be passed on."""
        found = []
        origins = self.requests.source.origins
        if self.is_synthetic:
            found.append("Synthetic: look-alikes of the published data, which show nothing of the real trace.")
        elif any(each.arrivals == "synthetic" for each in origins):
            found.append("The arrivals are synthetic: nobody measured when these requests came.")
        if not all(each.redistribute for each in origins):
            found.append("Not redistributable: this page is for you alone.")
        return found

    @property
    def tags(self) -> list[str]:
        """The same in a word."""
        return [
            mark.split(":")[0].split(".")[0].lower().replace("the arrivals are ", "arrivals ") for mark in self.marks
        ]

    @property
    def tiles(self) -> dict[str, str]:
        """The figures at the top of its page."""
        found = {shown: self.figures[name] for name, shown in TILES.items() if name in self.figures}
        return {shown: value.partition(" of ")[0] for shown, value in found.items()}

    @property
    def command(self) -> str:
        """The command that draws these plots again."""
        return f"llm-traces report {self.name} -o report"

    @property
    def about(self) -> dict[str, str]:
        """What each image says of itself."""
        requests = self.requests
        return {
            "workload": self.name,
            "source": requests.chain,
            "command": self.command,
            "licence": requests.licence,
            "cite": requests.citation,
            "software": f"llm-trace-archive {__version__}",
        }

    @cached_property
    def figures(self) -> dict[str, str]:
        """The figures of the profile."""
        return dict(figures(self.profile))

    @property
    def spark(self) -> str:
        """The rate over the whole period as points of an SVG polyline, 0 to 100 wide and 0 to 20 high."""
        rate = next((plot for plot in self.drawn if plot.name == "rate"), None)
        values = [row["requests_per_s"] for row in rate.rows if row["window"] == WHOLE] if rate else []
        most = max(values, default=0)
        if len(values) < 2 or not most:
            return ""
        return " ".join(f"{100 * n / (len(values) - 1):.1f},{20 - 19 * v / most:.1f}" for n, v in enumerate(values))

    def file(self, plot: Plot) -> str:
        """Return the name of a plot's files without its end; a download keeps it."""
        return f"{self.slug}-{plot.name}"

    def beside(self, plot: Plot) -> dict[str, str]:
        """Return the figures that stand beside a plot."""
        starts = BESIDE.get(plot.name, ())
        return (
            {name.strip(): value for name, value in self.figures.items() if name.startswith(starts)} if starts else {}
        )

    def published(self, archive: Archive) -> Iterator[Result]:
        """Yield each published figure beside the one that is found."""
        for workload in self.requests.source.workloads:
            if workload.published and archive.is_present(workload) and not self.requests.steps:
                with Table(archive.path(workload)) as table:
                    yield from published_figures(workload, table)

    def provenance(self, archive: Archive) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return what recipe and lock say of each workload that the rows come from."""
        return [(str(each), list(_facts(archive, each))) for each in self.requests.source.workloads]


def _facts(archive: Archive, workload: Workload) -> Iterator[tuple[str, str]]:
    record = archive.record(workload)
    build = record.get("provenance", {})
    yield "recipe", f"recipes/{workload.trace}.toml, digest {workload.digest}"
    if sha256 := str(record.get("hash", "")).removeprefix("sha256:"):
        yield "table", f"sha256 {sha256}"
    for file in () if workload.listed else workload.files:
        pin = f"{hash_name(file.pin[0])} {file.pin[1]}" if file.pin else "not pinned"
        yield "upstream", f"{file.url}, {pin}"
    if tools := build.get("tools"):
        yield "built with", ", ".join(f"{name} {version}" for name, version in tools.items())
    for name, value in workload.properties.items():
        yield name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)


class Pages:
    """The templates, and the HTML of each kind of page."""

    def __init__(self, archive: Archive, subjects: Sequence[Subject], others: Mapping[str, str]) -> None:
        """Read the templates.

        others  why workloads have no page, by their names
        """
        jinja2 = require("jinja2", "report", "a report")
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader(__package__, "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters["sig"] = _short
        environment.globals |= {
            "version": __version__,
            "shown": SHOWN,
            "has_comparison": len(subjects) > 1,
        }
        self._environment = environment
        self._archive = archive
        self._subjects = subjects
        self._others = others

    def overview(self) -> str:
        """Return the page that lists all workloads."""
        all_synthetic = all(each.is_synthetic for each in self._subjects)
        return self._render("overview.html", root="", here="overview", others=self._others, all_synthetic=all_synthetic)

    def workload(self, subject: Subject) -> str:
        """Return the page of a workload."""
        charts = {plot.name: plot.full_spec for plot in subject.drawn}
        return self._render(
            "workload.html",
            root="../",
            subject=subject,
            charts=_script(charts),
            anomalies=[each for recipe in subject.recipes for each in recipe.anomalies]
            + [each for workload in subject.requests.source.workloads for each in workload.anomalies],
            published=list(subject.published(self._archive)),
            provenance=subject.provenance(self._archive),
        )

    def comparison(self) -> str:
        """Return the page that shows the plots of chosen workloads on one axis."""
        chosen = choose(self._subjects)
        charts, titles = compare(self._subjects, chosen)
        labels = dict.fromkeys(label for each in self._subjects for label in each.figures)
        return self._render(
            "compare.html", root="", here="compare", charts=_script(charts), titles=titles, labels=labels, chosen=chosen
        )

    def script(self) -> str:
        """Return how the charts look, as JavaScript."""
        return f"const CONFIGS = {json.dumps(CONFIGS)};\n"

    def _render(self, template: str, **context: Any) -> str:
        is_synthetic = any(each.is_synthetic for each in self._subjects)
        page = self._environment.get_template(template)
        text: str = page.render(subjects=self._subjects, is_synthetic=is_synthetic, **context)
        return text + "\n"


CHOSEN = 4  # workloads that the comparison shows at first
COMPARED = ("lengths", "dispersion", "gaps", "hit-ratio")


def choose(subjects: Sequence[Subject]) -> list[str]:
    """Return the names of the workloads that the comparison shows at first: of each trace the one with most plots."""
    measured = [each for each in subjects if each.profile.arrivals and each.profile.arrivals.kind == "measured"]
    most = sorted(measured or subjects, key=lambda each: -len(each.drawn))
    traces = {each.name.partition("/")[0]: each.name for each in reversed(most)}
    found = list(traces.values())[::-1][:CHOSEN]
    return [each.name for each in subjects if each.name in found]


def compare(subjects: Sequence[Subject], chosen: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the charts that compare workloads, and their titles, by their names."""
    names = [each.name for each in subjects]
    charts: dict[str, Any] = {}
    titles: dict[str, str] = {}
    for name in COMPARED:
        parts: dict[str, list[Row]] = {}
        found = {each.name: plot for each in subjects for plot in each.drawn if plot.name == name}
        for workload, plot in found.items():
            for row in plot.rows:
                series = str(row.get("series", "measured"))
                if series in ("measured", "input", "output"):
                    parts.setdefault(series, []).append(row | {"series": workload})
        for series, rows in parts.items():
            key = name if series == "measured" else f"{name}-{series}"
            plot = next(iter(found.values()))
            titles[key] = plot.title if series == "measured" else f"{plot.title}: {series}"
            charts[key] = _overlay(plot, rows, names, chosen)
    return charts, titles


def _overlay(plot: Plot, rows: Sequence[Row], names: Sequence[str], chosen: Sequence[str]) -> dict[str, Any]:
    """Return the chart of a plot with a line for each workload that the parameter `chosen` has."""
    line = plot.spec["layer"][0]["encoding"]
    known = {"field": "series", "type": "nominal"}
    legend = {"values": {"expr": "chosen"}, "columns": 2}
    colours = {"domain": list(names)}
    dashes = {"domain": list(names), "range": [DASHES[n // len(LIGHT) % len(DASHES)] for n in range(len(names))]}
    encoding = {
        "x": line["x"],
        "y": line["y"],
        "color": {**known, "scale": colours, "legend": legend},
        "strokeDash": {**known, "scale": dashes, "legend": legend},
    }
    spec = {
        **plot.spec,
        "usermeta": {"series": sorted({row["series"] for row in rows})},
        "params": [{"name": "chosen", "value": list(chosen)}],
        "transform": [*plot.spec.get("transform", ()), {"filter": "indexof(chosen, datum.series) >= 0"}],
        "layer": [{**plot.spec["layer"][0], "encoding": encoding, "params": plot.spec["layer"][0]["params"][:1]}],
    }
    return with_data(spec, rows)


def _short(value: Any) -> Any:
    """Return a number to four digits, and all before the point; anything else as it is."""
    if not isinstance(value, float):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _script(value: Any) -> str:
    """Return a value as JSON that can stand in a script tag."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
