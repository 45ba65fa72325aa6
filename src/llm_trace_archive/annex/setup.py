"""Prepare a clone for `datalad get`: rebuild git-annex's state from recipes and lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.extras import require
from ..core.files import locked
from ..core.git import Git
from ..core.links import content_path, workloads_by_key
from ..lock import card
from .branch import locations, special_remotes, without_known_urls

REMOTE = "llm-traces"
PROGRAM = f"git-annex-remote-{REMOTE}"
# Fixed, so that clones which set the remote up independently share one remote after a merge.
REMOTE_UUID = "53f2f1a6-5ea6-5346-8013-412c9b7f4e2f"
REMOTE_CONFIG = {"uuid": REMOTE_UUID, "type": "external", "externaltype": REMOTE, "encryption": "none"}
UNVERIFIED = f"remote.{REMOTE}.annex-security-allow-unverified-downloads"
OLDEST_ANNEX = (10, 20230126)


def setup(archive: Archive) -> list[str]:
    """Rebuild git-annex's state from the lock; return what was done, a line each, or nothing if all was in place.

    A clone that has `main` only knows no special remote and no keys: `datalad get` would fetch nothing and print
    nothing. One that has the git-annex branch knows them, and its records stay as they are.

    Raises BadUse if git-annex, annexremote or our special remote is not installed, if the archive is not a git
    repository or is read-only, if another remote has the name of ours, or if git-annex fails.
    """
    require_annexremote()
    _require_programs()
    root = archive.root
    if not (root / ".git").exists():
        raise BadUse(
            str(root),
            "is not a git repository, so git-annex and DataLad can't work here",
            next="llm-traces build, which needs neither; or git clone the archive",
        )
    git = Git(root)
    git_folder = root / git("rev-parse", "--git-common-dir").strip()
    _require_writable(git_folder)
    with locked(git_folder):  # git-annex's database allows no second one at first
        return _set_up(git, archive)


def _set_up(git: Git, archive: Archive) -> list[str]:
    done = []
    # Both are set only once git-annex has finished its own init.
    if git.config("annex.uuid") and git.config("annex.version") and not (archive.root / ".git").is_file():
        git("annex", "merge")
    else:
        # By default git-annex describes a clone by user, machine and folder, and a push publishes that.
        git("annex", "init", "a clone of the LLM Trace Archive")
        done.append("initialised git-annex in this clone")
    done += _set_up_remote(git)
    done += _record(git, archive)
    card.refresh(archive)
    if done and git.identity:
        done.append("note: git has no user.name and user.email, without which bare datalad get fails")
    return done


def require_annexremote() -> Any:
    """Import and return annexremote. Raises BadUse if it is not installed."""
    return require("annexremote", "build", "git-annex's special remote")


def _require_programs() -> None:
    """Raise BadUse unless a git-annex that is new enough and the special remote's program are on PATH."""
    install = "pip install --upgrade git-annex, and activate the environment it is installed in"
    expected = "git-annex {}.{} or newer".format(*OLDEST_ANNEX)
    if not shutil.which("git-annex"):
        raise BadUse("git-annex", "not found on PATH", expected=expected, next=install)
    ran = subprocess.run(["git-annex", "version", "--raw"], capture_output=True, encoding="utf-8", errors="replace")
    version = re.match(r"(\d+)\.(\d+)", ran.stdout)
    if not version or (int(version[1]), int(version[2])) < OLDEST_ANNEX:
        got = ran.stdout.strip() or ran.stderr.strip()
        raise BadUse("git-annex", "is too old" if version else "does not run", expected=expected, got=got, next=install)
    if not shutil.which(PROGRAM):
        raise BadUse(
            PROGRAM,
            "not found on PATH",
            expected="the program of llm-trace-archive that builds files for git-annex",
            next="activate the environment llm-trace-archive is installed in, or put its bin folder on PATH",
        )


def _require_writable(git_folder: Path) -> None:
    """Raise BadUse early if git-annex can't write: it would fail half-way."""
    if not all(os.access(each, os.W_OK) for each in (git_folder, git_folder / "annex") if each.exists()):
        raise BadUse(
            str(git_folder),
            "can't be written: Permission denied",
            kept="content that is here can be read and validated",
            next="fix the permissions, or git clone the archive to a folder you may write to",
        )


