"""Text for people: lines and tables that can be piped, with what a terminal would obey spelled out."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from .errors import printable


def echo(text: object = "", err: bool = False) -> None:
    """Print a line to stdout or stderr, with what a terminal would obey spelled out. All commands print with this."""
    if stream := sys.stderr if err else sys.stdout:  # None if it is closed
        print(printable(str(text)), file=stream, flush=True)


def mask(text: str, token: str) -> str:
    """Return a server's text without the token, which it may repeat. Mask before cutting: a part is secret too."""
    return text.replace(token, "<token>") if token else text


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Return rows under a head, each column as wide as its widest cell; `right` holds the columns to align right."""
    head, *rows = ([printable(" ".join(cell.split())) for cell in row] for row in (head, *rows))
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if n in right else f"{cell:<{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
