"""What CSV and JSON Lines share: a text file's first line and its ends, and the way records become bytes again."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ...core.recipe import UpstreamFile, Workload
from ..compiled import join
from . import tar
from .layout import Layout, file_error

BLOCK_BYTES = 8 << 20  # fixed: where batches end must not depend on the machine
HEAD_BYTES = 1 << 20  # no header and no first line is longer
END_BYTES = tar.END_BYTES


def compression_of(file: UpstreamFile) -> str:
    """Return the compression that a file's name implies: "gzip", or nothing."""
    return "gzip" if file.name.endswith(".gz") else ""


def open_content(path: Path, compression: str) -> pa.NativeFile:
    """Open a file's content, decompressed."""
    return pa.input_stream(str(path), compression=compression or None)


def lines(workload: Workload, file: UpstreamFile, path: Path) -> Iterator[bytes]:
    """Yield the content's lines with their ends: slow, to find the one that Arrow could not read.

    path is that of the file, or of the one that contains it.
    """
    if file.container:
        yield from tar.lines(workload, file, path)
        return
    with gzip.open(path) if compression_of(file) else path.open("rb") as stream:
        yield from stream


@dataclass(frozen=True)
class Edges:
    """A text file's first line, its line end, what follows its last record, and `Layout.content`."""

    line: str
    line_end: str
    tail: str
    content: str


def read_edges(workload: Workload, file: UpstreamFile, path: Path) -> Edges:
    """Return the edges of a file. Raises BadUpstream if it is not text, or can't be decompressed."""
    compression = compression_of(file)
    if not compression:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - END_BYTES))
            return edges_of(workload, file, head, stream.read())
    try:
        with open_content(path, compression) as content:
            head = end = content.read(HEAD_BYTES)
            digest = hashlib.sha256(head)
            while piece := content.read(HEAD_BYTES):
                digest.update(piece)
                end = (end + piece)[-END_BYTES:]
    except OSError as error:
        raise file_error(workload, file, "can't be decompressed", reason=str(error)[:200]) from None
    return edges_of(workload, file, head, end, digest.hexdigest())


def edges_of(workload: Workload, file: UpstreamFile, head: bytes, end: bytes = b"", digest: str = "") -> Edges:
    """Return the edges for a content's first and last bytes and its sha256. Raises BadUpstream if it is not text."""
    first, newline, _ = head.partition(b"\n")
    if not first.strip():
        raise file_error(workload, file, "has an empty first line")
    line_end = "\r\n" if newline and first.endswith(b"\r") else "\n"
    try:
        line = first.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise file_error(workload, file, "is not UTF-8 text") from None
    return Edges(line, line_end, tail_of(end), digest)


def tail_of(end: bytes) -> str:
    """Return what follows the last record, given a content's last bytes."""
    return end[len(end.rstrip(b"\r\n")) :].decode()


def join_records(parts: list[pa.Array | bytes], layout: Layout, last: bool) -> bytes:
    """Return records with their line ends: of each, its texts and the bytes between them.

    A file's last record has no line end, as that belongs to the tail.
    """
    end = layout.line_end.encode()
    rows = max(len(each) for each in parts if isinstance(each, pa.Array))  # all have as many
    records = join([*parts, end], rows)
    return bytes(records[: len(records) - len(end) * last])


def replace_lines(pieces: Iterator[bytes], odd_lines: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the bytes with some lines, by number from 0, replaced."""
    replacements = {int(number): line.encode() for number, line in odd_lines.items()}
    first, rest = 0, b""
    for piece in pieces if replacements else ():
        end = piece.rfind(b"\n") + 1
        if not end:
            rest += piece
            continue
        whole, rest = rest + piece[:end], piece[end:]
        last = first + whole.count(b"\n")
        if any(first <= number < last for number in replacements):
            every = enumerate(whole.split(b"\n")[:-1], first)
            whole = b"".join(replacements.get(number, line + b"\n") for number, line in every)
        yield whole
        first = last
    if rest:
        yield replacements.get(first, rest)
    yield from pieces
