"""OpenDC 691036d: TaskSchemas and FragmentSchemas of opendc-trace-api, and ComputeWorkloadLoader."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TASKS = {
    "id": pa.int32(), "submission_time": pa.timestamp("ms", "UTC"), "duration": pa.int64(), "cpu_count": pa.int32(),
    "cpu_capacity": pa.float64(), "mem_capacity": pa.int64(),
}  # fmt: skip
FRAGMENTS = {"id": pa.int32(), "duration": pa.int64(), "cpu_usage": pa.float64()}


def read(folder: Path) -> list[tuple[int, int, int]]:
    """Return the id, the submission and the duration of each task in milliseconds; one without fragments is skipped."""
    tables = {}
    for name, columns in (("tasks", TASKS), ("fragments", FRAGMENTS)):
        table = tables[name] = pq.read_table(folder / f"{name}.parquet")
        assert dict(zip(table.column_names, table.schema.types, strict=True)) == columns
        assert all(table.column(each).null_count == 0 for each in columns)
    lengths: dict[int, int] = {}
    for one in tables["fragments"].to_pylist():
        lengths[one["id"]] = lengths.get(one["id"], 0) + one["duration"]
    times = tables["tasks"].column("submission_time").cast(pa.int64()).to_pylist()
    ids = tables["tasks"].column("id").to_pylist()
    return [(one, at, lengths[one]) for one, at in zip(ids, times, strict=True) if one in lengths]
