"""What there is: a line for each workload. Reads no data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.archive import Archive
from ..core.catalogue import Entry, entries, format_entries, format_info
from ..core.extras import require

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa


class Traces(tuple[Entry, ...]):
    """The workloads of an archive, as a table."""

    __slots__ = ()

    def arrow(self) -> pa.Table:
        """Return the table as Arrow."""
        import pyarrow as pa

        types = {"rows": pa.int64(), "redistribute": pa.bool_(), "synthetic": pa.bool_(), "is_here": pa.bool_()}
        types |= dict.fromkeys(("capabilities", "same_requests_as"), pa.list_(pa.string()))
        rows = [each.as_dict() for each in self]
        fields = [(name, types.get(name, pa.string())) for name in (rows[0] if rows else ())]
        return pa.Table.from_pylist(rows, pa.schema(fields))

    def polars(self) -> polars.DataFrame:
        """Return the table as Polars."""
        frame: polars.DataFrame = require("polars", "polars", "a Polars frame").from_arrow(self.arrow())
        return frame

    def pandas(self) -> pandas.DataFrame:
        """Return the table as pandas."""
        pd = require("pandas", "pandas", "a pandas frame")
        frame: pandas.DataFrame = pd.DataFrame([each.as_dict() for each in self]).astype({"rows": "Int64"})
        return frame

    def as_json(self) -> str:
        """Return the table as JSON: a list of objects."""
        return json.dumps([each.as_dict() for each in self], indent=2)

    def as_text(self, wide: bool = True) -> str:
        """Return the table as text; without `wide`, so that it fits a terminal of 80 columns."""
        return format_entries(self, wide)

    def __repr__(self) -> str:
        return self.as_text()


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
    return Traces(entries(archive, archive.select(names)))
