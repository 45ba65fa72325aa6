"""`llm-traces head`, `query`, `profile`, `rate` and `report`: look at workloads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core.text import echo
from .options import any_archive

app = typer.Typer()

Selected = Annotated[list[str], typer.Argument(metavar="TRACE[/WORKLOAD] ...", show_default=False)]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all rows to this file instead.")
]
Format = Annotated[
    str | None,
    typer.Option(metavar="table|csv|json|parquet", help="Default: as FILE ends; without a file, a table."),
]


@app.command()
def head(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 10,
) -> None:
    """Print the first rows of a workload, or of all requests of a trace; columns without a value there are named only.

    Example: llm-traces head azure-2023/code
    """
    from ..workload.open import open_in
    from ..workload.output import rows_as_text

    table = open_in(any_archive(context), name).head(rows)
    empty = [column for column in table.column_names if table[column].null_count == table.num_rows]
    shown = table.drop_columns(empty)
    echo(rows_as_text(shown.column_names, [list(row.values()) for row in shown.to_pylist()]))
    if empty:
        echo(f"\nno value here: {', '.join(empty)}")


@app.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL")],
    output: Output = None,
    format: Format = None,
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="Let the SQL read other files and URLs too.")
    ] = False,
) -> None:
    """Answer a SELECT of DuckDB over workloads: "azure-2024/code" is a table, "azure-2024" all requests of a trace,
    requests those of all workloads that are here.

    Nothing is written but FILE. On a terminal, 100 rows at most.

    Example: llm-traces query "SELECT trace, workload, count(*) FROM requests GROUP BY ALL"
    """
    from ..workload.output import SHOWN, choose_format
    from ..workload.query import Query

    chosen = choose_format(format, output)
    answer = Query(any_archive(context), sql, allow_files)
    if output:
        answer.write_file(chosen, output)
    elif not answer.write_to(chosen, sys.stdout):
        echo(f"the first {SHOWN} rows; all of them: --format csv, or -o FILE", err=True)


@app.command()
def profile(
    context: typer.Context,
    names: Selected,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures as JSON: schemas/profile.schema.json.")
    ] = None,
) -> None:
    """Print what workloads look like, side by side: rates, burstiness, tokens, sessions, failures, prefix reuse.

    docs/profile.md defines every figure. A workload of several segments is also shown by segment.

    Example: llm-traces profile azure-2023/code azure-2023/conversation
    """
    from ..core.files import write_output
    from ..workload.open import open_each
    from ..workload.profile import render, to_json

    profiles = [each.profile() for each in open_each(any_archive(context), names)]
    echo(render(profiles))
    if json:
        write_output(json, to_json(profiles))


@app.command()
def rate(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")],
    per: Annotated[str, typer.Option(metavar="TIME", help="Width of a bin: 100ms, 1s, 10min, 1h.")] = "1s",
    output: Output = None,
    format: Format = None,
) -> None:
    """Print requests and tokens per bin of time, by segment; bins without requests are included.

    start_us is the time since the trace's epoch in microseconds. On a terminal, 100 rows at most.

    Example: llm-traces rate azure-2023/code --per 1min
    """
    from ..workload.open import open_requests
    from ..workload.output import SHOWN, choose_format, write_file, write_to

    chosen = choose_format(format, output)
    rows = open_requests(any_archive(context), name).rate(per).relation()
    if output:
        write_file(rows, chosen, output)
    elif not write_to(rows, chosen, sys.stdout):
        echo(f"the first {SHOWN} rows; all of them: --format csv, or -o FILE", err=True)


@app.command()
def report(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TRACE[/WORKLOAD] | FILE.parquet ...]", show_default=False)
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write pages that show workloads: an overview, a comparison, and a page for each with its plots and numbers.

    Without names, all workloads that are here. The pages work from the folder, without a server, and ask no other host
    for anything. DIR may hold an older report, which is replaced. Each plot is also there as CSV, SVG and PNG.

    Example: llm-traces report azure-2023 mooncake/conversation -o /tmp/report
    """
    import webbrowser

    from ..report.site import OVERVIEW, write

    done = write(any_archive(context), names or [], output, lambda name: echo(name, err=True))
    page = output.resolve() / OVERVIEW
    echo(f"{page}: {len(done)} workloads, {sum(len(each.drawn) for each in done)} plots")
    if show:
        webbrowser.open(page.as_uri())
