"""Publish a clone with its content: others `datalad clone` and `datalad get` it with stock git-annex and DataLad.

A folder becomes a bare repository that any static web server can serve; a RIA store is DataLad's own format. Only
locked, redistributable workloads are published.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse, Problem
from ..core.git import Git
from ..core.recipe import Workload
from .setup import setup

ALIAS = "llm-trace-archive"
SHOWN = 3000  # characters of DataLad's output


def publish(archive: Archive, target: str) -> list[str]:
    """Push branch, tags, git-annex's records and the content that is here; return what was done, a line each.

    target  a folder (new, empty, or published to before), or the URL of a RIA store: ria+file:// or ria+ssh://

    Safe to run again: only what is new is sent. Raises BadUse if `target` is something else, or if git or DataLad
    fails; Problem if content did not arrive.
    """
    if re.match(r"[a-z0-9+]+:", target) and not re.match(r"ria\+(file:///|ssh://)[^/]", target):
        raise BadUse(
            target,
            "is not a place to publish to",
            expected="a folder, or the URL of a RIA store: ria+file:///folder or ria+ssh://host/folder",
            next="llm-traces publish DIR, and let a web server serve that folder",
        )
    setup(archive)
    git = Git(archive.root)
    if not git.ask("symbolic-ref", "--quiet", "HEAD"):
        raise BadUse(str(archive.root), "is not on a branch, which a clone needs", next="git switch main")
    locked = [each for each in archive.select() if str(each) in archive.locked]
    redistributable = [each for each in locked if each.redistribute]
    present = [each for each in redistributable if archive.is_present(each)]
    sibling = f"published-{hashlib.sha256(target.encode()).hexdigest()[:8]}"
    if target.startswith("ria+"):
        url = _to_store(git, target, sibling, present)
    else:
        url = _to_folder(git, Path(target).expanduser().absolute(), sibling, present)
    done = [f"published {_count(present)}; next: datalad clone {url}"]
    if excluded := [str(each) for each in locked if each not in redistributable]:
        done.append(f"left out, not redistributable: {', '.join(excluded)}")
    if absent := [str(each) for each in redistributable if each not in present]:
        done.append(f"left out, content not here (llm-traces get): {', '.join(absent)}")
    if unlocked := [each for each in archive.select() if str(each) not in archive.locked]:
        done.append(f"left out, not in the lock (llm-traces lock): {_count(unlocked)}")
    return done


def _count(workloads: list[Workload]) -> str:
    return f"{len(workloads)} {'workload' if len(workloads) == 1 else 'workloads'}"


def _to_folder(git: Git, folder: Path, sibling: str, workloads: list[Workload]) -> str:
    """Publish to a bare repository, and return its path."""
    published = Git(folder)
    branch = git("symbolic-ref", "--short", "HEAD").strip()
    try:
        is_new = not folder.exists() or not any(folder.iterdir())
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUse(str(folder), f"can't be published to: {error.strerror}", next="give another folder") from None
    if is_new:
        published("init", "--quiet", "--bare", f"--initial-branch={branch}")
    elif published.config("core.bare") != "true":
        raise BadUse(str(folder), "is not empty, and nothing was published there", next="give another folder")
    if not published.config("annex.uuid"):
        published("annex", "init", "--no-autoenable", "the published LLM Trace Archive")
    if not git.config(f"remote.{sibling}.url"):
        git("remote", "add", sibling, str(folder))
    git("push", "--quiet", sibling, branch, "--tags")
    _copy(git, sibling, workloads)
    git("annex", "sync", "--quiet", "--no-commit", "--no-content", "--no-pull", sibling)  # pushes the new records
    published("annex", "merge", "--quiet")
    published("update-server-info")  # a clone over plain http reads it
    _require_arrival(git, published.config("annex.uuid"), str(folder), workloads)
    return str(folder)


def _to_store(git: Git, url: str, sibling: str, workloads: list[Workload]) -> str:
    """Publish to a RIA store, and return the URL to clone from."""
    _datalad(git, "create-sibling-ria", "-s", sibling, "--alias", ALIAS, "--new-store-ok",
             "--existing", "reconfigure", url)  # fmt: skip
    _copy(git, f"{sibling}-storage", workloads)
    _datalad(git, "push", "--to", sibling, "--data", "nothing")  # the branch, and the records of the copies
    git("push", "--quiet", sibling, "--tags")
    if url.startswith("ria+file:"):
        published = Git(Path(git.config(f"remote.{sibling}.url")))
        published("symbolic-ref", "HEAD", git("symbolic-ref", "HEAD").strip())
        published("update-server-info")
    _require_arrival(git, git.config(f"remote.{sibling}-storage.annex-uuid"), url, workloads)
    return f"{url.rstrip('/')}#~{ALIAS}"


def _datalad(git: Git, *arguments: str) -> None:
    ran = git.datalad(*arguments, stderr=subprocess.STDOUT)
    if ran.returncode:
        raise BadUse(f"datalad {arguments[0]}", f"failed in {git.root}", output=ran.stdout.strip()[-SHOWN:])


def _copy(git: Git, remote: str, workloads: list[Workload]) -> None:
    if workloads:
        git("annex", "copy", "--quiet", f"--to={remote}", "--", *(each.path for each in workloads))


def _require_arrival(git: Git, uuid: str, target: str, workloads: list[Workload]) -> None:
    """Raise Problem unless git-annex has recorded every file at the target."""
    paths = [each.path for each in workloads]
    arrived = git("annex", "find", f"--in={uuid}", "--", *paths).splitlines() if paths else []
    missing = [str(each) for each in workloads if each.path not in arrived]
    if missing:
        raise Problem(", ".join(missing), f"did not arrive at {target}", next="run llm-traces publish again")
