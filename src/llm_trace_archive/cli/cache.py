"""`llm-traces cache ...`: one function a command, no logic."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import FINDINGS, BadUse
from ..core.settings import cache_folder
from .options import archive_of

if TYPE_CHECKING:
    from ..upstream.cache import Cache

app = typer.Typer(
    help="The cache of upstream files: what is in it, whether it is right, and room.", no_args_is_help=True
)


@contextlib.contextmanager
def _cache() -> Iterator[Cache]:
    from ..upstream.cache import Cache, cant_write

    try:
        yield Cache(cache_folder())
    except OSError as error:
        raise cant_write(cache_folder(), error) from None


def _names(context: typer.Context) -> dict[str, str]:
    """What the keys are of, as far as the recipes here tell."""
    from ..upstream.cache import names

    with contextlib.suppress(BadUse):
        return names(archive_of(context).select())
    return {}


@app.command("list")
def list_(context: typer.Context) -> None:
    """What the cache holds: kind, size, when it was used last, and which upstream file it is."""
    from .terminal import print_table

    names = _names(context)
    rows = []
    with _cache() as cache:
        entries = list(cache.entries())
        for each in entries:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used))
            rows.append((each.kind, f"{each.bytes:,}", day, names.get(each.key) or str(each)))
    if rows:
        print_table(("kind", "bytes", "last used", "file"), rows, right={1})
    typer.echo(f"{cache.folder}: {len(entries)} files, {sum(each.bytes for each in entries):,} bytes")


@app.command()
def verify(context: typer.Context) -> None:
    """Hash all pinned content anew; what is wrong goes to quarantine with its reason, and the exit code is 1."""
    right = wrong = 0
    with _cache() as cache:
        for _, problem in cache.verify(_names(context)):
            right, wrong = right + (problem is None), wrong + (problem is not None)
            if problem:
                typer.echo(f"{problem}\n", err=True)
    typer.echo(f"{right} as pinned, {wrong} spoilt")
    if wrong:
        raise typer.Exit(FINDINGS)


@app.command()
def prune(
    context: typer.Context,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Also content that was not used for so many days.")
    ] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Also what is in quarantine.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All there is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be freed.")] = False,
) -> None:
    """Remove beginnings of files that no process fetches any more, and more if asked for; never what is in use."""
    names = _names(context)
    freed = kept = 0
    with _cache() as cache:
        for each, what in cache.prune(time.time(), older_than, quarantine, everything, dry_run):
            typer.echo(f"{'would be freed' if dry_run and what == 'freed' else what}  {each.bytes:,} bytes  "
                       f"{each.kind}  {names.get(each.key) or each}")  # fmt: skip
            freed, kept = freed + (each.bytes if what == "freed" else 0), kept + (what == "in use")
    typer.echo(
        f"{freed:,} bytes {'would be freed' if dry_run else 'freed'}" + (f", {kept} files in use" if kept else "")
    )
