"""Measure time and memory of `frictionless validate` with and without the plugin: `python benchmarks/data_package.py`.

By default on 1, 10 and 44 million rows of 3 columns (ascending ids that are the primary key, numbers within bounds, and
one of three texts), with a hash. Stock frictionless takes about a minute per million rows, so it runs on the first size
only. Files go to a temporary folder. This process imports nothing large, because the peak memory that the system
reports for a child includes what its parent had when the child started.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1_000_000, 10_000_000, 44_000_000)
OFF = {"FRICTIONLESS_ARROW": "off"}

WRITE = """
import hashlib, json, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

rows, group, random = int(sys.argv[1]), 2**20, np.random.default_rng(1970)
texts = pa.array(["small", "medium", "large"])
schema = pa.schema({"id": pa.int64(), "tokens": pa.int32(), "model": pa.dictionary(pa.int32(), pa.string())})
with pq.ParquetWriter("t.parquet", schema, compression="zstd") as writer:
    for start in range(0, rows, group):
        count = min(group, rows - start)
        ids = pa.array(np.arange(start, start + count))
        tokens = pa.array(random.geometric(1 / 500, count).astype(np.int32))
        models = pa.DictionaryArray.from_arrays(pa.array(random.integers(0, 3, count), pa.int32()), texts)
        writer.write_table(pa.table([ids, tokens, models], schema=schema))
with open("t.parquet", "rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
fields = [
    {"name": "id", "type": "integer", "constraints": {"required": True, "minimum": 0}},
    {"name": "tokens", "type": "integer", "constraints": {"required": True, "minimum": 1, "maximum": 1_000_000}},
    {"name": "model", "type": "string", "constraints": {"enum": ["small", "medium", "large"]}},
]
resource = {
    "name": "t", "type": "table", "path": "t.parquet", "hash": "sha256:" + digest,
    "schema": {"fields": fields, "primaryKey": ["id"]},
}
with open("datapackage.json", "w") as file:
    json.dump({"name": "p", "resources": [resource]}, file)
"""

# The first run imports what is imported when needed; the fastest of the others counts.
BODY = """
import sys, time
from frictionless import Package

def validate():
    package = Package("datapackage.json")
    begun = time.perf_counter()
    assert package.validate().valid
    return time.perf_counter() - begun

Package("datapackage.json").validate(limit_rows=10)
print(min(validate() for _ in range(int(sys.argv[1]))))
"""


def time_validation(folder: Path, env: dict[str, str], runs: int) -> float:
    """Return the seconds of `Package.validate()` in a process that has imported everything."""
    line = [
        sys.executable,
        "-c",
        BODY,
        str(runs),
    ]
    run = subprocess.run(line, cwd=folder, env=os.environ | env, check=True, capture_output=True, text=True)
    return float(run.stdout)


def measure_command(folder: Path, env: dict[str, str], runs: int) -> tuple[float, float]:
    """Return seconds and peak MiB of the command, including start and imports."""
    line = [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"]
    times, peaks = [], []
    for _ in range(runs):
        begun = time.perf_counter()
        with subprocess.Popen(line, cwd=folder, env=os.environ | env, stdout=subprocess.DEVNULL) as child:
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit("frictionless reports that the table is invalid")
        times.append(time.perf_counter() - begun)
        peaks.append(used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
    return min(times), max(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=SIZES)
    parser.add_argument("--runs", type=int, default=5, help="runs of the plugin; the fastest counts")
    arguments = parser.parse_args()
    print(f"{'rows':>12}  {'':<7}  {'body':>9}  {'process':>9}  {'peak memory':>11}", flush=True)
    for number, rows in enumerate(arguments.rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run([sys.executable, "-c", WRITE, str(rows)], cwd=folder, check=True)
            seconds = time_validation(folder, {}, arguments.runs)
            total, peak = measure_command(folder, {}, arguments.runs)
            print(f"{rows:>12,}  {'plugin':<7}  {seconds:>7.3f} s  {total:>7.2f} s  {peak:>7.0f} MiB", flush=True)
            if number == 0:
                stock_seconds = time_validation(folder, OFF, 1)
                stock_total, stock_peak = measure_command(folder, OFF, 1)
                line = f"{stock_seconds:>7.2f} s  {stock_total:>7.2f} s  {stock_peak:>7.0f} MiB"
                print(f"{'':>12}  {'stock':<7}  {line}", flush=True)
                line = f"{stock_seconds / seconds:>8.0f}x  {stock_total / total:>8.0f}x"
                print(f"{'':>12}  {'ratio':<7}  {line}", flush=True)


if __name__ == "__main__":
    main()
