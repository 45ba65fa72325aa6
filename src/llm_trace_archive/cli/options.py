"""What several commands take: names, the mirror, and the archive they work on."""

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
        help="Folder or URL with upstream files, <mirror>/<trace>/<file>, used before the internet.",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Try no URL.")]


def archive_of(context: typer.Context) -> Archive:
    """The archive of `--archive`, or the one around here. Raises BadUse."""
    start = context.find_root().params.get("archive")
    return Archive.find(Path(start) if start else None)
