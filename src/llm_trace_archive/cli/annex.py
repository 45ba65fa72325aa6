"""`llm-traces setup`, `get`, `lock` and `publish`: content by git-annex and DataLad."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..core.settings import cache_folder
from .options import Mirror, Names, Offline, archive_of

app = typer.Typer()


@app.command()
def setup(context: typer.Context) -> None:
    """Prepare a clone for `datalad get`: git-annex, our special remote, and what the lock knows. Twice does no harm."""
    from ..annex.setup import setup as prepare

    for line in prepare(archive_of(context)) or ["nothing to do: the clone is ready"]:
        typer.echo(line)


@app.command()
def get(context: typer.Context, names: Names = None, mirror: Mirror = None, offline: Offline = False) -> None:
    """Set the clone up if needed, `datalad get` the workloads, and check that they are here."""
    from ..annex.get import get as fetch

    if mirror:  # the special remote reads it, and git-annex runs that
        os.environ["LLM_TRACES_MIRROR"] = mirror
    if offline:
        os.environ["LLM_TRACES_OFFLINE"] = "1"
    archive = archive_of(context)
    locked = archive.locked
    workloads = [each for each in archive.select(names or ()) if names or str(each) in locked]
    fetch(archive, workloads)
    typer.echo(f"{len(workloads)} here")


@app.command()
def lock(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="TRACE[/WORKLOAD] ...", show_default=False)],
    mirror: Mirror = None,
    offline: Offline = False,
) -> None:
    """Put workloads into the lock by their sha256, building what was never built, and commit that."""
    from ..annex.relock import lock as put
    from ..upstream.sources import Sources

    archive = archive_of(context)
    done = put(archive, archive.select(names), Sources(cache=cache_folder(), mirror=mirror, offline=offline))
    typer.echo(f"committed: {', '.join(done)}" if done else "nothing to do: all are in the lock and committed")


@app.command()
def publish(
    context: typer.Context,
    place: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="A folder, or a RIA store: ria+file:// or ria+ssh://")
    ],
) -> None:
    """Put a clone with its content where others can `datalad clone` and `datalad get` it without this package."""
    from ..annex.publish import publish as put

    for line in put(archive_of(context), place):
        typer.echo(line)
