"""A workload's Parquet file to its upstream files, byte for byte: the inverse of `read` and `canonicalise`."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse, Problem
from ..core.files import hash_file, hash_name, move, real_path, replacing
from ..core.recipe import UpstreamFile, Workload
from ..core.table import UNREADABLE, Table
from .ahead import map_ahead
from .formats.layout import FieldTexts
from .formats.registry import FORMATS
from .formats.text import replace_lines
from .parquet import Part, read_parts
from .transforms.select import make_transforms

BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class RestoredFile:
    """An upstream file written again: the file itself, or its content if it is compressed; its sha256 if known."""

    file: UpstreamFile
    compression: str
    sha256: str | None

    @property
    def name(self) -> str:
        """The file's name, without the ending of its compression."""
        return self.file.name.removesuffix(".gz") if self.compression else self.file.name

    @property
    def pin(self) -> tuple[str, str] | None:
        """The kind of hash and the hex digits that what is written must have; None if the file is unpinned."""
        return ("sha256", self.sha256) if self.sha256 else self.file.pin


def restore_files(workload: Workload, table: Table) -> Iterator[tuple[RestoredFile, Iterator[bytes]]]:
    """Yield each upstream file of the workload with its bytes in pieces; read these before asking for the next file.

    Raises BadUse if the table does not hold all upstream fields, and Problem if the Parquet file is not one of ours,
    is incomplete, or was built from files that the recipe does not name.
    """
    if not workload.restores:
        raise BadUse(
            str(workload),
            "can't be restored, because the table does not hold all upstream fields",
            reason=f"restores = false in recipes/{workload.trace}.toml",
        )
    parts = read_parts(table)
    rows = _Rows(workload, table)
    for part in parts:
        restored = _restored(workload, part)
        yield restored, _write_part(workload, restored.file, part, rows)


def _restored(workload: Workload, part: Part) -> RestoredFile:
    file = workload.upstream(part.name)
    if file is None:
        raise Problem(
            str(workload),
            f"was built from {part.name}, which recipes/{workload.trace}.toml no longer names",
            next=f"llm-traces build {workload}",
        )
    return RestoredFile(file, part.layout.compression, part.layout.content or file.sha256)