def _set_up_remote(git: Git) -> Iterator[str]:
    """Add or enable the special remote, and let this git-annex use it; yield what was done."""
    known = special_remotes(git)
    local_uuid = git.config(f"remote.{REMOTE}.annex-uuid")
    _refuse_another_remote(git, known.values(), local_uuid)
    if not local_uuid:  # an initremote that was killed leaves a section in which the next one fails
        git.ask("config", "--remove-section", f"remote.{REMOTE}")
    if REMOTE_UUID not in known:
        git("annex", "initremote", REMOTE, *_as_text(REMOTE_CONFIG).split(), "autoenable=true")
        yield f"added the special remote {REMOTE}"
    elif not local_uuid:
        git("annex", "enableremote", REMOTE)
        yield f"enabled the special remote {REMOTE}"
    # A git-annex of 2026 refuses to use the remote until it is verified. An older one has no such setting.
    if git.config(f"remote.{REMOTE}.annex-verified") not in ("", "verified"):
        question = re.search(r"--safe (\S+)", git("annex", "verifyremote", REMOTE))
        if question:
            git("annex", "verifyremote", REMOTE, "--safe", question[1])
            yield f"verified the special remote {REMOTE}: its configuration is ours"
    # A git-annex without VURL keys refuses content that has no hash. Our program verifies what it builds.
    if not re.search(r"^key/value backends:.* VURL\b", git("annex", "version"), re.MULTILINE) and not git.config(
        UNVERIFIED
    ):
        git("config", UNVERIFIED, "ACKTHPPT")
        yield "allowed this git-annex, which knows no VURL keys, to get them from our special remote"


def _refuse_another_remote(git: Git, known: Iterable[Mapping[str, str]], local_uuid: str) -> None:
    """Raise BadUse if another remote has the name of ours, or ours has another configuration."""
    if local_uuid not in ("", REMOTE_UUID) or git.config(f"remote.{REMOTE}.url"):
        is_special = bool(local_uuid)
        got = f"annex-uuid {local_uuid or '(none)'}, in the git config of this clone"
    else:
        claims = [each for each in known if each["uuid"] == REMOTE_UUID or each.get("name") == REMOTE]
        others = [each for each in claims if not each.items() >= {"name": REMOTE, **REMOTE_CONFIG}.items()]
        if not others:
            return
        is_special = True
        got = f"{_as_text(others[0])}, in the git-annex branch"
    # git-annex remembers the name of a special remote (.git/annex/verified-remote.log), also after renameremote.
    new_clone = "git clone --single-branch --branch main URL, and llm-traces setup in that clone"
    raise BadUse(
        REMOTE,
        "another remote has the name or the uuid of the archive's special remote",
        expected=_as_text(REMOTE_CONFIG),
        got=got,
        next=new_clone if is_special else f"git remote rename {REMOTE} OTHER; llm-traces setup",
    )


def _as_text(config: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items() if name != "timestamp")


def _record(git: Git, archive: Archive) -> Iterator[str]:
    """Record which keys the special remote serves, which are here, and the URLs of releases; yield what was done."""
    keys = workloads_by_key(archive)
    known = locations(git, keys)
    here = git.config("annex.uuid")
    served = [key for key in keys if REMOTE_UUID not in known[key]]
    present = [key for key in keys if here not in known[key] and (archive.root / content_path(key)).exists()]
    released = {
        (key, url)
        for key, names in keys.items()
        for name in names
        for url in archive.locked.get(name, {}).get("urls", ())
    }
    urls = without_known_urls(git, sorted(released))
    new = [f"{key} {REMOTE_UUID} 1\n" for key in served] + [f"{key} {here} 1\n" for key in present]
    if not new and not urls:
        return
    git("annex", "setpresentkey", "--batch", stdin="".join(new))
    if urls:
        git("annex", "registerurl", "--batch", stdin="".join(f"{key} {url}\n" for key, url in urls))
    git("annex", "merge")  # the records would stay in the journal, which is never pushed
    counts = ((served, f"as available from {REMOTE}"), (present, "as present here"), (urls, "with a URL of a release"))
    yield from (f"recorded {len(each)} {'file' if len(each) == 1 else 'files'} {how}" for each, how in counts if each)
