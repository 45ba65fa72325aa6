"""The members of a gzip tar, one after another in one pass: nothing is unpacked to disk or held in memory as a whole.

Headers are read one at a time with `tarfile.TarInfo.frombuf`, because `tarfile.open` reads any size that a long name or
a sparse map claims. Only plain files and folders are accepted, even among members that nobody asks for.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload
from .layout import file_error

MAX_BYTES = 1 << 36  # unpacked; ten times the largest archive we know
MAX_MEMBERS = 10_000
MAX_HEADER_BYTES = 1 << 16  # of a long name or of attributes
PIECE_BYTES = 1 << 20
END_BYTES = 4096  # kept of a member: what may follow its last record

_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_ODD = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Member(io.RawIOBase):
    """The content of a plain member as a stream, read once from start to end.

    sha256, end  the digest and the last bytes of what was read so far
    """

    def __init__(self, name: str, size: int, archive: _Archive) -> None:
        self.name, self.left, self.end = name, size, b""
        self._archive, self._head = archive, b""
        self._hash = hashlib.sha256()

    def peek(self, size: int) -> bytes:
        """Return the content's first bytes; only before any is read."""
        self._head = self._take(size)
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        held = self._head or self._take(len(view))
        piece, self._head = held[: len(view)], held[len(view) :]
        view[: len(piece)] = piece
        return len(piece)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _take(self, size: int) -> bytes:
        piece = self._archive.read(min(size, self.left))
        self.left -= len(piece)
        self._hash.update(piece)
        self.end = (self.end + piece)[-END_BYTES:]
        return piece


def members(workload: Workload, file: UpstreamFile, path: Path) -> Iterator[Member]:
    """Yield the plain members of a gzip tar in their order; `name` is the last part of a member's path.

    What is not read of a member is skipped. Raises BadUpstream for an archive that is corrupt, truncated, too large or
    not a gzip tar, and for members that are not plain files or folders, whose path leads out of the archive, or that
    share their name with another.
    """
    with path.open("rb") as raw, gzip.open(raw) as stream:
        yield from _Archive(workload, file, stream).members()


def lines(workload: Workload, member: UpstreamFile, path: Path) -> Iterator[bytes]:
    """Yield the lines of one member, with their ends. Raises BadUpstream as `members` does."""
    for each in members(workload, member, path):
        if each.name == member.name:
            yield from io.BufferedReader(each)


class _Archive:
    def __init__(self, workload: Workload, file: UpstreamFile, stream: gzip.GzipFile) -> None:
        self._workload, self._stream = workload, stream
        self._file = replace(file, name=file.container or file.name)
        self._bytes = 0

    def members(self) -> Iterator[Member]:
        seen: set[str] = set()
        longer: dict[str, str] = {}
        while any(block := self.read(tarfile.BLOCKSIZE)):
            header = self._header(block)
            if header.type in _ATTRIBUTES:
                longer = self._attributes(header, longer)
                continue
            path = PurePosixPath(longer.get("path", header.name))
            longer = {}
            self._check(header, path)
            if header.type == tarfile.DIRTYPE:
                continue
            if path.name in seen:
                raise self._error("has two members with the same name", member=str(path))
            if len(seen) == MAX_MEMBERS:
                raise self._error("has too many members", expected=f"at most {MAX_MEMBERS:,}")
            seen.add(path.name)
            member = Member(path.name, header.size, self)
            yield member
            self._skip(member.left)
            self._skip(-header.size % tarfile.BLOCKSIZE)
        # Read to the end of the gzip data, because its checksum covers all of it.
        while piece := self.read(PIECE_BYTES, whole=False):
            if any(piece):
                raise self._error("has data after its end", at=f"byte {self._bytes:,} or before")

    def read(self, size: int, whole: bool = True) -> bytes:
        """Return the next bytes of the tar; at its end fewer than `size`, unless `whole`."""
        try:
            data = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._error("can't be unpacked", reason=str(error)) from None
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise self._error("is too large", expected=f"at most {MAX_BYTES:,} bytes unpacked")
        if whole and len(data) < size:
            raise self._error("is truncated", after=f"{self._bytes:,} bytes")
        return data

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, PIECE_BYTES)))

    def _header(self, block: bytes) -> tarfile.TarInfo:
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._error("is not a tar", reason=str(error), at=f"byte {self._bytes - len(block):,}") from None
        if not 0 <= header.size <= MAX_BYTES:
            raise self._error("has a member of impossible size", member=repr(header.name), got=f"{header.size:,} bytes")
        return header

    def _attributes(self, header: tarfile.TarInfo, before: dict[str, str]) -> dict[str, str]:
        """Return what precedes a member's own header, such as a long path, added to what came before."""
        if header.size > MAX_HEADER_BYTES:
            raise self._error("has an oversized header", got=f"{header.size:,} bytes")
        data = self.read(header.size)
        self._skip(-header.size % tarfile.BLOCKSIZE)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            return {**before, "path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
        found: dict[str, str] = {}
        while data:  # records "length key=value\n"
            digits, _, _ = data.partition(b" ")
            length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
            record = data[len(digits) + 1 : max(length - 1, 0)].decode("utf-8", "surrogateescape")
            key, equals, value = record.partition("=")
            if not equals or length > len(data) or key == "size" or key.startswith("GNU.sparse"):
                raise self._error("has a header that can't be read", got=repr(data[:60]))
            found[key], data = value, data[length:]
        return before if header.type == tarfile.XGLTYPE else {**before, **found}

    def _check(self, header: tarfile.TarInfo, path: PurePosixPath) -> None:
        if header.type not in (*_PLAIN, tarfile.DIRTYPE):
            what = _ODD.get(header.type, f"type {header.type!r}")
            raise self._error("has a member that is not a plain file", member=repr(str(path)), got=what)
        if path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise self._error("has a member whose path leads out of the archive", member=repr(str(path)))

    def _error(self, message: str, **details: str) -> BadUpstream:
        return file_error(self._workload, self._file, message, **details)
