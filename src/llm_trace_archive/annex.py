"""git-annex: keys and links, the annex's state rebuilt from the lock, and `datalad get` with its reasons.

Keys and links are plain Python; git-annex is called only where its own records change. So a clone can be built and read
without it, and what it does is bound to `setup`, `store` and `get`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import card
from .archive import LOCK, Archive
from .errors import BadUse, Problem
from .git import Git, require_programs
from .recipe import Workload

REMOTE = "llm-traces"
# Fixed: two clones that both set the remote up and then merge still have one remote.
REMOTE_UUID = "53f2f1a6-5ea6-5346-8013-412c9b7f4e2f"
REMOTE_CONFIG = {"uuid": REMOTE_UUID, "type": "external", "externaltype": REMOTE, "encryption": "none"}
# git-annex and DataLad show one line an error: the lines of a Problem travel in one, and `get` parts them again.
LINES = " | "


def key(sha256: str, size: int) -> str:
    """The key by which git-annex knows content."""
    return f"SHA256-s{size}--{sha256}"


def locked_keys(archive: Archive) -> dict[str, list[str]]:
    """The lock's keys, each with the workloads ("trace/workload") that share it. Raises BadUse: no usable lock."""
    keys: dict[str, list[str]] = {}
    for name, resource in archive.locked.items():
        keys.setdefault(key(str(resource["hash"]).removeprefix("sha256:"), resource["bytes"]), []).append(name)
    return keys


def link_target(path: str, key: str) -> str:
    """Where the symlink at `path`, relative to the archive's root, points to."""
    return "../" * path.count("/") + _object(key)


def _object(key: str) -> str:
    """The content's path below the root, in git-annex's folders of mixed case."""
    word = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "little")
    a, b, c, d = ("0123456789zqjxkmvwgpfZQJXKMVWGPF"[word >> shift & 31] for shift in (0, 6, 12, 18))
    return f".git/annex/objects/{b}{a}/{d}{c}/{key}/{key}"


