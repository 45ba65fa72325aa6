"""Measure start-up: import the package and its command line, and run `llm-traces list`, against a bare Python.

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "bare python": [sys.executable, "-c", "pass"],
    "import llm_trace_archive": [sys.executable, "-c", "import llm_trace_archive"],
    "import llm_trace_archive.cli.main": [sys.executable, "-c", "import llm_trace_archive.cli.main"],
    "llm-traces list": [str(Path(sys.executable).parent / "llm-traces"), "list"],
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent)
            seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["bare python"][1:])
    for name, measured in seconds.items():
        kept = measured[1:]  # the first run warms up
        median = statistics.median(kept)
        print(f"{name:<30} median {median:.3f} s  ({min(kept):.3f} to {max(kept):.3f})  {median / bare:.1f} x bare")


if __name__ == "__main__":
    main()
