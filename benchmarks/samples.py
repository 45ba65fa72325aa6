"""Measure time and memory of writing look-alikes: `python benchmarks/samples.py [TRACE] [ROWS]`.

By default azure-2024 with 10 million rows in its larger file. Files go to a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from llm_trace_archive.demo.lookalikes import sample_traces, write_upstream


def peak() -> float:
    """Return the peak resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="?", choices=sample_traces(), default="azure-2024")
    parser.add_argument("rows", nargs="?", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_upstream(arguments.trace, Path(folder), arguments.rows)
        seconds = time.perf_counter() - begun
        files = sorted((Path(folder) / arguments.trace).iterdir())
        size = sum(file.stat().st_size for file in files)
        lines = sum(sum(1 for _ in file.open("rb")) for file in files)

    print(f"trace  {arguments.trace}, {len(files)} files, {size / 1e6:,.1f} MB, {lines:,} lines")
    print(f"time   {seconds:.1f} s, {lines / seconds:,.0f} lines/s, {size / 1e6 / seconds:,.0f} MB/s")
    print(f"peak   {peak():.0f} MiB")


if __name__ == "__main__":
    main()
