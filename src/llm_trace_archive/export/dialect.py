"""A dialect: the facts about what a tool reads, and the fields of its rows as SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rows import Rows

MS = "(us + 500) // 1000"  # whole milliseconds since the first request
SECONDS = "CAST(us / 1e6 AS DECIMAL(18, 6))"  # since the first request, to the microsecond
TOKENS = ("input_tokens", "output_tokens")
TIMED = ("arrival_us", *TOKENS)


@dataclass(frozen=True)
class Field:
    """A field of the tool's rows.

    sql          over the columns of a request, `us` (since the first request) and `ids` (the blocks in the tool's size)
    is_text      whether JSON quotes it
    is_optional  whether a row of JSON without a value lacks the field
    is_nested    whether a cell of CSV is JSON
    """

    sql: str
    is_text: bool = False
    is_optional: bool = False
    is_nested: bool = False


@dataclass(frozen=True)
class Blocks:
    """How a tool takes prefix blocks: always ceil(input / size) ids.

    is_required  whether it reads no row without ids
    size         the only size it knows; None for any
    one_size     whether an id must stand for the same number of tokens everywhere
    is_tree      whether an id must always follow the same ids
    """

    is_required: bool = True
    size: int | None = None
    one_size: bool = False
    is_tree: bool = False


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What a tool reads, and what it makes of it.

    tool      its name and the version that this was read in
    command   how to run it on {file}, which has {count} requests, with blocks of {block} tokens; without blocks,
              what is in [brackets] is left out
    needs     columns that it can't do without; uses: columns that it reads if they are there
    ignores   what it does not read, or misreads
    formats   endings of the file, the first by default; none for a folder
    unpacks   endings of compressed files that it reads itself
    notes     what a user must know
    limits    the largest value of a column that it takes
    fields    the fields of its rows; unless `write` does something else
    reshape   makes other rows of the SELECT that gives the requests and `ids`; changes: what that changes
    beside    further files in the same folder, by their names
    any_table whether several workloads can be exported at once, and requests that failed stay
    """

    name: str
    tool: str
    command: str
    needs: tuple[str, ...]
    ignores: str
    fields: Callable[[Rows], Mapping[str, Field]] | None = None
    write: Callable[[Rows, Path], None] | None = None
    reshape: Callable[[Rows, str], str] | None = None
    changes: Callable[[Rows], Iterable[str]] | None = None
    uses: tuple[str, ...] = ()
    formats: tuple[str, ...] = (".jsonl",)
    unpacks: tuple[str, ...] = ()
    blocks: Blocks | None = None
    notes: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    beside: Callable[[Rows, str], Mapping[str, str]] = lambda rows, file: {}
    least_output: int = 1
    any_table: bool = False

    @property
    def has_arrivals(self) -> bool:
        """Whether its rows are on a clock."""
        return "arrival_us" in self.needs
