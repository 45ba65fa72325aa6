"""The facts that the lock records about the rows of a table, so that `list` and `info` need no data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.archive import LOCK
from ..core.table import Table
from .leaves import compare
from .result import Result

WRITER = "parquet-cpp-arrow version "


def check_facts(resource: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Compare each fact of the lock, and the version of its pyarrow, with the table. Raises one of `UNREADABLE`."""
    for name, expected, found in compare(collect_facts(table), resource["facts"], "facts"):
        yield Result("lock", name, expected, 0, found, "the rows")
    tools = resource["provenance"]["tools"]
    writer = f"{WRITER}{tools['pyarrow']}"
    yield Result("lock", "provenance.tools.pyarrow", writer, 0, table.file.metadata.created_by, LOCK)


def collect_facts(table: Table) -> dict[str, Any]:
    """Return the facts about a table's rows. Raises one of `UNREADABLE`."""
    facts: dict[str, Any] = {"rows": table.rows}
    for name in ("arrival_us", "sampled_us"):
        if name in table.names:
            facts["segments"] = _segments(table, name)
    if "failed" in table.names:  # a table of requests
        for name in ("input_tokens", "output_tokens"):
            facts[name] = pc.sum(table.column(name)).as_py()
        failed = table.column("failed")
        facts["failures"] = pc.sum(failed).as_py() if failed.null_count < table.rows else None
        for name in ("session_id", "hash_ids", "latency_us", "ttft_us"):
            # Row group by row group, as lists may be long.
            facts[f"has_{name}"] = any(batch.column(0).null_count < len(batch) for _, batch in table.groups([name]))
            if name == "session_id" and facts["has_session_id"]:
                facts["sessions"] = len(table.flat(name).unique())
    return facts


def _segments(table: Table, clock: str) -> list[dict[str, int | None]]:
    """Return rows, first and last time of each segment, in order; a table without segments is one."""
    times = table.column(clock)
    numbers = table.column("segment") if "segment" in table.names else pa.repeat(pa.scalar(0), len(times))
    ends = pa.table({"segment": numbers, "us": times}).group_by("segment", use_threads=False)
    found = (
        ends.aggregate([("us", "count", pc.CountOptions(mode="all")), ("us", "min"), ("us", "max")])
        .sort_by("segment")
        .to_pylist()
    )
    return [{"rows": each["us_count"], "first_us": each["us_min"], "last_us": each["us_max"]} for each in found]
