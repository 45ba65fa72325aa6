"""`llm-traces import`: logs of one's own as workloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import FINDINGS
from ..core.text import echo
from .options import any_archive

app = typer.Typer()


@app.command("import")
def import_log(
    context: typer.Context,
    log: Annotated[Path | None, typer.Argument(metavar="LOG", show_default=False)] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A ready-made recipe, or one of yours.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")
    ] = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Salt the ids of sessions, drop text and dates, and check what is left.")
    ] = False,
    round_times: Annotated[
        str | None, typer.Option(metavar="TIME", help="Round times down to steps such as 1s.")
    ] = None,
    max_broken: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of unreadable records above which nothing is written.")
    ] = 0.01,
    list_recipes: Annotated[bool, typer.Option("--list", help="Print the ready-made recipes.")] = False,
) -> None:
    """Write the requests of a log to FILE, a workload of your own that opens by its path like any other.

    Prompts are never kept; where a recipe names them, the ids of their blocks are. docs/import.md explains recipes.

    Example: llm-traces import --list
    """
    from ..core.errors import BadUse
    from ..workload.logs.importing import ready_made, run_import

    if list_recipes:
        width = max(map(len, ready_made()))
        for name, title in ready_made().items():
            echo(f"{name:<{width}}  {title}")
        return
    if log is None or recipe is None or output is None:
        missing = "LOG" if log is None else "--recipe" if recipe is None else "-o"
        raise BadUse(
            "llm-traces import", f"{missing} is missing", next="llm-traces import LOG --recipe vllm -o mine.parquet"
        )
    report = run_import(
        any_archive(context), log, recipe, output, anonymise=anonymise, round_times=round_times, max_broken=max_broken
    )
    for note in report.notes():
        echo(f"note: {note}", err=True)
    echo(f"{output}: {report.rows:,} requests\nnext: llm-traces profile {output}")
    if report.findings:
        raise typer.Exit(FINDINGS)
