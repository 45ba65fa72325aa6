"""Build, restore and validate look-alikes, side by side with plain conversions that check nothing.

python benchmarks/build.py [WORKLOAD ...] [--rows N] [--runs N] [--json FILE]

A plain conversion reads the upstream file as it is and writes Parquet with zstd, level 9: no hash, no units, no other
columns, no proof. Each runs in a process of its own, in turn; the table has the medians, the peak memory, and the ratio
to DuckDB. The look-alikes are made in a folder for temporary files: 10 million rows of Azure 2024 take 420 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.demo.lookalikes import make_archive

ROWS = {"azure-2024/conversation": 10_000_000, "qwen-bailian/coder": 43_000, "mooncake/toolagent": 23_000}
START = "import sys; source, target, kind = sys.argv[1:]; is_csv = kind == 'csv'\n"
PLAIN = {
    "DuckDB": """
import duckdb
read = f"read_csv('{source}')" if is_csv else f"read_json('{source}')"
duckdb.sql(f"COPY (FROM {read}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 9)")""",
    "Polars": """
import polars
rows = polars.scan_csv(source, try_parse_dates=True) if is_csv else polars.scan_ndjson(source)
rows.sink_parquet(target, compression="zstd", compression_level=9)""",
    "pandas": """
import pandas
table = pandas.read_csv(source, parse_dates=[0]) if is_csv else pandas.read_json(source, lines=True)
table.to_parquet(target, compression="zstd", compression_level=9)""",
    "pyarrow": """
import pyarrow.csv, pyarrow.json, pyarrow.parquet
with (pyarrow.csv.open_csv if is_csv else pyarrow.json.open_json)(source) as rows:
    with pyarrow.parquet.ParquetWriter(target, rows.schema, compression="zstd", compression_level=9) as out:
        for batch in rows:
            out.write_batch(batch)""",
    "sha256 alone": """
import hashlib
with open(source, "rb") as stream:
    hashlib.file_digest(stream, "sha256")""",
}


def measure(command: list[str], log: Path) -> tuple[float, float, float]:
    """Run a command; return its wall time and its time on all cores in s, and its peak memory in MiB."""
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)[:200]}\n{log.read_text()[-2000:]}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(name: str, rows: int, runs: int) -> dict[str, dict[str, float]]:
    """Return the median seconds and the peak memory of each way to convert a workload's look-alike."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        source = Archive.find(Path(__file__).parent)
        make_archive(source, home / "archive", home / "mirror", "http://127.0.0.1:8000", rows, [name.split("/")[0]])
        archive = Archive(home / "archive")
        (workload,) = archive.select([name])
        upstream = home / "mirror" / workload.trace / workload.files[0].name
        size = upstream.stat().st_size / 1e6
        print(f"\n{name}: a look-alike of {size:,.0f} MB, {os.cpu_count()} cores", flush=True)
        ours = [sys.executable, "-m", "llm_trace_archive.cli.main", "--archive", str(archive.root)]
        build = [*ours, "build", name, "--mirror", str(home / "mirror")]
        plain = {
            each: [sys.executable, "-c", START + code, str(upstream), str(home / "plain.parquet"), workload.format]
            for each, code in PLAIN.items()
        }
        content = archive.root / workload.path
        commands = {
            "build with proof": build,
            **plain,
            "restore": [*ours, "restore", name, "--force", "-o", str(home / "restored")],
            "validate": [*ours, "validate", name],
            "validate --deep": [*ours, "validate", name, "--deep", "--mirror", str(home / "mirror")],
        }
        measure(build, home / "log")  # compiles
        found: dict[str, list[tuple[float, float, float]]] = {each: [] for each in commands}
        for _ in range(runs):
            for each, command in commands.items():
                if command is build:
                    content.unlink()
                    shutil.rmtree(archive.root / ".git", ignore_errors=True)
                found[each].append(measure(command, home / "log"))
        parquet = content.stat().st_size / 1e6
    result = {
        each: {
            "seconds": statistics.median(wall for wall, _, _ in times),
            "cpu_seconds": statistics.median(cpu for _, cpu, _ in times),
            "peak_mib": max(peak for _, _, peak in times),
        }
        for each, times in found.items()
    }
    for each, figures in result.items():
        ratio = figures["seconds"] / result["DuckDB"]["seconds"]
        seconds, cpu, peak = figures.values()
        print(f"{each:18}{seconds:8.2f} s  {ratio:6.2f}x DuckDB{cpu:8.2f} s CPU{peak:8.0f} MiB", flush=True)
    print(f"Parquet: {parquet:.1f} MB, {parquet / size:.3f} of the upstream file")
    return result


def main() -> None:
    """Compare the workloads of the command line, or those of ROWS."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=list(ROWS))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = {
        name: compare(name, arguments.rows or ROWS.get(name, 100_000), arguments.runs) for name in arguments.workloads
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
