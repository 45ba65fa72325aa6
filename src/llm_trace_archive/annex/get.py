"""`datalad get` with the reasons of what could not be fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from ..core.archive import LOCK, Archive
from ..core.errors import BadUse, Problem
from ..core.git import Git
from ..core.links import keys
from ..core.recipe import Workload
from ..core.settings import is_offline
from ..lock import card
from .setup import setup

# git-annex and DataLad show one line an error: the lines of a Problem travel in one, and `get` parts them again.
LINES = " | "
# Ends the message of a file that can't be had for reasons already told.
LIKEWISE = ", likewise"


def get(archive: Archive, workloads: Iterable[Workload]) -> None:
    """`datalad get` of what is not here yet, after `setup`.

    Raises BadUse for a workload that was never built and has no pin, and as `setup` does; Problem that names what is
    still not here, with the reasons that git-annex, DataLad or the special remote gave.
    """
    wanted = [each for each in workloads if not archive.is_present(each)]
    if not wanted:
        return
    served = {name for names in keys(archive).values() for name in names}
    unknown = [str(each) for each in wanted if str(each) not in served]
    wanted = [each for each in wanted if str(each) in served]
    if gone := [each.path for each in wanted if not os.path.lexists(archive.root / each.path)]:
        raise BadUse(
            ", ".join(gone),
            "the link is gone that leads to the content",
            next=f"git checkout -- {' '.join(gone)}; or llm-traces describe and a commit, where the recipe is new",
        )
    why = []
    if wanted:
        setup(archive)
        why = _datalad_get(archive.root, [each.path for each in wanted])
        card.refresh(archive)
    absent = [str(each) for each in wanted if not archive.is_present(each)]
    if absent:
        raise Problem(
            ", ".join(absent), "not here", why="\n".join(why), next=f"mend that, then llm-traces get {' '.join(absent)}"
        )
    if unknown:
        raise BadUse(
            ", ".join(unknown),
            f"not in {LOCK}, and unpinned: nobody can tell what the right bytes are",
            next=f"llm-traces pin {unknown[0].partition('/')[0]}, and review the diff; "
            f"or llm-traces build --accept-unpinned {' '.join(unknown)}",
        )


def _datalad_get(root: Path, paths: list[str]) -> list[str]:
    """The reasons of the failures, a line each."""
    # As a process: DataLad's own progress bars and its settings of logging stay its own.
    command = [sys.executable, "-c", "from datalad.cli.main import main; main()"]
    options = ["-c", "datalad.annex.retry=1", "-f", "json", "get", "--", *paths]
    env = os.environ | Git(root).identity
    if is_offline():  # git-annex shall not ask the URLs of releases either
        env |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "annex.security.allowed-url-schemes",
            "GIT_CONFIG_VALUE_0": "none",
        }
    ran = subprocess.run(command + options, cwd=root, env=env, stdout=subprocess.PIPE, encoding="utf-8")
    results = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    said = [
        str(each.get("error_message") or each.get("message") or "DataLad gave no reason")
        for each in results
        if each["status"] not in ("ok", "notneeded")
    ]
    if not said:
        said = [f"datalad get ended with exit code {ran.returncode}"]
    lines = list(dict.fromkeys(line for text in said for part in text.splitlines() for line in part.split(LINES)))
    likewise = sorted(line.removesuffix(LIKEWISE) for line in lines if line.endswith(LIKEWISE))
    return [line for line in lines if not line.endswith(LIKEWISE)] + (
        [f"likewise: {'; '.join(likewise)}"] if likewise else []
    )
