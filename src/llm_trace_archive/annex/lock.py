"""Lock workloads and commit the lock: from then on everyone gets these bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..convert.restore import restore_to
from ..core.archive import Archive
from ..core.errors import BadUse, Unavailable
from ..core.git import Git
from ..core.recipe import Workload
from ..lock.build import Built, build
from ..lock.describe import describe, generated
from ..upstream.sources import Sources
from .setup import setup


def lock(archive: Archive, workloads: Iterable[Workload], sources: Sources) -> list[str]:
    """Build workloads that are not locked, write the lock, commit it, and return the names of what was committed.

    If the upstream files are not available but the table is here, they are restored from it. The commit holds the
    lock, what is generated from it, and the links of these workloads. Raises Problem; nothing is committed then.
    """
    if not (archive.root / ".git").exists():
        raise BadUse(str(archive.root), "is not a git repository, so nothing can be committed", next="llm-traces build")
    chosen = list(workloads)
    built = [_build(archive, each, sources) for each in chosen if str(each) not in archive.locked]
    if built:
        describe(archive, built)
    git = Git(archive.root)
    paths = [*(each.path for each in chosen), *(path for path, _ in generated(archive))]
    git("add", "--", *paths)
    if not git("diff", "--cached", "--name-only", "--", *paths):
        return []
    names = [str(each) for each in chosen]
    git("commit", "--quiet", "--message", f"Lock {', '.join(names)}", "--", *paths)
    if git.config("annex.uuid"):
        setup(archive)
    return names


def _build(archive: Archive, workload: Workload, sources: Sources) -> Built:
    """Build a workload from its upstream files, or from those that its table restores."""
    try:
        return build(archive, workload, sources)
    except Unavailable:
        if not (workload.restores and archive.is_present(workload)):
            raise
        sources.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=sources.cache, prefix="restored-") as mirror:
            folder = Path(mirror) / workload.files[0].trace
            folder.mkdir()
            for _ in restore_to(archive, workload, folder):
                pass
            return build(archive, workload, replace(sources, mirror=mirror, offline=True))
