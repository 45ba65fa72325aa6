"""`llm-traces list` and `info`: the traces of the archive."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Names, archive_of

app = typer.Typer()


@app.command("list")
def list_(context: typer.Context, names: Names = None) -> None:
    """List the workloads: rows, period, capabilities, licence, and whether the content is here.

    Example: llm-traces list mooncake azure-2023
    """
    from ..core.catalogue import entries
    from .terminal import print_table

    archive = archive_of(context)
    rows = [
        (
            str(each.workload) + (" (synthetic)" if each.recipe.synthetic else ""),
            f"{each.rows:,}" if each.rows else "?",
            each.period or "?",
            ", ".join(each.capabilities) + (" (same requests)" if each.workload.same_requests_as else ""),
            each.recipe.licence["spdx"],
            each.state,
        )
        for each in entries(archive, archive.select(names or ()))
    ]
    print_table(("trace/workload", "rows", "period", "capabilities", "licence", "content"), rows, right={1})
    absent = sum(not row[-1].startswith("here") for row in rows)
    if absent:
        typer.echo(f"\n{absent} of {len(rows)} are not here. Next: llm-traces get TRACE (unpinned: pin TRACE first)")


@app.command()
def info(context: typer.Context, trace: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")]) -> None:
    """Show one trace: how it was collected, properties, anomalies, licence, citation, files and pins.

    Example: llm-traces info burstgpt
    """
    from ..core.catalogue import entries
    from .terminal import print_info

    archive = archive_of(context)
    print_info(list(entries(archive, archive.select([trace]))))
