"""Integrity: a file's bytes and link are those of the lock; where they are not, what of it can't be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.archive import LOCK
from ..core.files import hash_file
from ..core.links import locked_key
from ..core.table import UNREADABLE, Table
from .result import ROWS_SHOWN, Result

READABLE = "readable"
CHECKSUMS = "the file's own footer and page checksums"
BATCH_ROWS = 1 << 12


def check_integrity(resource: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Check annex key, bytes, sha256 and rows of a resource's file against the lock.

    For a file with another sha256, also yield a finding for each column that is damaged.
    """

    if not table.path.is_file():
        yield unreadable("file", OSError("it is not a regular file"))
        return

    def result(name: str, expected: str | int, found: str | int) -> Result:
        return Result("integrity", name, expected, 0, found, LOCK)

    path, sha256 = table.path, resource["hash"].removeprefix("sha256:")
    if path.is_symlink():
        yield result("annex key of the link", locked_key(sha256, resource["bytes"]), path.readlink().name)
    digest, size = hash_file(path)
    yield result("bytes", resource["bytes"], size)
    yield result("sha256", sha256, digest)
    if digest != sha256:
        yield from find_damage(table)
        return
    try:
        yield result("rows of the footer", resource["facts"]["rows"], table.rows)
    except UNREADABLE as error:
        yield unreadable("footer", error)


def check_pages(table: Table) -> Iterator[Result]:
    """Check that every page can be read, for a file that is in no lock."""
    yield from list(find_damage(table)) or [
        Result("integrity", "every page", READABLE, 0, READABLE, CHECKSUMS),
    ]


def find_damage(table: Table) -> Iterator[Result]:
    """Yield a finding for each column that can't be read, with the place of the first damage in its row groups."""
    try:
        names, groups = table.names, range(table.file.num_row_groups)
    except UNREADABLE as error:
        yield unreadable("footer", error)
        return
    for name in names:
        errors: list[tuple[int, str]] = []
        start = 0
        for group in groups:
            row = start
            try:
                for batch in table.file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[name]):
                    row += len(batch)
            except UNREADABLE as error:
                errors.append((row, f"damaged: {error}"[:200]))
            start += table.file.metadata.row_group(group).num_rows
        if errors:
            rows = tuple((row, f"the damage starts within {BATCH_ROWS:,} rows") for row, _ in errors[:ROWS_SHOWN])
            yield Result("integrity", f"pages of {name}", READABLE, 0, errors[0][1], CHECKSUMS, name, rows)


def unreadable(what: str, error: Exception) -> Result:
    """Return the finding that Arrow can't read a part of a file."""
    return Result("integrity", what, READABLE, 0, f"refused: {error}"[:200], CHECKSUMS)
