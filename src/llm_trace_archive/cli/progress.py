"""The progress of a build: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import TracebackType
from typing import Any

from ..core.errors import Problem
from ..core.recipe import Workload
from ..lock.build import Built


class Progress:
    """Shows progress while its block runs; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bars.__enter__()
        return self

    def bytes(self, name: str, here: int, total: int | None) -> None:
        """Show how many bytes of a file are here."""
        if self._bars is None:
            return
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total)
            self._bars.update(self._tasks[name], completed=here, total=total, visible=here != total)

    def done(self, workload: Workload, result: Built | Problem) -> None:
        """Print how a workload ended, in one line."""
        after = f"{time.monotonic() - self._started:6.1f} s"
        if isinstance(result, Built):
            mb = f"{result.upstream_bytes / 1e6:.2f} MB upstream, {result.bytes / 1e6:.2f} MB here"
            line = f"{after}  {workload!s:<26} {result.facts['rows']:>12,} rows  {mb}"
            left_out = result.provenance.get("leftOut", {})
            line += "".join(f"\n          left out of {name}: {', '.join(each)}" for name, each in left_out.items())
        else:
            line = f"{after}  {workload!s:<26} not built: {result.message}"
        with self._lock:
            if self._bars is not None:
                self._bars.console.print(line, highlight=False, soft_wrap=True)
                return
            with contextlib.suppress(BrokenPipeError):  # a closed pipe must not stop the build
                print(line, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.__exit__(kind, error, trace)
