"""OpenDC: every request is a task on an accelerator of its own."""

from __future__ import annotations

from pathlib import Path

from ...core.files import output_folder
from ..dialect import TIMED, Dialect
from ..rows import Rows

MHZ, MEMORY = 2000.0, 1_000_000  # of a task: one core, 1 GB
_ID = "CAST(request_id AS INTEGER) AS id"
_DURATION = "greatest((latency_us + 500) // 1000, 1) AS duration"
TABLES = {
    "tasks": f"{_ID}, make_timestamptz(us) AS submission_time, {_DURATION}, CAST(1 AS INTEGER) AS cpu_count,"
    f" CAST({MHZ} AS DOUBLE) AS cpu_capacity, CAST({MEMORY} AS BIGINT) AS mem_capacity",
    "fragments": f"{_ID}, {_DURATION}, CAST({MHZ} AS DOUBLE) AS cpu_usage",
}


def _write(rows: Rows, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"id": pa.int32(), "submission_time": pa.timestamp("ms", "UTC"), "duration": pa.int64(),
             "cpu_count": pa.int32(), "cpu_capacity": pa.float64(), "mem_capacity": pa.int64(),
             "cpu_usage": pa.float64()}  # fmt: skip
    with output_folder(path) as part:
        for name, columns in TABLES.items():
            names = [each.rpartition(" AS ")[2] for each in columns.split(", ") if " AS " in each]
            schema = pa.schema([pa.field(each, types[each], nullable=False) for each in names])
            with pq.ParquetWriter(part / f"{name}.parquet", schema, compression="zstd") as writer:
                for batch in rows.batches(columns):
                    values = [batch.column(each).cast(types[each], safe=False) for each in names]
                    writer.write_batch(pa.record_batch(values, schema=schema))


DIALECT = Dialect(
    name="opendc",
    tool="OpenDC 691036d, its workloads",
    command="java -jar OpenDCExperimentRunner.jar --experiment-path experiment.json"
    '  # whose workloads have "type": "ComputeWorkload", "pathToFile": "{file}"',
    needs=(*TIMED, "latency_us"),
    ignores="tokens, sessions, models and prefix blocks",
    formats=(),
    write=_write,
    limits={"request_id": 2**31 - 1},
    notes=(
        f"A request is a task that keeps one core of {MHZ:.0f} MHz and 1 GB busy for as long as the recorded system"
        " took. Without latencies, export to kavier, and let Kavier write OpenDC's tables.",
    ),
)