def _write_part(
    workload: Workload,
    file: UpstreamFile,
    part: Part,
    rows: _Rows,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Iterator[bytes]:
    """Yield a file's bytes. Raises Problem if the table lacks what its own metadata says."""
    try:
        texts = _field_texts(workload, file, part, rows, keep)
        yield from replace_lines(FORMATS[part.layout.format].write(part.layout, texts), part.layout.odd_lines)
    except (*UNREADABLE, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        next = f"llm-traces build {workload}"
        raise Problem(str(workload), "the table is damaged", reason=reason, next=next) from error


FILTERS: dict[str, Callable[[pa.RecordBatch], pa.RecordBatch]] = {
    "succeeded": lambda batch: batch.filter(pc.invert(batch.column("failed"))),
}


def restore_derived(workload: Workload, table: Table, name: str) -> tuple[RestoredFile, Iterator[bytes]]:
    """Return a derived file of the upstream with its bytes in pieces: the first file's rows that its filter keeps.

    Raises BadUse that lists the derived files if there is none of that name.
    """
    derived = next((each for each in workload.derived if each.name == name), None)
    if derived is None:
        names = ", ".join(each.name for each in workload.derived) or "none"
        raise BadUse(f"{workload}", f"has no derived file {name}", there_are=names)
    part = read_parts(table)[0]
    if part.layout.odd_lines:
        reason = f"{len(part.layout.odd_lines)} lines of {part.name} are kept as they are, and have no place in it"
        raise BadUse(f"{workload}", f"can't give {name}", reason=reason)
    file = UpstreamFile(workload.trace, derived.name, derived.url, derived.sha256, derived.bytes)
    pieces = _write_part(workload, workload.files[0], part, _Rows(workload, table), FILTERS[derived.filter])
    return RestoredFile(file, "", derived.sha256), pieces


class _Rows:
    """A table's rows in order: one pass over the table, however many upstream files it was built from."""

    def __init__(self, workload: Workload, table: Table) -> None:
        used = {column for file in workload.files for rule in file.rules for column in rule.columns}
        self._batches = _read(table, [name for name in table.names if name in used])
        self._rest: pa.RecordBatch | None = None

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next rows in batches; fewer if the table ends."""
        while rows:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                return
            part = batch.slice(0, rows)
            self._rest = batch.slice(len(part)) if len(part) < len(batch) else None
            rows -= len(part)
            if len(part):
                yield part


def _read(table: Table, columns: list[str]) -> Iterator[pa.RecordBatch]:
    # By row group, which bounds the memory that long lists take.
    try:
        for group in range(table.file.num_row_groups):
            yield from table.file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns)
    except UNREADABLE as error:
        name = f"{table.path.parent.name}/{table.path.stem}"
        raise Problem(table.path.name, "is corrupt", reason=str(error)[:200], next=f"llm-traces build {name}") from None


def _field_texts(
    workload: Workload,
    file: UpstreamFile,
    part: Part,
    rows: _Rows,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Iterator[FieldTexts]:
    """Yield the fields of a file's rows as text, of those rows that `keep` keeps."""
    left = part.rows

    def kept() -> Iterator[pa.RecordBatch]:
        nonlocal left
        for batch in rows.take(part.rows):
            left -= batch.num_rows
            if len(some := keep(batch)):
                yield some

    previous: dict[str, pa.Array] | None = None  # one behind, because the last batch with rows must be known as such
    for texts in map_ahead(partial(_spell, workload, file, part), kept()):
        if previous is not None:
            yield previous, False
        previous = texts
    if previous is not None:
        yield previous, True
    if left:
        raise Problem(str(workload), "has fewer rows than its metadata says", missing=f"{left:,} rows of {file.name}")


def _spell(workload: Workload, file: UpstreamFile, part: Part, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return the upstream's fields as text."""
    types = {field.name: field.type for field in batch.schema}
    columns = {name: batch.column(name) for name in batch.schema.names}
    rules = [rule for rule in file.rules if rule.restores]
    return {
        str(transform.rule.source): transform.spell(columns, part.layout.spelling.get(str(transform.rule.source)))
        for transform in make_transforms(rules, types, workload.properties)
    }


def restore_to(
    archive: Archive,
    workload: Workload,
    output: Path,
    derived_file: str | None = None,
    *,
    is_folder: bool = False,
    force: bool = False,
) -> Iterator[tuple[Path, RestoredFile, str]]:
    """Write a workload's upstream files, or a file derived from it; yield (path, what it is, sha256) for each.

    output     the file or the folder; for a workload of several files, the folder
    is_folder  whether `output` is a folder that may have to be made
    force      replace files that exist

    Raises Problem if the content is missing or a hash is not the pin; what was written is then kept under another name,
    and `output` is untouched.
    """
    with _open_table(archive, workload) as table, _report_disk_problems(output):
        if real_path(output).is_relative_to(real_path(archive.root / "data")):
            raise BadUse(str(output), "is in the archive's own data folder", next="give another -o")
        names = [derived_file] if derived_file else [_restored(workload, part).name for part in read_parts(table)]
        in_folder = is_folder or len(names) > 1 or output.is_dir()
        paths = [output / name for name in names] if in_folder else [output]
        for path in paths:
            _check_target(path, force)
        for path, (restored, pieces) in zip(paths, _restore(workload, table, derived_file), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                sha256 = _write(part, pieces)
                _check_pin(workload, restored, part, path.with_name(f"{path.name}.wrong"))
            yield path, restored, sha256


def restore_to_stream(
    archive: Archive, workload: Workload, stream: BinaryIO, derived_file: str | None = None
) -> tuple[RestoredFile, str]:
    """Write a workload's only upstream file, or one derived from it, to a stream; return what it is, and its sha256.

    Nothing is written unless the hash is the pin. Raises Problem as `restore_to` does, and BadUse for several files.
    """
    with _open_table(archive, workload) as table, tempfile.TemporaryDirectory() as folder:
        (restored, pieces), *more = itertools.islice(_restore(workload, table, derived_file), 2)
        if more:
            names = f"{restored.name}, {more[0][0].name}, ..."
            raise BadUse(str(workload), "has several upstream files", files=names, next="-o FOLDER/")
        with _report_disk_problems(Path(folder)):
            part = Path(folder) / "restored"
            sha256 = _write(part, pieces)
            _check_pin(workload, restored, part)
        with part.open("rb") as content:
            shutil.copyfileobj(content, stream)
        stream.flush()
        return restored, sha256


def _open_table(archive: Archive, workload: Workload) -> Table:
    if not archive.is_present(workload):
        raise BadUse(str(workload), "its content is missing", expected=workload.path, next=f"llm-traces get {workload}")
    return Table(archive.path(workload))


def _restore(
    workload: Workload, table: Table, derived_file: str | None
) -> Iterator[tuple[RestoredFile, Iterator[bytes]]]:
    return iter([restore_derived(workload, table, derived_file)]) if derived_file else restore_files(workload, table)


def _check_target(path: Path, force: bool) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BadUse(str(path), "exists and is not a regular file", next="give another -o")
    if path.exists() and not force:
        raise BadUse(str(path), "exists already", next="give another -o, or --force to replace it")


@contextlib.contextmanager
def _report_disk_problems(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = str(error.filename or output)
        raise BadUse(path, f"can't be written: {error.strerror or error}", next="give another -o") from None


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    hashed = hashlib.sha256()
    with path.open("wb") as stream:
        for piece in pieces:
            hashed.update(piece)
            stream.write(piece)
    return hashed.hexdigest()


def _check_pin(workload: Workload, restored: RestoredFile, part: Path, wrong: Path | None = None) -> None:
    """Raise BadUpstream unless the file at `part` has the pinned hash; it is then kept at `wrong`, if given."""
    if restored.pin is None:
        return
    kind, pinned = restored.pin
    found, _ = hash_file(part, kind)
    if found == pinned:
        return
    if wrong:
        move(part, wrong)
    raise BadUpstream(
        str(workload),
        f"the restored {restored.name} has the wrong hash",
        expected=f"{hash_name(kind)} {pinned}",
        got=f"{hash_name(kind)} {found}",
        kept_at=str(wrong or ""),
        next=f"llm-traces build {workload}",
    )
