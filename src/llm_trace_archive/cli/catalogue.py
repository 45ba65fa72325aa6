"""`llm-traces list` and `info`: the traces of the archive."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Names, archive_of
from .terminal import echo

app = typer.Typer()


@app.command("list")
def list_(
    context: typer.Context,
    names: Names = None,
    wide: Annotated[bool, typer.Option("--wide", help="Also show periods and capabilities.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """List the workloads: rows, licence, and whether the content is here.

    Example: llm-traces list mooncake azure-2023 --wide
    """
    from ..core.catalogue import entries
    from .terminal import print_entries, print_entries_json

    archive = archive_of(context)
    found = list(entries(archive, archive.select(names or ())))
    if as_json:
        print_entries_json(found)
        return
    print_entries(found, wide)
    if absent := sum(not each.is_here for each in found):
        echo(f"\n{absent} of {len(found)} are not here. Next: llm-traces get TRACE (unpinned: pin TRACE first)")


@app.command()
def info(context: typer.Context, trace: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")]) -> None:
    """Show one trace: how it was collected, properties, anomalies, licence, citation, files and pins.

    Example: llm-traces info burstgpt
    """
    from ..core.catalogue import entries
    from .terminal import print_info

    archive = archive_of(context)
    print_info(list(entries(archive, archive.select([trace]))))
