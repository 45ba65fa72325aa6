"""A user without a clone: the package as its wheel installs it, in a folder that is in no archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from support.programs import ROOT


def unpack_wheel(archive: Path, home: Path) -> Path:
    """Build the wheel of this package around an archive, in a new folder, and return the folder of its modules."""
    source = home / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE.txt"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("recipes", "schemas"):
        shutil.copytree(archive / name, source / name)
    shutil.copy(archive / "datapackage.json", source)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(home)]
    made = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    (file,) = home.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        wheel.extractall(home / "site")
    return home / "site"


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
