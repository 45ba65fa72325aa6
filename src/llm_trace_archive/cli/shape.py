"""`llm-traces shape` and `hit-ratio`: workloads of one's own, and what a KV cache would have served."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core.text import echo
from .look import Format, Output, Selected
from .options import any_archive

app = typer.Typer()


@app.command()
def shape(
    context: typer.Context,
    names: Selected,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file to write.")],
    view: Annotated[str | None, typer.Option(metavar="NAME", help="A clean view of the recipe: succeeded.")] = None,
    filter: Annotated[str | None, typer.Option(metavar="SQL", help='A condition: "output_tokens > 0".')] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="START..END", help="Since the first arrival, 30min..40min, or dates where arrivals have them."
        ),
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Cut sessions at the window; default: those that begin in it, whole.")
    ] = False,
    max_context: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Drop requests whose prompt and answer exceed this.")
    ] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Shorten them instead.")] = False,
    thin: Annotated[float | None, typer.Option(metavar="SHARE", help="Keep a random share, 0 to 1, by groups.")] = None,
    by: Annotated[str, typer.Option(metavar="session|prefix|request", help="What the groups are.")] = "session",
    seed: Annotated[int, typer.Option(help="Another seed draws other groups.")] = 0,
    rebase: Annotated[bool, typer.Option("--rebase", help="Let the first request arrive at 0.")] = False,
    rate: Annotated[float | None, typer.Option(metavar="FACTOR", help="So many times the rate.")] = None,
    requests_per_s: Annotated[float | None, typer.Option(help="This rate on average.")] = None,
    keep_gaps: Annotated[
        bool, typer.Option("--keep-gaps", help="Move sessions whole: a rate changes no gap within them.")
    ] = False,
    repeat: Annotated[str | None, typer.Option(metavar="TIME", help="Repeat until so long after the start.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Keep the first requests.")] = None,
) -> None:
    """Write a workload of your own: a window, a sample, another rate; several workloads are merged in time.

    The steps are taken in the order of the options above, whatever the order you give them in; a merge comes after
    --rebase. FILE says where it comes from and how; it opens by its path, and `llm-traces validate FILE` checks it.

    Example: llm-traces shape mooncake/conversation --thin 0.5 --by prefix --rate 2 -o /tmp/mine.parquet
    """
    from ..core.errors import BadUse
    from ..workload.open import open_each
    from ..workload.shape import collect_warnings

    tables = open_each(any_archive(context), names)
    with collect_warnings() as notes:
        for number, table in enumerate(tables):
            if view:
                table = table.view(view)
            if filter:
                table = table.filter(filter)
            if window:
                start, dots, end = window.partition("..")
                if not dots:
                    raise BadUse("--window", f"'{window}' is no window", expected="START..END, such as 30min..40min")
                table = table.window(start or 0, end, sessions="cut" if cut else "whole")
            if max_context:
                table = table.max_context(max_context, "clip" if clip else "drop")
            if thin:
                table = table.thin(thin, by=by, seed=seed)
            tables[number] = table.rebase() if rebase else table
        shaped = tables[0].merge(*tables[1:]) if len(tables) > 1 else tables[0]
        if rate is not None or requests_per_s is not None:
            sessions = "keep" if keep_gaps else "scale"
            shaped = shaped.scale(rate, requests_per_s=requests_per_s, sessions=sessions)
        if repeat:
            shaped = shaped.repeat(repeat)
        if limit is not None:
            shaped = shaped.limit(limit)
        shaped.save(output)
    for note in notes:
        echo(f"note: {note}", err=True)
    echo(f"{output}: {shaped.describe()}")


@app.command()
def hit_ratio(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")],
    gib: Annotated[str | None, typer.Option(metavar="N,N", help="Capacities in GiB, with --model.")] = None,
    share: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="As shares of the distinct blocks; default 0.01,0.05,0.1,0.25,0.5."),
    ] = None,
    blocks: Annotated[str | None, typer.Option(metavar="N,N", help="In blocks.")] = None,
    tokens: Annotated[str | None, typer.Option(metavar="N,N", help="In tokens.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose cache it is: llama-3-70b; an unknown name lists them.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of the cached values: bf16, fp8, ...")] = "bf16",
    bytes_per_token: Annotated[float | None, typer.Option(help="Instead of --model.")] = None,
    policy: Annotated[
        str,
        typer.Option(metavar="POLICY,POLICY", help="lru, leaf-lru (as vLLM and SGLang), fifo, belady (the optimum)."),
    ] = "lru",
    definition: Annotated[
        str, typer.Option(metavar="leading|folded", help="A block is its id, or its id with all before it.")
    ] = "leading",
    count: Annotated[str, typer.Option(metavar="blocks|tokens", help="What hits.")] = "blocks",
    warm_up: Annotated[float, typer.Option(metavar="SHARE", help="Requests at the start that are not counted.")] = 0,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="A cache for each value, such as model; segments have their own."),
    ] = None,
    output: Output = None,
    format: Format = None,
) -> None:
    """Print which share of its prompts a workload would have found in KV caches: by policy and capacity.

    docs/kv-cache.md defines it. Needs prefix blocks, and numba: the extra `analysis`.

    Example: llm-traces hit-ratio mooncake/conversation --gib 8,64 --model llama-3-70b --policy lru,belady
    """
    import pyarrow as pa

    from ..core.errors import BadUse
    from ..workload.open import open_requests
    from ..workload.output import choose_format, write_file, write_to
    from ..workload.records import database

    chosen = choose_format(format, output)
    capacities = {"share": share, "blocks": blocks, "tokens": tokens, "gib": gib}
    if not any(capacities.values()):
        capacities["share"] = "0.01,0.05,0.1,0.25,0.5"
    table = open_requests(any_archive(context), name)
    found = [
        table.hit_ratio(
            **{unit: _numbers(unit, text) for unit, text in capacities.items() if text},
            policy=each.strip(),
            definition=definition,
            count=count,
            warm_up=warm_up,
            model=model,
            dtype=dtype,
            bytes_per_token=bytes_per_token,
            by=by or (),
        )
        for each in policy.split(",")
    ]
    tables = [each.arrow() for each in found if each]
    if not tables:
        raise BadUse(name, "has no prefix blocks, and so no hit ratio", next="llm-traces list names those that have")
    rows = database().cursor().from_arrow(pa.concat_tables(tables))
    if output:
        write_file(rows, chosen, output)
    else:
        write_to(rows.project("* REPLACE (round(hit_ratio, 4) AS hit_ratio)"), chosen, sys.stdout)


def _numbers(unit: str, text: str) -> list[float]:
    from ..core.errors import BadUse

    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise BadUse(f"--{unit}", f"'{text}' is no list of numbers", expected="numbers with commas: 8,64") from None
