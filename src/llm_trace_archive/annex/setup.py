"""Prepare a clone for `datalad get`: git-annex's state rebuilt from recipes and lock."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.git import Git, require_programs
from ..core.links import content, keys
from ..lock import card

REMOTE = "llm-traces"
# Fixed: two clones that both set the remote up and then merge still have one remote.
REMOTE_UUID = "53f2f1a6-5ea6-5346-8013-412c9b7f4e2f"
REMOTE_CONFIG = {"uuid": REMOTE_UUID, "type": "external", "externaltype": REMOTE, "encryption": "none"}
UNVERIFIED = f"remote.{REMOTE}.annex-security-allow-unverified-downloads"


def setup(archive: Archive) -> list[str]:
    """Rebuild the annex's state from the lock; what was done, a line each, and nothing where all was there.

    A clone that has `main` only knows no special remote and no keys: `datalad get` would fetch nothing and say nothing.
    One that has the git-annex branch knows all that already, and its records are left as they are.
    Raises BadUse if git-annex or our special remote isn't on PATH, the archive is no git repository or can't be
    written, another remote has the name of ours, or git-annex fails.
    """
    require_programs(f"git-annex-remote-{REMOTE}")
    root = archive.root
    if not (root / ".git").exists():
        raise BadUse(
            str(root),
            "not a git repository, so git-annex and DataLad can't work here",
            next="llm-traces build builds the files without them; or git clone the archive",
        )
    git = Git(root)
    _require_writable(root / git("rev-parse", "--git-common-dir").strip())
    done = []
    # Both are there only once git-annex came to the end of its own init.
    if git.config("annex.uuid") and git.config("annex.version") and not (root / ".git").is_file():
        git("annex", "merge")
    else:
        # Or git-annex describes the clone by user, machine and folder, and any push makes that known.
        git("annex", "init", "a clone of the LLM Trace Archive")
        done.append("initialised git-annex in this clone")
    done += _set_up_remote(git)
    done += _record(git, archive)
    card.refresh(archive)
    if done and git.identity:
        done.append("note: git has no user.name and user.email, without which bare datalad get fails")
    return done


def _require_writable(git_folder: Path) -> None:
    """Raise BadUse early: git-annex would get as far as it can, and end in the middle of its own messages."""
    if not all(os.access(each, os.W_OK) for each in (git_folder, git_folder / "annex") if each.exists()):
        raise BadUse(
            str(git_folder),
            "can't be written: Permission denied",
            kept="what is here can be read and validated",
            next="mend the permissions, or git clone it to where you may write",
        )


def _set_up_remote(git: Git) -> list[str]:
    known = _special_remotes(git)
    local = git.config(f"remote.{REMOTE}.annex-uuid")
    if local not in ("", REMOTE_UUID) or git.config(f"remote.{REMOTE}.url"):
        raise _foreign(f"annex-uuid {local or '(none)'}, in the git config of this clone", local != "")
    for config in known.values():
        claims = config["uuid"] == REMOTE_UUID or config.get("name") == REMOTE
        if claims and not config.items() >= {"name": REMOTE, **REMOTE_CONFIG}.items():
            raise _foreign(f"{_spelt(config)}, in the git-annex branch", True)
    if not local:  # what an initremote that was killed left would be in the way of the next
        git.ask("config", "--remove-section", f"remote.{REMOTE}")
    done = []
    if REMOTE_UUID not in known:
        git("annex", "initremote", REMOTE, *_spelt(REMOTE_CONFIG).split(), "autoenable=true")
        done.append(f"added the special remote {REMOTE}")
    elif not local:
        git("annex", "enableremote", REMOTE)
        done.append(f"enabled the special remote {REMOTE}")
    # Only a git-annex that asks for verification writes this; until then it refuses to get from, or to push.
    if git.config(f"remote.{REMOTE}.annex-verified") not in ("", "verified"):
        asked = re.search(r"--safe (\S+)", git("annex", "verifyremote", REMOTE))
        if asked:
            git("annex", "verifyremote", REMOTE, "--safe", asked[1])
            done.append(f"verified the special remote {REMOTE}: its configuration is ours")
    # One that doesn't know keys without a hash takes them for downloads that nobody verified; our program does that.
    if not re.search(r"^key/value backends:.* VURL\b", git("annex", "version"), re.MULTILINE) and not git.config(
        UNVERIFIED
    ):
        git("config", UNVERIFIED, "ACKTHPPT")
        done.append("allowed this git-annex, which knows no VURL keys, to get them from our special remote")
    return done


def _special_remotes(git: Git) -> dict[str, dict[str, str]]:
    """The configuration of every special remote in the git-annex branch, by uuid; the newest counts."""
    lines = [line.split() for line in git.ask("cat-file", "blob", "git-annex:remote.log").splitlines()]
    configs = [{"uuid": uuid, **dict(pair.split("=", 1) for pair in pairs)} for uuid, *pairs in lines]
    return {each["uuid"]: each for each in sorted(configs, key=lambda each: _time(each["timestamp"]))}


def _spelt(config: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in config.items() if name != "timestamp")


def _foreign(got: str, special: bool) -> BadUse:
    # A clone remembers the names of its special remotes (.git/annex/verified-remote.log), also after renameremote.
    fresh = "git clone --single-branch --branch main the archive anew, and llm-traces setup there"
    return BadUse(
        REMOTE,
        "another remote has the name or the uuid of the archive's special remote",
        expected=_spelt(REMOTE_CONFIG),
        got=got,
        next=fresh if special else f"git remote rename {REMOTE} OTHER; llm-traces setup",
    )


def _record(git: Git, archive: Archive) -> list[str]:
    """Record what the special remote serves, what is here, and where else released files can be downloaded."""
    every = keys(archive)
    known = _known_places(git, every)
    here = git.config("annex.uuid")
    served = [each for each in every if REMOTE_UUID not in known[each]]
    found = [each for each in every if here not in known[each] and (archive.root / content(each)).exists()]
    new = [f"{each} {REMOTE_UUID} 1" for each in served] + [f"{each} {here} 1" for each in found]
    urls = _new_urls(git, archive, every)
    if not new and not urls:
        return []
    git("annex", "setpresentkey", "--batch", given="".join(f"{line}\n" for line in new))
    if urls:
        git("annex", "registerurl", "--batch", given="".join(f"{key} {url}\n" for key, url in urls))
    git("annex", "merge")  # or the records stay in the journal, which no push takes along
    counts = ((served, f"as available from {REMOTE}"), (found, "as present here"), (urls, "with a URL of a release"))
    return [f"recorded {len(each)} {'file' if len(each) == 1 else 'files'} {how}" for each, how in counts if each]


def _new_urls(git: Git, archive: Archive, every: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """(key, URL) of the releases in the lock that git-annex doesn't know yet."""
    locked = archive.locked
    told = [
        (key, url)
        for key, names in every.items()
        for url in dict.fromkeys(url for name in names for url in locked.get(name, {}).get("urls", ()))
    ]
    if not told:
        return []
    known = _blobs(git, [f"{_log(key)}.web" for key, _ in told])
    return [(key, url) for (key, url), text in zip(told, known, strict=True) if f" 1 {url}\n" not in text]


