"""Measure exports of a large table: rows, seconds, the ratio to DuckDB's own COPY of the same columns, peak memory.

python benchmarks/export.py [--rows N] [--only DIALECT]

The table is synthetic, with the columns of azure-2024/conversation. Every run is a process of its own, and writes to a
folder for temporary files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from open import NAME, make_archive

DIALECTS = {  # and the columns that DuckDB copies for comparison, in the same format
    "vidur": ("csv", "arrival_us / 1e6, input_tokens, output_tokens, '2023-08-21', arrival_us / 1e6, input_tokens,"
              " output_tokens"),
    "aiperf-burstgpt": ("csv", "arrival_us / 1e6, input_tokens, output_tokens"),
    "aiperf-mooncake": ("jsonl", "arrival_us // 1000, input_tokens, output_tokens"),
    "kavier": ("parquet", "input_tokens, output_tokens"),
    "canonical": ("jsonl", "*"),
}  # fmt: skip
MEASURE = """
import json, resource, sys, time
started = time.perf_counter()
{}
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) // 1024
print(json.dumps([time.perf_counter() - started, peak]))
"""
OURS = MEASURE.format(f"import llm_trace_archive as lta; lta.open({NAME!r}).export(sys.argv[1], sys.argv[2])")
THEIRS = MEASURE.format("import duckdb; duckdb.execute('SET enable_progress_bar = false'); duckdb.execute(sys.argv[1])")


def measure(code: str, *arguments: object, cwd: Path) -> tuple[float, int]:
    """Return the seconds and the peak memory in MB of a Python process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, cwd=cwd, env=os.environ, check=True, capture_output=True, text=True)
    seconds, peak = json.loads(ran.stdout)
    return float(seconds), int(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make_archive(Path(folder) / "archive", options.rows)
        for dialect, (ending, columns) in DIALECTS.items():
            if options.only not in (None, dialect):
                continue
            output = Path(folder) / f"out.{ending}"
            rows = f"SELECT {columns} FROM '{path}' WHERE output_tokens > 0"
            copy = f"COPY ({rows}) TO '{output}' (FORMAT {'json' if ending == 'jsonl' else ending})"
            ours, peak = measure(OURS, dialect, output, cwd=path.parent.parent.parent)
            size = output.stat().st_size
            theirs, other = measure(THEIRS, copy, cwd=path.parent.parent.parent)
            print(f"{dialect:<16} {options.rows:,} rows, {size / 1e6:,.0f} MB: {ours:6.1f} s, {peak} MB  "
                  f"COPY {theirs:6.1f} s, {other} MB  ratio {ours / theirs:.2f}", flush=True)  # fmt: skip
            output.unlink()


if __name__ == "__main__":
    main()
