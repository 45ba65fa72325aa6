"""Export requests: everything in order."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..core.errors import BadUse
from ..core.files import output, replace_text
from .dialect import Dialect
from .readme import SUFFIX, command, readme
from .registry import all_dialects, find_dialect
from .rows import Wishes, choose, explain, fields_of
from .write import COMPRESSIONS, compressed, write_rows

if TYPE_CHECKING:
    from ..workload.requests import Requests


@dataclass(frozen=True)
class Exported:
    """What was written: how many requests and tokens, what was left out and why, and the command that reads it."""

    path: Path | None
    rows: int
    input_tokens: int
    output_tokens: int
    left_out: dict[str, int]
    changes: tuple[str, ...]
    command: str


def export(
    table: Requests,
    dialect: str,
    path: Path | None,
    *,
    format: str | None = None,
    keep_failed: bool = False,
    mint_unique_blocks: bool = False,
    arrivals: str | None = None,
    block_size: int | None = None,
    with_readme: bool = True,
) -> Exported:
    """Write requests to a file that a tool reads, or to stdout if `path` is None; see docs/export.md.

    Raises BadUse for an unknown dialect, for one that the table can't serve, for values that the tool does not take,
    and if the file can't be written, which then stays as it was.
    """
    chosen = find_dialect(dialect)
    ending, compression = _ending(chosen, path, format)
    rows = choose(table, chosen, Wishes(keep_failed, mint_unique_blocks, arrivals, block_size), all_dialects().values())
    if chosen.write:
        if path is None:
            raise BadUse("stdout", f"can't take {chosen.name}, which has several files", next="give -o")
        chosen.write(rows, path)
    elif path is None:
        with compressed(_stdout(), compression) as out:
            write_rows(rows, fields_of(rows), ending, out)
    else:
        with output(path) as part, part.open("wb") as file, compressed(file, compression) as out:
            write_rows(rows, fields_of(rows), ending, out)
    if path and (path.is_file() or path.is_dir()):
        for name, text in chosen.beside(rows, path.name).items():
            replace_text(path.with_name(name), text)
        if with_readme:
            replace_text(path.with_name(path.name + SUFFIX), readme(rows, path.name, compression))
    return Exported(
        path, rows.count, rows.input_tokens, rows.output_tokens,
        {explain(reason): count for reason, count in rows.left_out.items()}, rows.changes,
        command(rows, str(path or "FILE")),
    )  # fmt: skip


def _stdout() -> BinaryIO:
    if sys.stdout is None:  # it is closed
        return io.BytesIO()
    sys.stdout.flush()
    return sys.stdout.buffer


def _ending(dialect: Dialect, path: Path | None, format: str | None) -> tuple[str, str]:
    """Return the ending of the format and that of the compression. Raises BadUse for one the dialect has not."""
    name = path.name if path else ""
    compression = next((each for each in COMPRESSIONS if name.endswith(each)), "")
    ending = Path(name.removesuffix(compression)).suffix
    if format:
        ending = f".{format.removeprefix('.')}"
    elif not dialect.formats or path is None or _is_device(path):
        ending = dialect.formats[0] if dialect.formats else ""
    if dialect.formats and ending not in dialect.formats:
        raise BadUse(
            format or name,
            f"{dialect.name} has no such format" if format else f"the name does not end as a file for {dialect.name}",
            expected=", ".join(f"FILE{each}" for each in dialect.formats) + ", and .gz or .zst after it",
        )
    if compression and (ending == ".parquet" or dialect.write):
        raise BadUse(name, "is not compressed as a whole", next=f"leave out {compression}")
    return ending, compression


def _is_device(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.exists() and not path.is_file() and not path.is_dir()
    return False
