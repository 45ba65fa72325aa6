"""Tables of requests made from columns, as if they were the content of a workload."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.schema import arrow_schema
from llm_trace_archive.workload.records import Source
from llm_trace_archive.workload.requests import Requests
from support.programs import ROOT

ARCHIVE = Archive(ROOT)
SCHEMA = arrow_schema(ARCHIVE.canonical)
MakeRequests = Callable[..., Requests]


def requests_in(folder: Path) -> MakeRequests:
    """Return a function that makes a table of requests from columns; others are null, or numbered.

    folder  where the files of the tables go
    """
    numbers = itertools.count()

    def make(name: str = "burstgpt/1", **columns: Sequence[Any]) -> Requests:
        rows = len(next(iter(columns.values())))
        values: dict[str, Sequence[Any]] = {each: [None] * rows for each in SCHEMA.names}
        trace, workload = name.split("/")
        values |= {"trace": [trace] * rows, "workload": [workload] * rows}
        values |= {"request_id": range(rows), "segment": [0] * rows, **columns}
        if "hash_ids" in columns and "block_tokens" not in columns:
            values["block_tokens"] = [None if ids is None else 16 for ids in columns["hash_ids"]]
        path = folder / f"{next(numbers)}.parquet"
        pq.write_table(pa.table({each: list(values[each]) for each in SCHEMA.names}, SCHEMA), path)
        found = ARCHIVE.recipe(trace).workload(workload)
        return Requests(Canonical(ARCHIVE, (found,)), f"SELECT * FROM read_parquet('{path}')")

    return make


class Canonical(Source):
    """A source without the columns of a trace's own."""

    schema = SCHEMA


def seconds(requests: Requests) -> list[float]:
    """Return the arrivals in seconds."""
    return [us / 1e6 for us in requests.arrow().column("arrival_us").to_pylist()]
