"""The programs as a user runs them: git, our command line, and an archive of look-alikes to run them on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
MIRROR = os.environ.get("LLM_TRACES_MIRROR")
OLD_ANNEX = os.environ.get("LLM_TRACES_OLD_ANNEX")


class Samples:
    """A built archive of look-alikes in git, and the folder of its upstream files."""

    def __init__(self, root: Path, mirror: Path) -> None:
        self.root, self.mirror = root, mirror

    def clone(self, folder: Path, name: str = "llm-trace-archive") -> Path:
        """A clone that has main only, as a user gets it."""
        folder.mkdir(parents=True, exist_ok=True)
        git("clone", "--quiet", "--branch", "main", "--single-branch", f"file://{self.root}", name, cwd=folder)
        return folder / name


def git(*arguments: str | Path, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def run(*command: object, cwd: Path, good: bool = True) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run([str(each) for each in command], cwd=cwd, capture_output=True, text=True)
    assert not good or ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def llm_traces(
    *arguments: str | Path, cwd: Path, check: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command, as a user does."""
    return subprocess.run(
        [BIN / "llm-traces", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=check,
    )


@contextlib.contextmanager
def with_package() -> Iterator[None]:
    """Put the programs of this package back on PATH while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(BIN), prepend=os.pathsep)
        yield
