"""Tables and facts for the terminal, as plain text that can be piped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..checks.report import result_lines
from ..core.text import echo, format_table

if TYPE_CHECKING:
    from ..checks.result import Result


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows under a head; `right` holds the columns to align right."""
    for line in format_table(head, rows, right).split("\n"):
        echo(line)


def print_results(subject: str, results: Iterable[Result]) -> list[Result]:
    """Print results as they come, and return them."""
    printed: list[Result] = []

    def keep() -> Iterator[Result]:
        for result in results:
            printed.append(result)
            yield result

    for line in result_lines(subject, keep()):
        echo(line)
    return printed
