"""The inverse of reading and canonicalising: a workload's Parquet file to its upstream files, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .archive import Archive
from .errors import BadUpstream, BadUse, Problem
from .formats import Layout, Spelled, write
from .recipe import UpstreamFile, Workload
from .transforms import transforms_for
from .write import metadata

ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Held:
    """What a Parquet file knows of one upstream file it was built from."""

    name: str
    rows: int
    layout: Layout


def held_files(path: Path) -> list[Held]:
    """The upstream files a Parquet file was built from, in order. Raises Problem if it is not one of ours."""
    try:
        files = metadata(path).get("files")
        if files:
            return [Held(each["name"], each["rows"], Layout(**each["layout"])) for each in files]
        reason = "it does not say what it was built from"
    except (OSError, pa.ArrowInvalid, ValueError, TypeError, KeyError) as error:
        reason = str(error)[:200]
    raise Problem(
        path.name, "is not a Parquet file of this archive", reason=reason, next="build it again: llm-traces build"
    )


def restored(workload: Workload, path: Path) -> Iterator[tuple[UpstreamFile, Iterator[bytes]]]:
    """Each upstream file of the workload with its bytes in pieces; read these before asking for the next file.

    Raises Problem if the Parquet file is not one of ours or was built from other files than the recipe's.
    """
    files = {file.name: file for file in workload.files}
    every = held_files(path)
    with pq.ParquetFile(path) as table:
        rows = _Rows(table)
        for held in every:
            if held.name not in files:
                raise Problem(
                    str(workload),
                    f"was built from {held.name}, which recipes/{workload.trace}.toml no longer names",
                    next=f"llm-traces build {workload}",
                )
            yield files[held.name], write(held.layout, _spelled_rows(workload, files[held.name], held, rows))


class _Rows:
    """A table's rows in order, so many at a time: one pass over the file, however many upstream files it holds."""

    def __init__(self, table: pq.ParquetFile) -> None:
        self._batches = table.iter_batches(ROWS_AT_ONCE)
        self._rest: pa.RecordBatch | None = None

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows in batches; fewer if the table ends."""
        while rows:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                return
            part = batch.slice(0, rows)
            self._rest = batch.slice(len(part)) if len(part) < len(batch) else None
            rows -= len(part)
            if len(part):
                yield part


def _spelled_rows(workload: Workload, file: UpstreamFile, held: Held, rows: _Rows) -> Iterator[Spelled]:
    left = held.rows
    for batch in rows.take(held.rows):
        left -= batch.num_rows
        yield _spelled(workload, file, held.layout, batch), left == 0
    if left:
        raise Problem(str(workload), "holds fewer rows than it says", missing=f"{left:,} rows of {file.name}")


def _spelled(workload: Workload, file: UpstreamFile, found: Layout, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The upstream's fields as text, from our columns."""
    types = {field.name: field.type for field in batch.schema}
    columns = {name: batch.column(name) for name in batch.schema.names}
    rules = [rule for rule in file.rules if rule.restores]
    return {
        str(transform.rule.source): transform.spell(columns, found.spelling.get(str(transform.rule.source)))
        for transform in transforms_for(rules, types, workload.properties.get("epoch"))
    }


def prove(workload: Workload, path: Path, originals: Mapping[str, Path]) -> None:
    """Restore every upstream file of a workload and compare its sha256 with the original's.

    originals maps a file's name to its verified bytes. Raises BadUpstream that shows the first line that differs.
    """
    for file, pieces in restored(workload, path):
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        with originals[file.name].open("rb") as stream:
            if hashed.hexdigest() == hashlib.file_digest(stream, "sha256").hexdigest():
                continue
        line, expected, got = _first_difference(workload, path, file, originals[file.name])
        raise BadUpstream(
            str(workload),
            f"{file.name} would not come back as it was",
            where=f"line {line:,}",
            expected=expected,
            got=got,
            next=f"the spelling is one recipes/{workload.trace}.toml does not tell; nothing was built",
        )


def _first_difference(workload: Workload, path: Path, file: UpstreamFile, original: Path) -> tuple[int, str, str]:
    """Line number, the upstream's line, ours: only reached when the whole differs."""
    for each, pieces in restored(workload, path):
        if each.name != file.name:
            for _ in pieces:  # the files share one pass over the rows
                pass
            continue
        with original.open("rb") as theirs:
            pairs = itertools.zip_longest(theirs, _whole_lines(pieces), fillvalue=b"")
            for number, (their, our) in enumerate(pairs, 1):
                if their != our:
                    return number, repr(their)[1:160], repr(our)[1:160]
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


def restore_to(archive: Archive, workload: Workload, output: Path) -> Iterator[tuple[Path, UpstreamFile, str]]:
    """Write a workload's upstream files again: (path, file, sha256) of each, once it is complete.

    output is the file, or, for a workload of several files, the folder. Raises Problem if the content is not here or a
    sha256 is not the pin; what was written is then kept beside `output` under another name, and `output` is untouched.
    """
    source = archive.root / workload.path
    if not source.exists():
        raise BadUse(
            str(workload), "its content is not here", expected=workload.path, next=f"llm-traces get {workload}"
        )
    several = len(workload.files) > 1
    for file, pieces in restored(workload, source):
        path = output / file.name if several else output
        digest = _write(path, pieces)
        if file.sha256 not in (None, digest):
            wrong = path.with_name(f"{path.name}.wrong")
            _part(path).replace(wrong)
            raise BadUpstream(
                str(workload),
                f"what was restored is not {file.name}",
                expected=f"sha256 {file.sha256}",
                got=f"sha256 {digest}",
                kept_at=str(wrong),
                next=f"llm-traces build {workload}",
            )
        _part(path).replace(path)
        yield path, file, digest


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    """Write beside `path`, fsynced; the sha256. Raises BadUse if it can't be written, Problem if it can't be read."""
    hashed = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part(path).open("wb") as stream:
            for piece in pieces:
                hashed.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            _part(path).unlink(missing_ok=True)
        raise BadUse(str(path), f"can't be written: {error.strerror or error}", next="give another -o") from None
    return hashed.hexdigest()
