"""`llm-traces replay`: send a workload to a server, and keep what it does as a workload."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.text import echo
from .options import any_archive

app = typer.Typer()


@app.command()
def replay(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]|FILE", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    url: Annotated[str | None, typer.Option(metavar="URL", help="The server, such as http://localhost:8000.")] = None,
    model: Annotated[str, typer.Option(help="The model's name on the server.")] = "",
    endpoint: Annotated[str, typer.Option(metavar="completions|chat|tgi", help="What to ask.")] = "completions",
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="tokenizer.json of the served model: prompts of exact length.")
    ] = None,
    approximate: Annotated[bool, typer.Option("--approximate", help="No tokenizer: a word for a token.")] = False,
    window: Annotated[str | None, typer.Option(metavar="START..END", help="Since the first arrival.")] = None,
    speed: Annotated[float | None, typer.Option(metavar="FACTOR", help="So many times the recorded rate.")] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", help="This many requests a second on average.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="The first requests.")] = None,
    closed_loop: Annotated[
        bool, typer.Option("--closed-loop", help="A turn waits for the answer before it, then for the think time.")
    ] = False,
    keep_failed: Annotated[bool, typer.Option("--keep-failed", help="Send what failed when it was recorded.")] = False,
    at_once: Annotated[int | None, typer.Option(min=1, metavar="N", help="Requests in flight at most.")] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Give up on an answer after this.")] = 600.0,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Ask for the answer in one piece.")] = False,
    no_extras: Annotated[
        bool, typer.Option("--no-extras", help="Leave out min_tokens and ignore_eos, which some servers refuse.")
    ] = False,
    template_tokens: Annotated[
        int, typer.Option(min=0, metavar="N", help="Tokens of the chat template, taken off each prompt.")
    ] = 0,
    slo: Annotated[
        str | None, typer.Option(metavar="ttft=TIME,tpot=TIME", help="Count answers within these as goodput.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Send nothing: write FILE from the journal of a run that was killed.")
    ] = False,
) -> None:
    """Send the requests of a workload to a server at their time, and write what it did as a workload of your own.

    Requests that share prefix blocks share exactly that text. FILE opens like any workload: profile it, compare it with
    its source. The key of the server is read from LLM_TRACES_API_KEY. docs/replay.md says how everything is measured.

    Example: llm-traces replay mooncake/conversation --url http://localhost:8000 --approximate -o /tmp/run.parquet
    """
    import json
    import os

    from ..core.errors import BadUse
    from ..core.files import replace_text
    from ..replay.endpoints import ENDPOINTS
    from ..replay.run import Options, finish_run, run
    from ..workload.open import open_requests
    from ..workload.shape import collect_warnings

    table = open_requests(any_archive(context), name)
    with collect_warnings() as notes:
        if window:
            start, dots, end = window.partition("..")
            if not dots:
                raise BadUse("--window", f"'{window}' is no window", expected="START..END, such as 30min..40min")
            table = table.window(start or 0, end)
        if speed is not None or rate is not None:
            table = table.scale(speed, requests_per_s=rate)
        if limit is not None:
            table = table.limit(limit)
    for note in notes:
        echo(f"note: {note}", err=True)
    if endpoint not in ENDPOINTS:
        raise BadUse("--endpoint", f"'{endpoint}' is none", there_are=", ".join(ENDPOINTS))
    if not finish and not url:
        raise BadUse("--url", "is missing", next="give the server, such as --url http://localhost:8000")
    if not finish and tokenizer is None and not approximate:
        raise BadUse(
            "--tokenizer",
            "is missing, and prompts would not have exactly the tokens of the workload",
            next="--tokenizer tokenizer.json of the served model, or --approximate",
        )
    options = Options(
        url=(url or "").rstrip("/"), model=model, endpoint=endpoint, tokenizer=tokenizer, closed=closed_loop,
        keep_failed=keep_failed, at_once=at_once, timeout=timeout, is_streamed=not no_stream, extras=not no_extras,
        template_tokens=template_tokens, slo=slo or "", key=os.environ.get("LLM_TRACES_API_KEY", ""),
    )  # fmt: skip
    show = (lambda line: sys.stderr.write(f"\r\x1b[K{line}")) if sys.stderr.isatty() else (lambda line: None)
    figures: dict[str, Any] = (finish_run if finish else run)(table, options, output, show)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    if json_file:
        replace_text(json_file, json.dumps(figures, indent=2) + "\n")
    for key, value in figures.items():
        if isinstance(value, dict):
            value = "  ".join(f"{name} {each:,}" if not isinstance(each, str) else each for name, each in value.items())
        if value not in (None, ""):
            echo(f"{key:22}{value:,}" if isinstance(value, int | float) else f"{key:22}{value}")
    echo(f"{output}: {figures['requests']:,} requests; next: llm-traces profile {output} {name}")
