"""`llm-traces samples` and `demo`: synthetic look-alikes of the upstream files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.text import echo
from .options import any_archive

app = typer.Typer()


@app.command()
def samples(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The new folder of the archive.")],
    mirror: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the look-alikes: DIR/<trace>/<file>.")],
    base_url: Annotated[
        str, typer.Option(help="The URL that will serve the mirror, for the recipes.")
    ] = "http://127.0.0.1:8000",
    rows: Annotated[int, typer.Option(min=10, help="Rows in the largest table of each trace.")] = 2000,
    trace: Annotated[
        list[str] | None, typer.Option(help="Only this trace; can be repeated.", show_default=False)
    ] = None,
) -> None:
    """Write synthetic look-alikes of the upstream files, and an archive whose recipes pin them.

    The archive goes to FOLDER, the look-alikes to the folder of --mirror. Nothing is built yet.

    Example: llm-traces samples /tmp/archive --mirror /tmp/upstream --trace burstgpt
    """
    from ..demo.lookalikes import make_archive

    made = make_archive(any_archive(context), folder, mirror, base_url, rows, trace or None)
    echo(f"{made.root}: {len(made.select())} workloads; next: llm-traces --archive {folder} build --mirror {mirror}")


@app.command()
def demo(context: typer.Context) -> None:
    """Build an archive of look-alikes, clone it, and open the three doors on the clone, without internet.

    Everything is written to a new folder for temporary files, which is kept for a look; Ctrl-C removes it.

    Example: llm-traces demo
    """
    from ..demo.run import run

    run(any_archive(context))
