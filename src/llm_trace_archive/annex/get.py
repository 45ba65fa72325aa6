"""`datalad get`, with the reasons why a file is not available."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..core.archive import LOCK, Archive
from ..core.errors import BadUse, Problem
from ..core.git import Git
from ..core.links import workloads_by_key
from ..core.recipe import Workload
from ..core.settings import is_offline
from ..lock import card
from .messages import from_lines, relay
from .setup import setup

PAUSE = 0.5  # seconds between looks at what other processes are getting
# git-annex must not request the URLs of releases either.
NO_URLS = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "annex.security.allowed-url-schemes",
    "GIT_CONFIG_VALUE_0": "none",
}


def get(archive: Archive, workloads: Iterable[Workload], on_wait: Callable[[str], None] = lambda line: None) -> None:
    """Run `setup`, then `datalad get` for workloads whose content is absent.

    on_wait  called with lines that say what is waited for, and why, in another thread

    Raises Problem that names the workloads that are still absent, with the reasons that git-annex, DataLad or the
    special remote gave; BadUse for a workload that is neither locked nor pinned, and as `setup` does.
    """
    absent = _find_absent(archive, workloads)
    if not absent:
        return
    served = {name for names in workloads_by_key(archive).values() for name in names}
    unknown = [str(each) for each in absent if str(each) not in served]
    absent = [each for each in absent if str(each) in served]
    if unlinked := [each.path for each in absent if not os.path.lexists(archive.root / each.path)]:
        raise BadUse(
            ", ".join(unlinked),
            "the link to the content is missing",
            next=f"git checkout -- {' '.join(unlinked)}; for a new recipe: llm-traces describe, and commit the link",
        )
    if absent:
        setup(archive)
        reasons = _get_present(archive, absent, on_wait)
        card.refresh(archive)
        if failed := [str(each) for each in _find_absent(archive, absent)]:
            raise Problem(
                ", ".join(failed),
                "content is not available",
                reasons="\n".join(reasons),
                next=f"fix that, then llm-traces get {' '.join(failed)}",
            )
    if unknown:
        raise BadUse(
            ", ".join(unknown),
            f"neither in {LOCK} nor pinned, so no one can verify the content",
            next=f"llm-traces pin {unknown[0].partition('/')[0]}, and review the diff; "
            f"or llm-traces build --accept-unpinned {' '.join(unknown)}",
        )


def _get_present(archive: Archive, workloads: list[Workload], on_wait: Callable[[str], None]) -> list[str]:
    """Get workloads, those too that other processes are getting; return the reasons of failures, a line each."""
    reasons: list[str] = []
    while absent := _find_absent(archive, workloads):
        reasons = _datalad_get(archive.root, [each.path for each in absent], on_wait)
        absent = _find_absent(archive, absent)
        if not absent or not _await_others(archive, absent, on_wait):
            break
    return reasons


def _find_absent(archive: Archive, workloads: Iterable[Workload]) -> list[Workload]:
    return [each for each in workloads if not archive.is_present(each)]


def _await_others(archive: Archive, workloads: list[Workload], on_wait: Callable[[str], None]) -> bool:
    """Wait until no other process gets one of the workloads: git-annex refuses a second one. Return whether any did."""
    names = {str(each) for each in workloads}
    keys = {key for key, served in workloads_by_key(archive).items() if names & set(served)}
    has_waited = False
    while True:
        transfers = json.loads(Git(archive.root)("annex", "info", "--fast", "--json"))["transfers in progress"]
        if not any(each["transfer"] == "download" and each["key"] in keys for each in transfers):
            return has_waited
        if not has_waited:
            on_wait("waiting for another process that is getting the same content")
        has_waited = True
        time.sleep(PAUSE)


def _datalad_get(root: Path, paths: list[str], on_wait: Callable[[str], None]) -> list[str]:
    """Run `datalad get` and return the reasons of failures, a line each."""
    options = ("-c", "datalad.annex.retry=1", "-f", "json")
    with relay(on_wait) as environment:
        environment |= NO_URLS if is_offline() else {}
        ran = Git(root).datalad(*options, "get", "--", *paths, environment=environment)
    results = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    messages = [
        str(each.get("error_message") or each.get("message") or "DataLad gave no reason")
        for each in results
        if each["status"] not in ("ok", "notneeded")
    ]
    if not messages and not ran.returncode:
        messages = [f"git-annex has the content, which git checkout -- {' '.join(paths)} puts in place of a pointer"]
    return from_lines(messages or [f"datalad get ended with exit code {ran.returncode}"])
