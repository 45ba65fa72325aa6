"""`llm-traces setup`, `get`, `lock` and `publish`: content by git-annex and DataLad."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..core.settings import cache_folder
from ..core.text import echo
from .options import Mirror, Names, Offline, any_archive, archive_of

app = typer.Typer()


@app.command()
def setup(context: typer.Context) -> None:
    """Prepare this clone for `datalad get`: git-annex, the special remote, and the records of what it serves.

    Writes git-annex's records and settings into .git. Safe to run again.

    Example: llm-traces setup
    """
    from ..annex.setup import setup as prepare

    for line in prepare(archive_of(context)) or ["nothing to do: the clone is ready"]:
        echo(line)


@app.command()
def get(context: typer.Context, names: Names = None, mirror: Mirror = None, offline: Offline = False) -> None:
    """Fetch workloads, in a clone with `datalad get`; without names, every locked workload.

    Content goes to git-annex's folder in .git, and the links in data/ lead to it; outside a clone, to the user's data
    folder (LLM_TRACES_DATA). A file that no URL offers is built.

    Example: llm-traces get mooncake
    """
    from ..workload.open import fetch_content

    # git-annex runs the special remote, which reads its options from the environment.
    if mirror:
        os.environ["LLM_TRACES_MIRROR"] = mirror
    if offline:
        os.environ["LLM_TRACES_OFFLINE"] = "1"
    archive = any_archive(context)
    workloads = [each for each in archive.select(names or ()) if names or str(each) in archive.locked]
    fetch_content(archive, workloads)
    place = f": {archive.store}" if archive.store else ""
    echo(f"{len(workloads)} {'workload is' if len(workloads) == 1 else 'workloads are'} here{place}")


@app.command()
def lock(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="TRACE[/WORKLOAD] ...", show_default=False)],
    mirror: Mirror = None,
    offline: Offline = False,
) -> None:
    """Lock workloads by their sha256 and commit the lock; workloads that were never built are built first.

    Commits datapackage.json, the files generated with it, and the links of these workloads in data/.

    Example: llm-traces lock burstgpt
    """
    from ..annex.lock import lock as commit
    from ..lock.progress import print_wait
    from ..upstream.sources import Sources

    archive = archive_of(context)
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=offline, on_wait=print_wait)
    done = commit(archive, archive.select(names), sources)
    echo(f"committed: {', '.join(done)}" if done else "nothing to do: all are locked and committed")


@app.command()
def publish(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="A folder, or a RIA store: ria+file:// or ria+ssh://")
    ],
) -> None:
    """Publish this clone and its content; others can `datalad clone` and `datalad get` it without this package.

    Only locked, redistributable workloads are published, to a folder that a web server can serve or to a RIA store of
    DataLad. Safe to run again.

    Example: llm-traces publish ~/public_html/llm-trace-archive
    """
    from ..annex.publish import publish as push

    for line in push(archive_of(context), target):
        echo(line)
