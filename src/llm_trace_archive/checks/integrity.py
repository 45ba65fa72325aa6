"""Integrity: the bytes here are those of the lock, and the link that leads to them is too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.archive import LOCK, Archive
from ..core.links import locked_key
from ..core.table import UNREADABLE
from .result import ROWS_SHOWN, Result

READABLE = "readable"
REFUSED = (*UNREADABLE, LookupError)  # a footer that ends too soon is an IndexError
OWN = "the file's own footer, page headers and checksums"


def integrity(archive: Archive, resource: Mapping[str, Any]) -> Iterator[Result]:
    """Annex key, size in bytes, sha256 and rows of a resource's file, against the lock.

    Of a file with another sha256 the pages are named whose checksums are wrong: by plain code, for Arrow may end the
    process over a broken footer. Arrow opens no file that claims more than its bytes can hold.
    """

    def result(name: str, expected: str | int, found: str | int) -> Result:
        return Result("integrity", name, expected, 0, found, LOCK)

    path, wanted = archive.root / resource["path"], resource["hash"].removeprefix("sha256:")
    if path.is_symlink():
        yield result("annex key of the link", locked_key(wanted, resource["bytes"]), path.readlink().name)
    yield result("bytes", resource["bytes"], path.stat().st_size)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    yield result("sha256", wanted, digest)
    if digest != wanted:
        yield from damage(path)
        return
    from frictionless_arrow.limits import opened

    try:
        groups, file = opened(path)
        file.close()
    except REFUSED as error:
        yield Result("integrity", "footer and page headers", READABLE, 0, f"refused: {error}"[:200], OWN)
        return
    yield result("rows of the footer", resource["facts"]["rows"], sum(group.rows for group in groups))


def whole(path: Path) -> Iterator[Result]:
    """That every page of a file is as it was written, where no lock tells more."""
    yield from list(damage(path)) or [Result("integrity", "every page", READABLE, 0, READABLE, OWN)]


def damage(path: Path) -> Iterator[Result]:
    """The columns of a file with pages that are not as they were written, and the first rows of those."""
    from frictionless_arrow.claims import damaged_pages

    found: dict[str, list[tuple[int, str]]] = {}
    try:
        for column, row, place in damaged_pages(path):
            found.setdefault(column.partition(".")[0], []).append((row, f"first of the page at byte {place:,}"))
    except REFUSED as error:
        yield Result("integrity", "footer and page headers", READABLE, 0, f"refused: {error}"[:200], OWN)
    for column, rows in found.items():
        told = f"{len(rows):,} damaged"
        yield Result("integrity", f"pages of {column}", READABLE, 0, told, OWN, column, tuple(rows[:ROWS_SHOWN]))
