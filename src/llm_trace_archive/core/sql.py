"""Pieces of SQL."""

from __future__ import annotations

ROWS = "rows"  # what SQL on a table calls it


def quote(text: str) -> str:
    """Return text as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return the name of a column or a table as SQL."""
    return '"' + name.replace('"', '""') + '"'