def store(root: Path, path: str, file: Path, sha256: str, size: int) -> None:
    """Move the finished file, of that sha256 and size, to where `path` says: into the annex, with a link to it.

    Where the archive is no git repository the file itself goes to `path`. Whatever stood there is replaced. `file` must
    be on the same file system. Raises BadUse in a worktree that git-annex doesn't know yet, OSError.
    """
    target = root / path
    git = root / ".git"
    if git.is_file():
        raise BadUse(
            path,
            "can't be stored: links of git-annex lead through .git, and here that is a file (a worktree or submodule)",
            next="llm-traces setup, which lets git-annex make it a link",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if not git.exists():
        os.replace(file, target)  # noqa: PTH105 (named as what it is: atomic)
        return
    name = key(sha256, size)
    content = root / _object(name)
    content.parent.mkdir(parents=True, exist_ok=True)
    content.parent.chmod(0o755)
    try:
        file.chmod(0o444)
        os.replace(file, content)  # noqa: PTH105
    finally:
        content.parent.chmod(0o555)
    link = target.with_name(f".{target.name}.{os.getpid()}.part")
    link.unlink(missing_ok=True)
    link.symlink_to(link_target(path, name))
    os.replace(link, target)  # noqa: PTH105
    here = Git(root).config("annex.uuid")
    if here:
        with contextlib.suppress(BadUse):  # the content is in place; setup records what is missed here
            Git(root)("annex", "setpresentkey", name, here, "1")


def setup(archive: Archive) -> list[str]:
    """Rebuild the annex's state from the lock; what was done, a line each, and nothing where all was there.

    A clone that has `main` only knows no special remote and no keys: `datalad get` would fetch nothing and say nothing.
    Raises BadUse if git-annex or our special remote isn't on PATH, the archive is no git repository, another remote has
    the name of ours, or git-annex fails.
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
    done = []
    if git.config("annex.uuid") and not (root / ".git").is_file():
        git("annex", "merge")
    else:
        git("annex", "init")
        done.append("initialised git-annex in this clone")
    done += _set_up_remote(git)
    done += _record(git, archive)
    card.refresh(archive)
    if done and git.identity:
        done.append("note: git has no user.name and user.email, without which bare datalad get fails")
    return done


def get(archive: Archive, workloads: Iterable[Workload]) -> None:
    """`datalad get` of what is not here yet, after `setup`.

    Raises BadUse for a workload that was never built, and as `setup` does; Problem that names what is still not here,
    with the reasons that git-annex, DataLad or the special remote gave.
    """
    wanted = [each for each in workloads if not archive.is_present(each)]
    if not wanted:
        return
    locked = archive.locked
    unknown = [str(each) for each in wanted if str(each) not in locked]
    wanted = [each for each in wanted if str(each) in locked]
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
        raise BadUse(", ".join(unknown), f"not in {LOCK}: never built", next=f"llm-traces build {' '.join(unknown)}")


def _datalad_get(root: Path, paths: list[str]) -> list[str]:
    """The reasons of the failures, a line each."""
    # As a process: DataLad's own progress bars and its settings of logging stay its own.
    command = [sys.executable, "-c", "from datalad.cli.main import main; main()"]
    options = ["-c", "datalad.annex.retry=1", "-f", "json", "get", "--", *paths]
    env = os.environ | Git(root).identity
    ran = subprocess.run(command + options, cwd=root, env=env, stdout=subprocess.PIPE, encoding="utf-8")
    results = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    said = [
        str(each.get("error_message") or each.get("message") or "DataLad gave no reason")
        for each in results
        if each["status"] not in ("ok", "notneeded")
    ]
    if not said:
        said = [f"datalad get ended with exit code {ran.returncode}"]
    return list(dict.fromkeys(line for text in said for part in text.splitlines() for line in part.split(LINES)))


def _set_up_remote(git: Git) -> list[str]:
    known = _special_remotes(git)
    local = git.config(f"remote.{REMOTE}.annex-uuid")
    if local not in ("", REMOTE_UUID) or git.config(f"remote.{REMOTE}.url"):
        raise _foreign(f"annex-uuid {local or '(none)'}, in the git config of this clone", local != "")
    for config in known.values():
        claims = config["uuid"] == REMOTE_UUID or config.get("name") == REMOTE
        if claims and not config.items() >= {"name": REMOTE, **REMOTE_CONFIG}.items():
            raise _foreign(f"{_spelt(config)}, in the git-annex branch", True)
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
    """Record the lock's keys as present in the special remote, and as present here where their content is."""
    keys = locked_keys(archive)
    known = _known_places(git, keys)
    here = git.config("annex.uuid")
    served = [each for each in keys if REMOTE_UUID not in known[each]]
    found = [each for each in keys if here not in known[each] and (archive.root / _object(each)).exists()]
    new = [f"{each} {REMOTE_UUID} 1" for each in served] + [f"{each} {here} 1" for each in found]
    if not new:
        return []
    git("annex", "setpresentkey", "--batch", given="".join(f"{line}\n" for line in new))
    git("annex", "merge")  # or the records stay in the journal, which no push takes along
    return [
        f"recorded {len(each)} {'file' if len(each) == 1 else 'files'} as {where}"
        for each, where in ((served, f"available from {REMOTE}"), (found, "present here"))
        if each
    ]


def _known_places(git: Git, keys: Iterable[str]) -> dict[str, set[str]]:
    """The uuids that hold each key, as the git-annex branch has it."""
    known: dict[str, set[str]] = {each: set() for each in keys}
    digests = {each: hashlib.md5(each.encode(), usedforsecurity=False).hexdigest() for each in known}
    asked = "".join(f"git-annex:{digest[:3]}/{digest[3:6]}/{each}.log\n" for each, digest in digests.items())
    order, current = iter(known), ""
    records = []
    for line in git("cat-file", "--batch", given=asked).splitlines():
        match line.split():
            case [_, "missing"] | [_, "blob", _]:
                current = next(order)
            case [time, status, uuid]:
                records.append((_time(time), current, uuid, status))
    for _, name, uuid, status in sorted(records):
        (known[name].add if status == "1" else known[name].discard)(uuid)
    return known


def _time(text: str) -> float:
    return float(text.removesuffix("s"))
