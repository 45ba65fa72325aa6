"""Write a report: all of its folder, or nothing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.files import real_path, replace_folder, temporary_folder
from ..workload.open import is_saved, open_each, select
from ..workload.plots.draw import draw_all
from ..workload.plots.study import Plot
from ..workload.profile import to_json
from ..workload.requests import Requests
from .image import draw_png, draw_svg, javascript
from .pages import Pages, Subject

PROFILES = "profiles.json"
OVERVIEW = "index.html"
COMPARISON = "compare.html"
SUFFIXES = (".html", ".css", ".js", ".csv", ".svg", ".png")  # of the files in the folders of a report
WORKERS = 2  # threads that draw
ASSETS = ("report.css", "report.js")


def write(archive: Archive, names: Sequence[str], target: Path, on_start: Callable[[str], None]) -> list[Subject]:
    """Write a report on workloads to the folder `target`, which replaces a report there; return what is in it.

    names     workloads, traces, or files that were saved; without names, all workloads that are here
    on_start  is called with the name of each workload before it is measured

    Raises BadUse if there is nothing to report, if `target` holds anything else or can't be written; it then stays as
    it was. Raises Absent for content that is not here.
    """
    target = real_path(target)
    refuse_unusable(target)
    tables, others = find_tables(archive, names)
    try:
        with temporary_folder(target) as part:
            subjects = []
            with ThreadPoolExecutor(WORKERS) as workers:  # which draw while the next workload is measured
                script, drawn = workers.submit(javascript), []
                for subject in _measure(tables, part, on_start):
                    subjects.append(subject)
                    drawn += [workers.submit(_write_plot, subject, plot, part) for plot in subject.drawn]
                for each in drawn:
                    each.result()
            _write_pages(Pages(archive, subjects, others), subjects, script.result(), part)
            replace_folder(target)
    except OSError as error:
        raise BadUse(
            str(target),
            f"can't be written: {error.strerror or error}",
            kept="what was there before",
            next="free some space or give another folder, then run the same command again",
        ) from None
    return subjects


def refuse_unusable(target: Path) -> None:
    """Raise BadUse if `target` holds anything but a report, of which the new one leaves nothing."""
    if target.exists() and not (target.is_dir() and (not any(target.iterdir()) or _is_report(target))):
        raise BadUse(
            str(target),
            "exists and is not a report",
            kept="as it was",
            next="give another folder, or remove this one",
        )


def _is_report(folder: Path) -> bool:
    paths = {
        path.relative_to(folder): path.suffix for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    own = {Path(OVERVIEW), Path(PROFILES)}
    others = {path: suffix for path, suffix in paths.items() if path not in (*own, Path(COMPARISON))}
    return own <= paths.keys() and all(len(path.parts) > 1 and kind in SUFFIXES for path, kind in others.items())


def find_tables(archive: Archive, names: Sequence[str]) -> tuple[dict[str, Requests], dict[str, str]]:
    """Return the tables of requests that names stand for, and why other workloads have no page, by their names."""
    saved = [each for each in names if is_saved(archive, each)]
    others: dict[str, str] = {}
    wanted: list[str] = []
    given = [each for each in names if each not in saved]
    for workload in select(archive, given) if given else [] if saved else archive.select():
        if not workload.is_requests:
            others[str(workload)] = f"a table of {workload.table}, not of requests"
        elif not names and not archive.is_present(workload):
            others[str(workload)] = "not here; llm-traces get brings it"
        else:
            wanted.append(str(workload))
    if not wanted and not saved:
        raise BadUse(
            ", ".join(names) or "report",
            "there is no table of requests here",
            found="\n".join(f"{name}: {why}" for name, why in others.items()),
            next="llm-traces list, then: llm-traces get TRACE",
        )
    return {each: table for each in (*wanted, *saved) for table in open_each(archive, [each])}, others


def _measure(tables: Mapping[str, Requests], folder: Path, on_start: Callable[[str], None]) -> Iterator[Subject]:
    """Measure each table, make its folder, and yield what its page needs."""
    for name, table in tables.items():
        on_start(name)
        is_file = name not in table.names
        title = Path(name).name if is_file else table.source.workloads[0].title
        slug = _slug(Path(name).stem if is_file else name, [each.name for each in folder.iterdir()])
        subject = Subject(table, name, slug, title, table.profile(), dict(draw_all(table)))
        (folder / slug).mkdir()
        yield subject


def _write_plot(subject: Subject, plot: Plot, folder: Path) -> None:
    """Write a plot as CSV, SVG and PNG."""
    svg = draw_svg(plot, subject.about)
    path = folder / subject.slug / subject.file(plot)
    _write(path.with_name(f"{path.name}.csv"), plot.as_csv())
    _write(path.with_name(f"{path.name}.svg"), svg)
    path.with_name(f"{path.name}.png").write_bytes(draw_png(svg, plot, subject.about))


def _slug(name: str, taken: Sequence[str]) -> str:
    """Return a name of a folder that no other page has."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "workload"
    names = itertools.chain([slug], (f"{slug}-{number}" for number in itertools.count(2)))
    return next(each for each in names if each not in (*taken, "assets"))


def _write_pages(pages: Pages, subjects: Sequence[Subject], vega: str, folder: Path) -> None:
    assets = folder / "assets"
    assets.mkdir()
    _write(assets / "vega.js", vega)
    _write(assets / "charts.js", pages.script())
    for name in ASSETS:
        _write(assets / name, (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8"))
    _write(folder / OVERVIEW, pages.overview())
    if len(subjects) > 1:
        _write(folder / COMPARISON, pages.comparison())
    for subject in subjects:
        _write(folder / subject.slug / OVERVIEW, pages.workload(subject))
    _write(folder / PROFILES, to_json([each.profile for each in subjects]))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
