"""The members of a gzip tar, one after another in one pass: nothing is unpacked to disk or held whole in memory.

Headers are taken one by one with `tarfile.TarInfo.frombuf`, because `tarfile.open` reads whatever size a long name or a
sparse map claims to have. Only plain files and folders are accepted, even if nobody asks for the member.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload

MOST_BYTES = 1 << 36  # unpacked; ten times the largest archive we know
MOST_MEMBERS = 10_000
MOST_HEADER_BYTES = 1 << 16  # of a long name or of attributes
AT_ONCE = 1 << 20
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
    """The content of a plain member as a stream that is read once, from its start to its end.

    sha256, end  of what was read so far: the digest, and the last bytes
    """

    def __init__(self, name: str, size: int, archive: _Archive) -> None:
        self.name, self.left, self.end = name, size, b""
        self._archive, self._head = archive, b""
        self._hash = hashlib.sha256()

    def head(self, most: int) -> bytes:
        """The content's first bytes, before any is read."""
        self._head = self._take(most)
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

    def _take(self, most: int) -> bytes:
        piece = self._archive.read(min(most, self.left))
        self.left -= len(piece)
        self._hash.update(piece)
        self.end = (self.end + piece)[-END_BYTES:]
        return piece


def members(workload: Workload, file: UpstreamFile, path: Path) -> Iterator[Member]:
    """The plain members of a gzip tar in their order; `name` is the last part of a member's path.

    What is not read of a member is skipped. Raises BadUpstream for an archive that is damaged, cut off, absurdly large
    or not a gzip tar; for members that are not plain files or folders, have a path that leads out of the archive, or
    share their name with another.
    """
    with path.open("rb") as raw, gzip.open(raw) as stream:
        archive = _Archive(workload, file, stream)
        yield from archive.members()


def lines(workload: Workload, member: UpstreamFile, path: Path) -> Iterator[bytes]:
    """The lines of one member, with their ends. Raises BadUpstream as `members` does."""
    for each in members(workload, member, path):
        if each.name == member.name:
            yield from io.BufferedReader(each)


class _Archive:
    def __init__(self, workload: Workload, file: UpstreamFile, stream: gzip.GzipFile | BinaryIO) -> None:
        self._workload, self._file, self._stream = workload, file, stream
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
                raise self._bad("has two members of one name", member=str(path))
            if len(seen) == MOST_MEMBERS:
                raise self._bad("has absurdly many members", expected=f"at most {MOST_MEMBERS:,}")
            seen.add(path.name)
            member = Member(path.name, header.size, self)
            yield member
            self._skip(member.left)
            self._skip(-header.size % tarfile.BLOCKSIZE)
        # To the end of the gzip data, whose checksum covers all that was read.
        while piece := self.read(AT_ONCE, whole=False):
            if any(piece):
                raise self._bad("has something after its end", at=f"byte {self._bytes:,} or before")

    def read(self, size: int, whole: bool = True) -> bytes:
        """The next bytes of the tar: so many if `whole`, or what there is."""
        try:
            data = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise self._bad("can't be unpacked", reason=str(error)) from None
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise self._bad("is absurdly large", expected=f"at most {MOST_BYTES:,} bytes unpacked")
        if whole and len(data) < size:
            raise self._bad("is cut off", after=f"{self._bytes:,} bytes")
        return data

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, AT_ONCE)))

    def _header(self, block: bytes) -> tarfile.TarInfo:
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._bad("is not a tar", reason=str(error), at=f"byte {self._bytes - len(block):,}") from None
        if not 0 <= header.size <= MOST_BYTES:
            raise self._bad("has a member of absurd size", member=repr(header.name), got=f"{header.size:,} bytes")
        return header

    def _attributes(self, header: tarfile.TarInfo, before: dict[str, str]) -> dict[str, str]:
        """What stands before a member's own header: its path, if that is long."""
        if header.size > MOST_HEADER_BYTES:
            raise self._bad("has a header of absurd size", got=f"{header.size:,} bytes")
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
                raise self._bad("has a header that is not understood", got=repr(data[:60]))
            found[key], data = value, data[length:]
        return before if header.type == tarfile.XGLTYPE else {**before, **found}

    def _check(self, header: tarfile.TarInfo, path: PurePosixPath) -> None:
        if header.type not in (*_PLAIN, tarfile.DIRTYPE):
            what = _ODD.get(header.type, f"of type {header.type!r}")
            raise self._bad("has a member that is not a plain file", member=repr(str(path)), got=what)
        if path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise self._bad("has a member whose path leads out of it", member=repr(str(path)))

    def _bad(self, message: str, **details: str) -> BadUpstream:
        name = self._file.container or self._file.name
        next = f"compare the file with its source {self._file.url}; nothing was built"
        return BadUpstream(str(self._workload), f"{name} {message}", **details, next=next)
