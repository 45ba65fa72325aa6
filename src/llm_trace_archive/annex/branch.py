"""git-annex's records, read from its branch: its special remotes, and where each key is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..core.git import Git


def special_remotes(git: Git) -> dict[str, dict[str, str]]:
    """Return the newest configuration of every special remote by uuid."""
    lines = [line.split() for line in git.ask("cat-file", "blob", "git-annex:remote.log").splitlines()]
    configs = [{"uuid": uuid, **dict(pair.split("=", 1) for pair in pairs)} for uuid, *pairs in lines]
    return {each["uuid"]: each for each in sorted(configs, key=lambda each: _seconds(each["timestamp"]))}


def locations(git: Git, keys: Iterable[str]) -> dict[str, set[str]]:
    """Return the uuids of the repositories and remotes that hold each key."""
    found: dict[str, set[str]] = {key: set() for key in keys}
    for key, text in zip(found, _blobs(git, [_log(key) for key in found]), strict=True):
        records = [line.split() for line in text.splitlines()]
        for _, status, uuid in sorted((_seconds(time), status, uuid) for time, status, uuid in records):
            (found[key].add if status == "1" else found[key].discard)(uuid)
    return found


def without_known_urls(git: Git, urls: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those pairs of a key and a URL that git-annex has not recorded."""
    pairs = list(urls)
    texts = _blobs(git, [f"{_log(key)}.web" for key, _ in pairs])
    return [(key, url) for (key, url), text in zip(pairs, texts, strict=True) if f" 1 {url}\n" not in text]


def _log(key: str) -> str:
    """Return the path of a key's location log."""
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return f"{digest[:3]}/{digest[3:6]}/{key}.log"


def _blobs(git: Git, paths: list[str]) -> list[str]:
    """Return the texts of files of the branch, read by one process; "" for a file that does not exist."""
    if not paths:
        return []
    output = git("cat-file", "--batch", stdin="".join(f"git-annex:{path}\n" for path in paths)).encode()
    texts = []
    for _ in paths:
        head, _, output = output.partition(b"\n")
        size = int(head.rpartition(b" ")[2]) if not head.endswith(b" missing") else -1
        texts.append(output[: max(size, 0)].decode())
        output = output[size + 1 :] if size >= 0 else output
    return texts


def _seconds(timestamp: str) -> float:
    return float(timestamp.removesuffix("s"))
