"""Put a clone and its content where others `datalad clone` and `datalad get` it with stock git-annex and DataLad.

A folder becomes a bare repository that any static web server can serve; a RIA store is DataLad's own kind of place.
Only locked workloads that may be passed on are put there.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse, Problem
from ..core.git import Git
from ..core.recipe import Workload
from .setup import setup

ALIAS = "llm-trace-archive"


def publish(archive: Archive, place: str) -> list[str]:
    """Push branch, tags, git-annex's records and the content that is here to `place`; what was done, a line each.

    place  a folder (new, empty, or published to before), or the URL of a RIA store: ria+file:// or ria+ssh://

    Twice does no harm: only what is new is sent. Raises BadUse if `place` is something else, or git or DataLad fail;
    Problem if content is not there afterwards.
    """
    if re.match(r"[a-z0-9+]+:", place) and not re.match(r"ria\+(file:///|ssh://)[^/]", place):
        raise BadUse(
            place,
            "not a place to publish to",
            expected="a folder, or the URL of a RIA store: ria+file:///folder or ria+ssh://host/folder",
            next="llm-traces publish DIR, and let a web server serve that folder",
        )
    setup(archive)
    git = Git(archive.root)
    if not git.ask("symbolic-ref", "--quiet", "HEAD"):
        raise BadUse(str(archive.root), "not on a branch, so there is nothing to clone", next="git switch main")
    locked = archive.locked
    chosen = [each for each in archive.select() if str(each) in locked]
    barred = [str(each) for each in chosen if not each.redistribute]
    chosen = [each for each in chosen if each.redistribute]
    ready = [each for each in chosen if archive.is_present(each)]
    absent = [str(each) for each in chosen if each not in ready]
    sibling = f"published-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    if place.startswith("ria+"):
        clone = _to_store(archive, git, place, sibling, ready)
    else:
        clone = _to_folder(git, Path(place).expanduser().absolute(), sibling, ready)
    done = [f"published {len(ready)} {'workload' if len(ready) == 1 else 'workloads'}; next: datalad clone {clone}"]
    if barred:
        done.append(f"left out, may not be passed on: {', '.join(barred)}")
    if absent:
        done.append(f"left out, not here (llm-traces get): {', '.join(absent)}")
    if unlocked := sum(str(each) not in locked for each in archive.select()):
        done.append(f"left out, not in the lock (llm-traces lock): {unlocked}, whose links lead nowhere there")
    return done


def _to_folder(git: Git, folder: Path, sibling: str, workloads: list[Workload]) -> str:
    there = Git(folder)
    branch = git("symbolic-ref", "--short", "HEAD").strip()
    try:
        is_new = not folder.exists() or not any(folder.iterdir())
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUse(str(folder), f"can't be published to: {error.strerror}", next="give another folder") from None
    if is_new:
        there("init", "--quiet", "--bare", f"--initial-branch={branch}")
    elif there.config("core.bare") != "true":
        raise BadUse(str(folder), "is not empty, and nothing was published there", next="give another folder")
    if not there.config("annex.uuid"):
        there("annex", "init", "--no-autoenable", "the published LLM Trace Archive")
    if not git.config(f"remote.{sibling}.url"):
        git("remote", "add", sibling, str(folder))
    git("push", "--quiet", sibling, branch, "--tags")
    if workloads:
        git("annex", "copy", "--quiet", f"--to={sibling}", "--", *(each.path for each in workloads))
    # The records of what is there now belong there too.
    git("annex", "sync", "--quiet", "--no-commit", "--no-content", "--no-pull", sibling)
    there("annex", "merge", "--quiet")
    there("update-server-info")  # what a clone over plain http reads
    _check(git, there.config("annex.uuid"), str(folder), workloads)
    return str(folder)


def _to_store(archive: Archive, git: Git, url: str, sibling: str, workloads: list[Workload]) -> str:
    _datalad(archive.root, "create-sibling-ria", "-s", sibling, "--alias", ALIAS, "--new-store-ok",
             "--existing", "reconfigure", url)  # fmt: skip
    _datalad(archive.root, "push", "--to", sibling, "--data", "nothing")
    if workloads:
        git("annex", "copy", "--quiet", f"--to={sibling}-storage", "--", *(each.path for each in workloads))
    _datalad(archive.root, "push", "--to", sibling, "--data", "nothing")
    if url.startswith("ria+file:"):
        there = Git(Path(git.config(f"remote.{sibling}.url")))
        there("symbolic-ref", "HEAD", git("symbolic-ref", "HEAD").strip())
        there("update-server-info")
    _check(git, git.config(f"remote.{sibling}-storage.annex-uuid"), url, workloads)
    return f"{url.rstrip('/')}#~{ALIAS}"


def _datalad(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-c", "from datalad.cli.main import main; main()", *arguments]
    ran = subprocess.run(command, cwd=root, env=os.environ | Git(root).identity, capture_output=True, text=True)
    if ran.returncode:
        said = "\n".join(filter(None, (ran.stdout.strip(), ran.stderr.strip())))
        raise BadUse(f"datalad {arguments[0]}", f"failed in {root}", said=said[-3000:])


def _check(git: Git, uuid: str, place: str, workloads: list[Workload]) -> None:
    """Raise Problem unless git-annex knows every file to be there."""
    paths = [each.path for each in workloads]
    there = git("annex", "find", f"--in={uuid}", "--", *paths).splitlines() if paths else []
    missing = [str(each) for each in workloads if each.path not in there]
    if missing:
        raise Problem(", ".join(missing), f"not in {place} after it was sent", next="llm-traces publish once more")
