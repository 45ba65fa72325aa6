"""Integrity: the bytes here are those of the lock, and the link that leads to them is too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from ..annex import key
from ..archive import LOCK, Archive
from . import UNREADABLE, Result


def integrity(archive: Archive, resource: Mapping[str, Any]) -> Iterator[Result]:
    """Annex key, size in bytes, sha256 and rows of a resource's file, against the lock."""

    def result(name: str, expected: str | int, found: str | int) -> Result:
        return Result("integrity", name, expected, 0, found, LOCK)

    path, wanted = archive.root / resource["path"], resource["hash"].removeprefix("sha256:")
    if path.is_symlink():
        yield result("annex key of the link", key(wanted, resource["bytes"]), path.readlink().name)
    yield result("bytes", resource["bytes"], path.stat().st_size)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    yield result("sha256", wanted, digest)
    if digest != wanted:
        return  # not bytes of ours: Arrow may end the process over a broken footer
    try:
        rows: int | str = pq.read_metadata(path).num_rows
    except UNREADABLE as error:
        rows = f"not a Parquet file: {error}"[:200]
    yield result("rows of the footer", resource["facts"]["rows"], rows)
