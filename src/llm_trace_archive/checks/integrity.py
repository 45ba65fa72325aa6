"""Integrity: the bytes here are those of the lock, and they are a Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..archive import LOCK, Archive
from .figures import Figure


def integrity(archive: Archive, resource: Mapping[str, Any]) -> Iterator[Figure]:
    """Size in bytes, sha256 and rows of a resource's file, against the lock."""
    path = archive.root / resource["path"]
    yield Figure("bytes", resource["bytes"], 0, path.stat().st_size, LOCK)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    yield Figure("sha256", resource["hash"].removeprefix("sha256:"), 0, digest, LOCK)
    try:
        rows: int | str = pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError) as error:
        rows = f"not a Parquet file: {error}"[:200]
    yield Figure("rows of the footer", resource["facts"]["rows"], 0, rows, LOCK)
