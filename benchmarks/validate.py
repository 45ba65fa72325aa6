"""Measure `llm-traces validate` of an archive against the cost of only hashing or decoding its files.

llm-traces samples full/archive --mirror full/upstream --rows 27303999 --trace azure-2024   (and others, then build)
python benchmarks/validate.py full/archive [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

READ = """
import hashlib, sys, pyarrow.parquet as pq
for name in sys.argv[2:]:
    if sys.argv[1] == "hash":
        with open(name, "rb") as stream:
            hashlib.file_digest(stream, "sha256")
    else:
        file = pq.ParquetFile(name)
        for group in range(file.num_row_groups):
            file.read_row_group(group)
"""
TIMED = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
TIMED += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def main() -> None:
    root, runs = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    files = [str(path) for path in sorted(root.glob("data/*/*.parquet"))]
    commands = {
        "hash": [sys.executable, "-c", READ, "hash", *files],
        "decode": [sys.executable, "-c", READ, "decode", *files],
        "validate": [str(Path(sys.executable).parent / "llm-traces"), "--archive", str(root), "validate"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peak: dict[str, int] = {}
    for _ in range(runs):
        for name, command in commands.items():
            started = time.perf_counter()
            ran = subprocess.run([sys.executable, "-c", TIMED, *command], capture_output=True, text=True, check=True)
            seconds[name].append(time.perf_counter() - started)
            peak[name] = max(peak.get(name, 0), int(ran.stdout.split()[-1]) // 1024)
    whole = statistics.median(seconds["validate"])
    size = sum(Path(file).stat().st_size for file in files) / 1e6
    print(f"{len(files)} files, {size:,.0f} MB, medians of {runs} runs")
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"{name:<9} {median:6.2f} s  {median / whole:4.0%} of validate  peak {peak[name]:,} MiB")


if __name__ == "__main__":
    main()
