"""`llm-traces export`: workloads as the files of serving tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.text import echo
from .options import Names, any_archive

app = typer.Typer()


@app.command()
def export(
    context: typer.Context,
    names: Names = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DIALECT", help="The dialect; --list has them.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file; default: to stdout.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="jsonl|csv|parquet", help="Default: as FILE ends; else the dialect's first.")
    ] = None,
    block_size: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Split blocks, or put them together, to this size.")
    ] = None,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Keep requests that failed; default: leave them out.")
    ] = False,
    arrivals: Annotated[
        str | None, typer.Option(metavar="poisson:RATE,SEED", help="Draw arrivals where there are none.")
    ] = None,
    mint_unique_blocks: Annotated[
        bool, typer.Option("--mint-unique-blocks", help="Where there are no blocks: ids that no two requests share.")
    ] = False,
    no_readme: Annotated[bool, typer.Option("--no-readme", help="Write no FILE.readme.txt beside the file.")] = False,
    list_dialects: Annotated[
        bool, typer.Option("--list", help="List the dialects: what each tool needs, and what it ignores.")
    ] = False,
) -> None:
    """Write a workload as a serving tool, a benchmark or a simulator reads it: order, units, blocks and sessions.

    FILE may end in .gz or .zst. FILE.readme.txt says how to run the tool with it, what was left out or changed, and
    what to cite. docs/export.md has a table of the dialects.

    Example: llm-traces export mooncake/conversation --to vllm-timed-trace -o /tmp/mooncake.jsonl
    """
    from ..core.errors import BadUse
    from ..export.page import list_text
    from ..export.run import export as write
    from ..workload.open import open_requests

    if list_dialects:
        echo(list_text())
        return
    if not names or not to:
        what = "no workload was given" if not names else "no dialect was given"
        raise BadUse("export", what, next="llm-traces export NAME --to DIALECT -o FILE; --list has the dialects")
    written = write(
        open_requests(any_archive(context), *names),
        to,
        output,
        format=format,
        keep_failed=keep_failed,
        mint_unique_blocks=mint_unique_blocks,
        arrivals=arrivals,
        block_size=block_size,
        with_readme=not no_readme,
    )
    to_stderr = output is None
    echo(f"{output or 'stdout'}: {written.rows:,} requests, {written.input_tokens:,} input tokens,"
         f" {written.output_tokens:,} output tokens", err=to_stderr)  # fmt: skip
    for reason, count in written.left_out.items():
        echo(f"left out: {count:,} requests that {reason}", err=to_stderr)
    for change in written.changes:
        echo(f"note: {change}", err=to_stderr)
    echo(f"run: {written.command}", err=to_stderr)
