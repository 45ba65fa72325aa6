"""Lazy tables of requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.kv_cache import HitRatio, columns_for, hit_ratio
from ..core.errors import BadUse
from ..core.sql import ROWS, quote_name
from . import series
from .profile import Profile, measure
from .records import Records, Source
from .shape import Shaping
from .times import Time

if TYPE_CHECKING:
    from ..export.run import Exported

ROWS_AT_ONCE = 1 << 14


class Requests(Shaping):
    """A lazy table of requests, with the canonical columns."""

    def rate(self, per: Time = "1s") -> Records:
        """Return requests and tokens per bin of time, bins without requests included; see `series.rate`."""
        return series.rate(self, per)

    def profile(self) -> Profile:
        """Return what a workload looks like in figures, as docs/profile.md defines them."""
        return measure(self)

    def describe(self) -> str:
        """Return in three lines how many requests there are, the steps that made them, and what to cite."""
        ((rows, length),) = self.fetch("SELECT count(*), (max(arrival_us) - min(arrival_us)) / 1e6 FROM rows")
        within = "" if length is None else f" within {length:,.0f} s"
        return f"{rows:,} requests{within}\nsteps: {self.chain}\ncite:  {self.citation}"

    def plot(self, name: str = "rate") -> Any:
        """Return a plot of the requests as a chart of Altair, which a notebook shows: one of `plots.draw.PLOTS`.

        Raises BadUse for an unknown name, for what the rows don't have, and without Altair.
        """
        from .plots.draw import as_altair, draw

        return as_altair(draw(self, name))

    def save(self, path: str | Path) -> None:
        """Write the requests to a file that names their sources and steps; see `save.save`."""
        from .save import save  # which imports what writes Parquet

        save(self, Path(path))

    def export(self, dialect: str, path: str | Path, **wishes: Any) -> Exported:
        """Write the requests to a file that a serving tool reads; see `export.run.export` and docs/export.md."""
        from ..export.run import export

        return export(self, dialect, Path(path), **wishes)

    def hit_ratio(self, *, by: str | Sequence[str] = (), **question: Any) -> HitRatio | None:
        """Return the hit ratios of KV caches of some capacities; see `analysis.kv_cache.hit_ratio`.

        by  columns such as "model" whose values have caches of their own, besides each segment
        """
        split = [*self.source.run, *([by] if isinstance(by, str) else by)]
        columns = columns_for(question.get("count", "blocks"), split)
        if unknown := [each for each in columns if each not in self.schema.names]:
            raise BadUse(
                "hit ratio", f"there is no column {', '.join(unknown)}", there_are=", ".join(self.schema.names)
            )
        rows = self.select(f"SELECT {', '.join(map(quote_name, columns))} FROM {ROWS}")
        return hit_ratio(rows.to_arrow_reader(ROWS_AT_ONCE), by=split, **question)


def open_records(source: Source) -> Records:
    """Return the table of workloads whose content is here. Raises BadUse for several that are not all requests."""
    are_requests = {each.is_requests for each in source.workloads}
    if len(source.workloads) > 1 and are_requests != {True}:
        others = [str(each) for each in source.workloads if not each.is_requests]
        raise BadUse(
            ", ".join(others),
            "not a table of requests, so it can't be one table with others",
            next=f"open it by itself: lta.open({others[0]!r})",
        )
    return (Requests if are_requests == {True} else Records)(source, source.sql)
