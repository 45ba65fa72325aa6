"""The proof of a table: its upstream files, restored, have the bytes of the originals."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..core.errors import BadUpstream
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.table import Table
from .formats.text import lines
from .restore import RestoredFile, restore_files


def prove(workload: Workload, table: Table, originals: Mapping[str, Path]) -> None:
    """Restore every upstream file from the table and compare its sha256 with the original's.

    originals maps a file's name to its verified bytes. Raises BadUpstream that shows the first line that differs.
    """
    for restored, pieces in restore_files(workload, table):
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        original = originals[restored.file.container or restored.file.name]
        is_inside = restored.compression or restored.file.container
        if hashed.hexdigest() == (restored.sha256 if is_inside else hash_file(original)[0]):
            continue
        line, expected, got = _first_difference(workload, table, restored, original)
        raise BadUpstream(
            str(workload),
            f"{restored.name} can't be restored byte for byte",
            where=f"line {line:,}",
            expected=expected,
            got=got,
            reason=f"recipes/{workload.trace}.toml does not describe this formatting; nothing was built",
        )


def _first_difference(workload: Workload, table: Table, wanted: RestoredFile, original: Path) -> tuple[int, str, str]:
    """Return the number of the first line that differs, the upstream's line and ours. Raises AssertionError if none."""
    for restored, pieces in restore_files(workload, table):
        if restored.name != wanted.name:
            for _ in pieces:  # the files share one pass over the rows
                pass
            continue
        theirs = lines(workload, restored.file, original)
        pairs = itertools.zip_longest(theirs, _whole_lines(pieces), fillvalue=b"")
        for number, (their, our) in enumerate(pairs, 1):
            if their != our:
                # A line may be as long as its file: show where the two start to differ.
                same = next(n for n, (a, b) in enumerate(itertools.zip_longest(their, our)) if a != b)
                start = same - 60 if same > 120 else 0
                return number, repr(their[start:])[1:160], repr(our[start:])[1:160]
    raise AssertionError("the files are the same")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).splitlines(keepends=True) or [b""]
        if rest.endswith(b"\n"):
            lines, rest = [*lines, rest], b""
        yield from lines
    if rest:
        yield rest
