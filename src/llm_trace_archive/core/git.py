"""git, git-annex and DataLad, run in one repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from .errors import BadUse


class Git:
    """git in the repository at `root`; git-annex by `git("annex", ...)`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *args: str, stdin: str = "") -> str:
        """Run git with `stdin` and return its stdout. Raises BadUse with its output if it fails."""
        ran = self._run(args, os.environ | self.identity, stdin)
        if ran.returncode:
            output = "\n".join(filter(None, (ran.stdout.strip(), ran.stderr.strip())))
            raise BadUse(f"git {' '.join(args[:2])}", f"failed in {self.root}", output=output)
        return ran.stdout

    def ask(self, *args: str) -> str:
        """Run git and return its stdout, or "" if it fails. Raises BadUse if git is not installed."""
        ran = self._run(args)
        return "" if ran.returncode else ran.stdout

    def config(self, name: str) -> str:
        """Return a value of git's configuration, or "". Raises BadUse if git is not installed."""
        return self.ask("config", "--get", name).strip()

    def datalad(
        self, *args: str, environment: dict[str, str] | None = None, stderr: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run DataLad with further environment variables and capture its stdout."""
        # As a program: its progress bars and its logging settings stay its own.
        command = [sys.executable, "-c", "from datalad.cli.main import main; main()", *args]
        env = os.environ | self.identity | (environment or {})
        return subprocess.run(
            command, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", errors="replace"
        )

    @cached_property
    def identity(self) -> dict[str, str]:
        """Environment variables that name an author if git has none: git-annex commits its records."""
        if self.ask("var", "GIT_COMMITTER_IDENT"):
            return {}
        author = {"NAME": "llm-traces", "EMAIL": "llm-traces@localhost"}
        return {f"GIT_{role}_{part}": author[part] for role in ("AUTHOR", "COMMITTER") for part in author}

    def _run(
        self, args: tuple[str, ...], env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(self.root), *args]
        try:
            return subprocess.run(
                command, input=stdin, env=env, capture_output=True, encoding="utf-8", errors="replace"
            )
        except FileNotFoundError:
            raise BadUse("git", "not found on PATH", next="install git") from None
