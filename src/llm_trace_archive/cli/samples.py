"""`llm-traces samples` and `demo`: look-alikes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import archive_of

app = typer.Typer()


@app.command()
def samples(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder: becomes an archive of synthetic look-alikes.")],
    mirror: Annotated[Path, typer.Option(help="Where the look-alike upstream files go.")],
    base_url: Annotated[str, typer.Option(help="URL under which the mirror is served.")] = "http://127.0.0.1:8000",
    rows: Annotated[int, typer.Option(min=10, help="Rows of the largest table of a trace.")] = 2000,
    trace: Annotated[
        list[str] | None, typer.Option(help="Only this trace; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Write look-alike upstream files in their upstream's spelling, and an archive with recipes for them."""
    from ..demo.lookalikes import sample_archive

    made = sample_archive(archive_of(context), folder, mirror, base_url, rows, trace or None)
    typer.echo(
        f"{made.root}: {len(made.select())} workloads; next: llm-traces --archive {folder} build --mirror {mirror}"
    )


@app.command()
def demo(context: typer.Context) -> None:
    """Build an archive of look-alikes in a throwaway folder, clone it, and open the three doors on the clone."""
    from ..demo.run import run

    run(archive_of(context))
