"""Lazy tables: rows of any kind, which DuckDB reads from Parquet files."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from ..core.archive import Archive
from ..core.catalogue import entries
from ..core.errors import BadUse, Problem
from ..core.extras import require
from ..core.recipe import Recipe, Workload
from ..core.schema import arrow_schema
from ..core.sql import ROWS, quote, quote_name
from .catalogue import Info
from .origin import Origin, bibtex, origin_of

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

RE_TIMING = ("scale", "rebase", "shift", "repeat")  # steps that move arrivals


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """Return the database in memory that this process reads all tables with. Use a cursor of it."""
    spill = Path(tempfile.gettempdir()) / f"llm-traces-{os.getpid()}"  # made only if memory runs out
    # A name in SQL is never a variable of Python.
    return duckdb.connect(config={"temp_directory": str(spill), "python_enable_replacements": "false"})


@dataclass(frozen=True)
class Source:
    """The workloads that a table was opened from, and their archive."""

    archive: Archive
    workloads: tuple[Workload, ...]

    @property
    def chain(self) -> str:
        """How it was opened, as Python."""
        return f"open({', '.join(repr(str(each)) for each in self.workloads)})"

    @property
    def epoch(self) -> str | None:
        """The date and time that arrivals count from; None if it is not known, or the workloads differ."""
        found = {each.properties.get("epoch") for each in self.workloads}
        return found.pop() if len(found) == 1 else None

    @property
    def run(self) -> tuple[str, ...]:
        """The columns that tell runs apart: rows of one run share a clock and a cache."""
        return ("trace", "workload", "segment")

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the rows come from."""
        return tuple(origin_of(self.archive, each) for each in self.workloads)

    @property
    def recipes(self) -> list[Recipe]:
        """The recipes of the workloads, each once."""
        return [self.archive.recipe(name) for name in dict.fromkeys(each.trace for each in self.workloads)]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema: of one workload all columns, of several the canonical ones."""
        if len(self.workloads) == 1:
            return arrow_schema(self.archive.schema(self.workloads[0]))
        return arrow_schema(self.archive.canonical)

    @cached_property
    def sql(self) -> str:
        """The SELECT that reads the files, in the order of the workloads."""
        columns = ", ".join(map(quote_name, self.schema.names))
        files = ", ".join(quote(str(self.archive.path(each))) for each in self.workloads)
        return f"SELECT {columns} FROM read_parquet([{files}])"


class Records:
    """A lazy table of one or more workloads: nothing is read before rows are asked for.

    source  what was opened
    sql     a SELECT that gives the rows, on any connection of `database`
    steps   what was done to the rows since they were opened, in order
    """

    def __init__(self, source: Source, sql: str, steps: Sequence[str] = ()) -> None:
        self.source = source
        self.sql = sql
        self.steps = tuple(steps)

    def derive(self, sql: str, step: str) -> Self:
        """Return the table of a SELECT in which this table is called `rows`.

        step  what it does, for the provenance
        """
        return type(self)(self.source, self._over(sql), (*self.steps, step))

    def tabulate(self, sql: str, step: str) -> Records:
        """Return the table of a SELECT in which this table is called `rows`, whose rows are something else."""
        return Records(self.source, self._over(sql), (*self.steps, step))

    def select(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return the lazy relation of a SELECT in which this table is called `rows`.

        It has a connection of its own, so that other reads don't disturb it.
        """
        return database().cursor().sql(self._over(sql))

    def _over(self, sql: str) -> str:
        """Return a SELECT, which may begin with WITH, in which `rows` is this table."""
        sql.encode()  # DuckDB takes text that is not UTF-8 for a wrong type
        word, _, rest = sql.strip().partition(" ")
        return f"WITH {ROWS} AS ({self.sql})" + (f", {rest}" if word == "WITH" else f" {sql}")

    def relation(self) -> duckdb.DuckDBPyRelation:
        """Return the lazy relation of the rows, on a connection of its own."""
        return database().cursor().sql(self.sql)

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT in which this table is called `rows`. Raises Problem."""
        with self._reading():
            return self.select(sql).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise Problem for what DuckDB can't read."""
        try:
            yield
        except duckdb.Error as error:
            raise Problem(
                ", ".join(self.names),
                "the rows can't be read",
                reason=str(error).partition("\n")[0],
                files="\n".join(str(self.source.archive.path(each)) for each in self.source.workloads),
                next=f"llm-traces validate {' '.join(self.names)}" if self.source.archive.store is None else "",
            ) from None

    # -- rows ----------------------------------------------------------------------------------------------------------

    def duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """Return the rows as a lazy DuckDB relation on a connection; by default the one that `duckdb.sql` uses."""
        return (connection or duckdb.default_connection()).sql(self.sql)

    def batches(self, rows: int = 1 << 17) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order as Arrow record batches of at most `rows` rows, without keeping them."""
        schema = self.schema
        with self._reading():
            for batch in self.relation().to_arrow_reader(rows):
                yield cast_batch(batch, schema)

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        import pyarrow as pa

        return pa.Table.from_batches(self.batches(), self.schema)

    def head(self, rows: int = 10) -> pa.Table:
        """Return the first rows as an Arrow table."""
        return self.derive(f"SELECT * FROM {ROWS} LIMIT {int(rows)}", "").arrow()

    def percentiles(self, column: str, shares: Sequence[float] = (0.5, 0.9, 0.95, 0.99)) -> dict[float, Any]:
        """Return percentiles of a column by their shares, from 0 to 1; nulls don't count.

        A percentile is one of the values: the smallest that at least this share of them does not exceed. Without
        values it is None. Raises BadUse for an unknown column.
        """
        if column not in self.schema.names:
            raise BadUse("percentiles", f"there is no column {column}", there_are=", ".join(self.schema.names))
        wanted = ", ".join(str(float(share)) for share in shares)
        ((found,),) = self.fetch(f"SELECT quantile_disc({quote_name(column)}, [{wanted}]) FROM {ROWS}")
        return dict(zip(shares, found or [None] * len(shares), strict=True))

    def polars(self) -> polars.LazyFrame:
        """Return the rows as a lazy Polars frame."""
        require("polars", "polars", "a Polars frame")
        frame: polars.LazyFrame = self.relation().pl(lazy=True)
        return frame

    def pandas(self) -> pandas.DataFrame:
        """Return all rows as a pandas frame: numbers in nullable columns, names in categories."""
        pd = require("pandas", "pandas", "a pandas frame")
        import pyarrow as pa

        nullable: dict[Any, Any] = {
            pa.bool_(): pd.BooleanDtype(),
            pa.int8(): pd.Int8Dtype(),
            pa.int16(): pd.Int16Dtype(),
            pa.int32(): pd.Int32Dtype(),
            pa.int64(): pd.Int64Dtype(),
            pa.float64(): pd.Float64Dtype(),
            pa.string(): pd.StringDtype(),
        }
        frame: pandas.DataFrame = self.arrow().to_pandas(types_mapper=nullable.get)
        return frame

    # -- what a paper needs --------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The workloads, as `trace/workload`."""
        return [str(each) for each in self.source.workloads]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        import pyarrow as pa

        known = self.source.schema
        with self._reading():
            found = self.select(f"SELECT * FROM {ROWS} LIMIT 0").to_arrow_reader(1).schema
        fields = [known.field(each.name) if each.name in known.names else each for each in found]
        return pa.schema(fields)

    @property
    def citation(self) -> str:
        """What to cite for these rows, a line for each publication."""
        return "\n".join(dict.fromkeys(each.citation for each in self.source.origins))

    @property
    def licence(self) -> str:
        """The licences of these rows, as SPDX identifiers."""
        return "; ".join(dict.fromkeys(each.licence for each in self.source.origins))

    @property
    def info(self) -> Info:
        """What recipe and lock say of each workload, to be printed."""
        return Info(entries(self.source.archive, list(self.source.workloads)))

    @property
    def bibtex(self) -> str:
        """The citation as BibTeX, an entry for each trace."""
        return bibtex(self.source.archive, self.source.origins)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the rows come from: of each workload the recipe, pins and tools of its build, and the steps since."""
        builds = {str(each): self.source.archive.record(each).get("provenance", {}) for each in self.source.workloads}
        return {
            "workloads": [each.as_dict() | {"build": builds.get(each.workload, {})} for each in self.source.origins],
            "steps": list(self.steps),
        }

    @property
    def epoch(self) -> str | None:
        """The date and time that arrivals count from; None if it is not known, or if a step moved them."""
        is_moved = any(step.partition("(")[0] in RE_TIMING for step in self.steps)
        return None if is_moved else self.source.epoch

    @property
    def chain(self) -> str:
        """What was opened, and what was done to it since, as Python."""
        return ".".join((self.source.chain, *filter(None, self.steps)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.chain}>"


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the types of the schema; DuckDB gives dictionaries as text."""
    import pyarrow as pa

    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
