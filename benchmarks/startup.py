"""Measure start-up: import the package and its command line, and run short commands, against a bare Python.

In CPU seconds of the whole process, which a busy machine hardly changes.

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "bare python": [sys.executable, "-c", "pass"],
    "import llm_trace_archive": [sys.executable, "-c", "import llm_trace_archive"],
    "import llm_trace_archive.cli.main": [sys.executable, "-c", "import llm_trace_archive.cli.main"],
    **{
        f"llm-traces {command}": [str(Path(sys.executable).parent / "llm-traces"), *command.split()]
        for command in ("--version", "--help", "list", "info burstgpt")
    },
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    bare = statistics.median(seconds["bare python"][1:])
    for name, measured in seconds.items():
        kept = measured[1:]  # the first run warms up
        median = statistics.median(kept)
        print(f"{name:<30} median {median:.3f} s  ({min(kept):.3f} to {max(kept):.3f})  {median / bare:.1f} x bare")


if __name__ == "__main__":
    main()
