"""How an upstream file is written, apart from its values: what a restoration needs besides the columns."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload
from . import tar

BLOCK_BYTES = 8 << 20  # fixed: the boundaries of batches must not depend on the machine
EDGE_BYTES = 1 << 20  # a header or a first line longer than this is not one of ours

# Text of upstream fields by name, and whether these are the file's last rows.
Spelled = tuple[Mapping[str, pa.Array], bool]


@dataclass
class Layout:
    """How an upstream file is written.

    header       CSV: the header line
    fields       names in their order; in JSON the paths of the leaves
    kinds        JSON: the type of each leaf ("string", "whole", "float", "ids")
    line_end     between records
    tail         what follows the last record
    compression  "gzip", or empty; the layout is that of the content
    content      sha256 (hex) of the content where it is not the pinned file itself, such as what is compressed in it
    spelling     how the numbers of a field are spelled, learnt while reading
    """

    format: str
    header: str = ""
    fields: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    line_end: str = "\n"
    tail: str = ""
    compression: str = ""
    content: str = ""
    spelling: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """What differs from the defaults: `Layout(**told)` is the same layout."""
        plain = Layout(self.format)
        return {name: value for name, value in vars(self).items() if name == "format" or value != getattr(plain, name)}


@dataclass(frozen=True)
class Reading:
    """A file of rows that is being read.

    path     its verified bytes, or those of the archive that holds it
    stream   its content, decompressed
    helpers  the workload's verified files that hold no rows, by their role, such as a tokenizer
    """

    workload: Workload
    file: UpstreamFile
    path: Path
    layout: Layout
    stream: pa.NativeFile
    helpers: Mapping[str, Path]


def compression_of(file: UpstreamFile) -> str:
    """The compression a file's name tells: "gzip" or none."""
    return "gzip" if file.name.endswith(".gz") else ""


def content(path: Path, compression: str) -> pa.NativeFile:
    """The file's content as a stream, decompressed."""
    return pa.input_stream(str(path), compression=compression or None)


def lines(workload: Workload, file: UpstreamFile, path: Path) -> Iterator[bytes]:
    """The content's lines, with their ends: for looking for the one that Arrow could not read.

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


def edges(workload: Workload, file: UpstreamFile, path: Path) -> Edges:
    """Both edges of a text file's content. Raises BadUpstream if it is none."""
    return edges_of(workload, file, *_ends(workload, file, path))


def edges_of(workload: Workload, file: UpstreamFile, head: bytes, end: bytes, digest: str) -> Edges:
    """The edges from a content's first and last bytes and `Layout.content`. Raises BadUpstream if it is no text."""
    first, newline, _ = head.partition(b"\n")
    if not first.strip():
        raise BadUpstream(str(workload), f"{file.name} has no first line", next=compare(file))
    line_end = "\r\n" if newline and first.endswith(b"\r") else "\n"
    try:
        line = first.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise BadUpstream(str(workload), f"{file.name} is not UTF-8 text", next=compare(file)) from None
    return Edges(line, line_end, tail_of(end), digest)


def tail_of(end: bytes) -> str:
    """What follows the last record, from a content's last bytes."""
    return end[len(end.rstrip(b"\r\n")) :].decode()


def _ends(workload: Workload, file: UpstreamFile, path: Path) -> tuple[bytes, bytes, str]:
    """The first and the last bytes of a file's content, and its sha256 if it is compressed."""
    compression = compression_of(file)
    if not compression:
        with path.open("rb") as stream:
            head = stream.read(EDGE_BYTES)
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - 4096))
            return head, stream.read(), ""
    try:
        with content(path, compression) as stream:
            head = end = stream.read(EDGE_BYTES)
            digest = hashlib.sha256(head)
            while piece := stream.read(EDGE_BYTES):
                digest.update(piece)
                end = (end + piece)[-4096:]
    except OSError as error:
        raise BadUpstream(
            str(workload), f"{file.name} can't be decompressed", reason=str(error)[:200], next=compare(file)
        ) from None
    return head, end[-4096:], digest.hexdigest()


def check_fields(workload: Workload, file: UpstreamFile, fields: list[str]) -> None:
    """Compare a file's fields with those its recipe maps.

    Raises BadUpstream that names the fields that are missing, unknown or, as it seems, renamed.
    """
    missing = sorted(file.fields - set(fields))
    unknown = sorted(set(fields) - file.fields)
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if not (missing or unknown or twice):
        return
    renamed = [
        f"'{near}' may be '{name}' renamed"
        for name in missing
        for near in difflib.get_close_matches(name, unknown, n=1, cutoff=0.5)
    ]
    raise BadUpstream(
        str(workload),
        f"the columns of {file.name} are not those of recipes/{workload.trace}.toml",
        missing=", ".join(missing),
        unknown=", ".join(unknown)[:500],
        twice=", ".join(twice),
        hint="; ".join(renamed),
        next=f"if the upstream changed, mend [columns] in recipes/{workload.trace}.toml; nothing was built",
    )


def compare(file: UpstreamFile) -> str:
    """What to do next about a file whose pin holds and whose content is not as it should be."""
    return f"compare the file with its source {file.url}; nothing was built"


def joined(lines: pa.Array, layout: Layout, last: bool) -> bytes:
    """Records with their line ends, as bytes; the last record of a file has none, that is the tail's matter."""
    if not last:
        return _bytes(pc.binary_join_element_wise(lines, layout.line_end, ""))
    ends = pa.array([layout.line_end]).take(pa.nulls(len(lines) - 1, pa.int8()).fill_null(0))
    return _bytes(pc.binary_join_element_wise(lines, pa.concat_arrays([ends, pa.array([""])]), ""))


def _bytes(text: pa.Array) -> bytes:
    """All strings of an array one after another, without a copy per row."""
    if len(text) == 0:
        return b""
    offsets = pa.Array.from_buffers(pa.int32(), len(text) + 1, [None, text.buffers()[1]], offset=text.offset)
    data: bytes = text.buffers()[2].slice(offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py()).to_pybytes()
    return data
