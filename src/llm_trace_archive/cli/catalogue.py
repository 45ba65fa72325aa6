"""`llm-traces list` and `info`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Names, archive_of

app = typer.Typer()


@app.command("list")
def list_(context: typer.Context, names: Names = None) -> None:
    """What there is: every workload with rows, period, capabilities, licence, and whether its content is here."""
    from ..core.catalogue import entries
    from .terminal import print_table

    archive = archive_of(context)
    rows = [
        (
            str(each.workload) + (" (synthetic)" if each.recipe.synthetic else ""),
            f"{each.rows:,}" if each.rows else "?",
            each.period or "?",
            ", ".join(each.capabilities),
            each.recipe.licence["spdx"],
            each.state,
        )
        for each in entries(archive, archive.select(names or ()))
    ]
    print_table(("trace/workload", "rows", "period", "shows", "licence", "content"), rows, right={1})
    absent = sum(not row[-1].startswith("here") for row in rows)
    if absent:
        typer.echo(
            f"\n{absent} of {len(rows)} not here. Next: llm-traces get TRACE; unpinned: llm-traces pin TRACE first"
        )


@app.command()
def info(context: typer.Context, trace: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")]) -> None:
    """All about one trace: how it was collected, properties, oddities, licence, citation, files and pins."""
    from ..core.catalogue import entries
    from .terminal import print_info

    archive = archive_of(context)
    print_info(list(entries(archive, archive.select([trace]))))
