"""Measure `llm-traces report`: all look-alikes, and a workload of as many requests as azure-2024/conversation.

python benchmarks/report.py [--rows N]

Each report runs in a process of its own; its time, its highest memory and the largest of its pages are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from open import NAME, make_archive

PROGRAM = Path(sys.executable).parent / "llm-traces"


def measure(what: str, archive: Path, *arguments: str) -> None:
    """Run a report and print what it took."""
    folder = archive.parent / "report"
    started = time.perf_counter()
    process = subprocess.Popen(
        [PROGRAM, "report", *arguments, "-o", folder], cwd=archive, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - started
    if status:
        raise SystemExit(f"{what}: exit status {status}")
    shared = sum(path.stat().st_size for path in (folder / "assets").iterdir())
    pages = {page.stat().st_size + sum(each.stat().st_size for each in page.parent.glob("*.svg"))
             for page in folder.rglob("*.html")}  # fmt: skip
    print(
        f"{what:<40} {took:7.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, {used.ru_maxrss / 2**20:.2f} GiB, "
        f"largest page with scripts and images {(max(pages) + shared) / 1e6:.2f} MB"
    )


def main() -> None:
    """Make both archives in a folder for temporary files, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=27_303_999)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        samples, mirror = Path(home, "samples/archive"), Path(home, "upstream")
        subprocess.run(
            [PROGRAM, "samples", samples, "--mirror", mirror, "--rows", "4000"], check=True, capture_output=True
        )
        subprocess.run([PROGRAM, "build", "--mirror", mirror], cwd=samples, check=True, capture_output=True)
        measure("all look-alikes", samples)
    with tempfile.TemporaryDirectory() as home:
        large = Path(home, "archive")
        make_archive(large, options.rows)
        measure(f"{options.rows:,} requests", large, NAME)


if __name__ == "__main__":
    main()