def _known_places(git: Git, every: Iterable[str]) -> dict[str, set[str]]:
    """The uuids that hold each key, as the git-annex branch has it."""
    known: dict[str, set[str]] = {each: set() for each in every}
    for key, text in zip(known, _blobs(git, [_log(key) for key in known]), strict=True):
        for _, status, uuid in sorted(
            (_time(time), status, uuid) for time, status, uuid in map(str.split, text.splitlines())
        ):
            (known[key].add if status == "1" else known[key].discard)(uuid)
    return known


def _log(key: str) -> str:
    """Where the git-annex branch says who has a key."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:3]}/{digest[3:6]}/{key}.log"


def _blobs(git: Git, paths: Iterable[str]) -> list[str]:
    """The texts of files of the git-annex branch, all by one process; of one that is not there, nothing."""
    asked = list(paths)
    answer = git("cat-file", "--batch", given="".join(f"git-annex:{path}\n" for path in asked)).encode()
    texts = []
    for _ in asked:
        head, _, answer = answer.partition(b"\n")
        size = int(head.rpartition(b" ")[2]) if not head.endswith(b" missing") else -1
        texts.append(answer[: max(size, 0)].decode())
        answer = answer[size + 1 :] if size >= 0 else answer
    return texts


def _time(text: str) -> float:
    return float(text.removesuffix("s"))
