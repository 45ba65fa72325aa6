"""A user without a clone: the package as its wheel installs it, in a folder that is in no archive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class NoClone:
    """The home of such a user: programs run in `cwd`, content goes to `data`."""

    def __init__(self, wheel: Path, home: Path, mirror: Path | None = None) -> None:
        self.cwd, self.data = home / "work", home / "data"
        self.cwd.mkdir(parents=True)
        self.environment = os.environ | {
            "PYTHONPATH": str(wheel),
            "LLM_TRACES_DATA": str(self.data),
            "LLM_TRACES_CACHE": str(home / "cache"),
            **({"LLM_TRACES_MIRROR": str(mirror)} if mirror else {"LLM_TRACES_OFFLINE": "1"}),
        }

    def python(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-c", code], environment)

    def llm_traces(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "llm_trace_archive.cli.main", *arguments], environment)

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.cwd, env=self.environment | environment, capture_output=True, text=True)
