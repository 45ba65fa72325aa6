"""Run git and git-annex in one repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from .errors import BadUse

OLDEST_ANNEX = (10, 20230126)


class Git:
    """git in the repository at `root`; git-annex by `git("annex", ...)`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *args: str, given: str = "") -> str:
        """What it printed. Raises BadUse with what it said if it fails, or if there is no git."""
        ran = self._run(args, os.environ | self.identity, given)
        if ran.returncode:
            said = "\n".join(filter(None, (ran.stdout.strip(), ran.stderr.strip())))
            raise BadUse(f"git {' '.join(args[:2])}", f"failed in {self.root}", said=said)
        return ran.stdout

    def ask(self, *args: str) -> str:
        """What it printed, or nothing if it fails. Raises BadUse if there is no git."""
        ran = self._run(args)
        return "" if ran.returncode else ran.stdout

    def config(self, name: str) -> str:
        """A value of its configuration, or nothing. Raises BadUse if there is no git."""
        return self.ask("config", "--get", name).strip()

    @cached_property
    def identity(self) -> dict[str, str]:
        """The environment that names an author where git knows none: git-annex keeps its records as commits."""
        if self.ask("var", "GIT_COMMITTER_IDENT"):
            return {}
        who = {"NAME": "llm-traces", "EMAIL": "llm-traces@localhost"}
        return {f"GIT_{role}_{what}": who[what] for role in ("AUTHOR", "COMMITTER") for what in who}

    def _run(self, args: tuple[str, ...], env: Mapping[str, str] | None = None, given: str = "") -> _Ran:
        command = ["git", "-C", str(self.root), *args]
        try:
            return subprocess.run(
                command, input=given, env=env, capture_output=True, encoding="utf-8", errors="replace"
            )
        except FileNotFoundError:
            raise BadUse("git", "not found on PATH", next="install git") from None


_Ran = subprocess.CompletedProcess[str]


def require_programs(special_remote: str) -> None:
    """Raise BadUse unless git-annex, recent enough, and the special remote's program are on PATH."""
    install = "pip install --upgrade git-annex, and activate the environment it is installed in"
    wanted = "git-annex {}.{} or newer".format(*OLDEST_ANNEX)
    if not shutil.which("git-annex"):
        raise BadUse("git-annex", "not found on PATH", expected=wanted, next=install)
    ran = subprocess.run(["git-annex", "version", "--raw"], capture_output=True, encoding="utf-8", errors="replace")
    version = re.match(r"(\d+)\.(\d+)", ran.stdout)
    if not version or (int(version[1]), int(version[2])) < OLDEST_ANNEX:
        got = ran.stdout.strip() or ran.stderr.strip()
        raise BadUse("git-annex", "too old" if version else "doesn't run", expected=wanted, got=got, next=install)
    if not shutil.which(special_remote):
        raise BadUse(
            special_remote,
            "not found on PATH",
            expected="the program that comes with llm-trace-archive, by which git-annex builds the files",
            next="activate the environment llm-trace-archive is installed in, or put its bin folder on PATH",
        )
