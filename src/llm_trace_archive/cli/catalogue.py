"""`llm-traces list` and `info`: the traces of the archive."""

from __future__ import annotations

from typing import Annotated

import typer

from ..core.text import echo
from .options import Names, any_archive

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
    from ..workload.catalogue import list_traces

    listed = list_traces(any_archive(context), names or ())
    echo(listed.as_json() if as_json else listed.as_text(wide))
    if (absent := sum(not each.is_here for each in listed)) and not as_json:
        echo(f"\n{absent} of {len(listed)} are not here. Next: llm-traces get TRACE (unpinned: pin TRACE first)")


@app.command()
def info(context: typer.Context, trace: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")]) -> None:
    """Show one trace: how it was collected, properties, anomalies, licence, citation, files and pins.

    Of a workload of your own, a FILE.parquet: the steps that made it and what to cite.

    Example: llm-traces info burstgpt
    """
    from ..core.catalogue import entries, format_info

    archive = any_archive(context)
    if trace.endswith(".parquet"):
        from ..workload.open import is_saved, open_requests  # which import the engine

        if is_saved(archive, trace):
            echo(f"{trace}: {open_requests(archive, trace).describe()}")
            return
    echo(format_info(list(entries(archive, archive.select([trace])))))
