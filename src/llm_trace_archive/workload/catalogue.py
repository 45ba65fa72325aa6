"""What there is: a line for each workload. Reads no data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..core.archive import Archive
from ..core.catalogue import Entry, entries, format_info
from ..core.extras import require
from ..core.text import format_table

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa


@dataclass(frozen=True)
class Listing:
    """A workload: what a reader chooses it by. `rows` and `period` are None while nobody knows them.

    capabilities  what its requests have, such as arrivals and sessions; or the kind of another table
    licence       SPDX identifier
    state         "here", "not here", or why it can't be fetched: "not built" yet, "unpinned"
    """

    name: str
    rows: int | None
    period: str | None
    capabilities: tuple[str, ...]
    licence: str
    state: str
    synthetic: bool
    same_requests_as: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        """Whether the content is here."""
        return self.state.startswith("here")


class Traces(tuple[Listing, ...]):
    """The workloads of an archive, as a table."""

    __slots__ = ()

    def arrow(self) -> pa.Table:
        """Return the table as Arrow."""
        import pyarrow as pa

        texts = pa.list_(pa.string())
        schema = pa.schema(
            [
                ("name", pa.string()),
                ("rows", pa.int64()),
                ("period", pa.string()),
                ("capabilities", texts),
                ("licence", pa.string()),
                ("state", pa.string()),
                ("synthetic", pa.bool_()),
                ("same_requests_as", texts),
            ]
        )
        return pa.Table.from_pylist([asdict(each) for each in self], schema)

    def polars(self) -> polars.DataFrame:
        """Return the table as Polars."""
        frame: polars.DataFrame = require("polars", "polars", "a Polars frame").from_arrow(self.arrow())
        return frame

    def pandas(self) -> pandas.DataFrame:
        """Return the table as pandas."""
        pd = require("pandas", "pandas", "a pandas frame")
        frame: pandas.DataFrame = pd.DataFrame([asdict(each) for each in self]).astype({"rows": "Int64"})
        return frame

    def __repr__(self) -> str:
        rows = [
            (
                each.name + (" (synthetic)" if each.synthetic else ""),
                f"{each.rows:,}" if each.rows else "?",
                each.period or "?",
                ", ".join(each.capabilities) + (" (same requests)" if each.same_requests_as else ""),
                each.licence,
                each.state,
            )
            for each in self
        ]
        return format_table(("trace/workload", "rows", "period", "capabilities", "licence", "content"), rows, {1})


class Info(tuple[Entry, ...]):
    """What recipe and lock say of workloads: prints as text, holds an `Entry` for each."""

    __slots__ = ()

    def __repr__(self) -> str:
        traces = {each.recipe.name: [other for other in self if other.recipe is each.recipe] for each in self}
        return "\n\n".join(format_info(each) for each in traces.values())


def traces() -> Traces:
    """Return the table of all workloads: rows, period, capabilities, licence, and whether the content is here."""
    return list_traces(Archive.find_or_installed())


def list_traces(archive: Archive, names: Iterable[str] = ()) -> Traces:
    """Return the table of the workloads that names stand for; without names, of all. Raises BadUse."""
    return Traces(
        Listing(
            str(each.workload),
            each.rows,
            each.period,
            each.capabilities,
            each.recipe.licence["spdx"],
            each.state,
            each.recipe.synthetic,
            each.workload.same_requests_as,
        )
        for each in entries(archive, archive.select(names))
    )
