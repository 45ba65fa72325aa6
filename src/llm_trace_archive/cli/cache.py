"""`llm-traces cache ...`: one function per command, no logic."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import FINDINGS, BadUse
from ..core.settings import cache_folder
from ..core.text import echo
from .options import archive_of

if TYPE_CHECKING:
    from ..upstream.cache import Cache

app = typer.Typer(help="List, verify and prune the cache of upstream files.", no_args_is_help=True)


@contextlib.contextmanager
def _open_cache() -> Iterator[Cache]:
    from ..upstream.cache import Cache, make_cache_problem

    try:
        yield Cache(cache_folder())
    except OSError as error:
        raise make_cache_problem(cache_folder(), error) from None


def _name_keys(context: typer.Context) -> dict[str, str]:
    """Return the names of upstream files by key; none outside an archive."""
    from ..upstream.cache import name_keys

    with contextlib.suppress(BadUse):
        return name_keys(archive_of(context).select())
    return {}


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the cached files: kind, size, last use, and the upstream file each belongs to.

    Example: llm-traces cache list
    """
    from .terminal import print_table

    names = _name_keys(context)
    rows = []
    with _open_cache() as cache:
        entries = list(cache.entries())
        for each in entries:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used))
            rows.append((each.kind, f"{each.bytes:,}", day, names.get(each.key) or str(each)))
    if rows:
        print_table(("kind", "bytes", "last used", "file"), rows, right={1})
    echo(f"{cache.folder}: {_count(len(entries))}, {sum(each.bytes for each in entries):,} bytes")


@app.command()
def verify(context: typer.Context) -> None:
    """Hash all pinned content again, and move corrupt files to quarantine; the exit code is 1 if there are any.

    Example: llm-traces cache verify
    """
    good = corrupt = 0
    with _open_cache() as cache:
        for _, problem in cache.verify(_name_keys(context)):
            good, corrupt = good + (problem is None), corrupt + (problem is not None)
            if problem:
                echo(f"{problem}\n", err=True)
    echo(f"{good} as pinned, {corrupt} corrupt")
    if corrupt:
        raise typer.Exit(FINDINGS)


@app.command()
def prune(
    context: typer.Context,
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Also remove content that was not used for this many days."),
    ] = None,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="Also remove the files in quarantine.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove partial files that no process fetches, and more if asked for; a file in use is never removed.

    Example: llm-traces cache prune --older-than 30
    """
    names = _name_keys(context)
    removed = in_use = 0
    verb = "would remove" if dry_run else "removed"
    with _open_cache() as cache:
        for each, is_removed in cache.prune(time.time(), older_than, quarantine, everything, dry_run):
            status = verb if is_removed else "in use"
            echo(f"{status}  {each.bytes:,} bytes  {each.kind}  {names.get(each.key) or each}")
            removed, in_use = removed + is_removed * each.bytes, in_use + (not is_removed)
    echo(f"{verb} {removed:,} bytes" + (f"; {_count(in_use)} in use" if in_use else ""))


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"
