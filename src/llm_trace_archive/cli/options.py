"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.archive import Archive

Names = Annotated[list[str] | None, typer.Argument(metavar="[TRACE[/WORKLOAD] ...]", show_default=False)]
Mirror = Annotated[
    str | None,
    typer.Option(
        envvar="LLM_TRACES_MIRROR",
        metavar="DIR|URL",
        help="Folder or URL with upstream files, <mirror>/<trace>/<file>; tried before the internet.",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Use the cache and a mirror folder only; request no URL.")]


def any_archive(context: typer.Context) -> Archive:
    """Return the archive of `--archive`, of the current directory, or the one of this package. Raises BadUse."""
    start = context.find_root().params.get("archive")
    return Archive.find_or_installed(Path(start) if start else None)


def archive_of(context: typer.Context) -> Archive:
    """Return the archive of `--archive`, or the one that contains the current directory. Raises BadUse."""
    start = context.find_root().params.get("archive")
    return Archive.find(Path(start) if start else None)
