"""A workload's Parquet file to its upstream files, byte for byte: the inverse of `read` and `canonicalise`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse, Problem
from ..core.files import hash_file, hash_name, move, replacing
from ..core.recipe import UpstreamFile, Workload
from ..core.table import UNREADABLE, Table
from .formats.layout import FieldTexts
from .formats.registry import FORMATS
from .formats.text import replace_lines
from .parquet import Part, read_parts
from .transforms.select import make_transforms

BATCH_ROWS = 1 << 16


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
    rows = _Rows(table)
    for part in parts:
        file = workload.upstream(part.name)
        if file is None:
            raise Problem(
                str(workload),
                f"was built from {part.name}, which recipes/{workload.trace}.toml no longer names",
                next=f"llm-traces build {workload}",
            )
        texts = _field_texts(workload, file, part, rows)
        restored = RestoredFile(file, part.layout.compression, part.layout.content or file.sha256)
        yield restored, replace_lines(FORMATS[part.layout.format].write(part.layout, texts), part.layout.odd_lines)


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
    texts = _field_texts(workload, workload.files[0], part, _Rows(table), FILTERS[derived.filter])

    file = UpstreamFile(workload.trace, derived.name, derived.url, derived.sha256, derived.bytes)
    return RestoredFile(file, "", derived.sha256), FORMATS[part.layout.format].write(part.layout, texts)


class _Rows:
    """A table's rows in order: one pass over the table, however many upstream files it was built from."""

    def __init__(self, table: Table) -> None:
        self._batches = _read(table)
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


def _read(table: Table) -> Iterator[pa.RecordBatch]:
    # By row group, which bounds the memory that long lists take.
    try:
        for group in range(table.file.num_row_groups):
            yield from table.file.iter_batches(BATCH_ROWS, row_groups=[group])
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
    previous: pa.RecordBatch | None = None  # one behind, because the last batch with rows must be known as such
    for batch in rows.take(part.rows):
        left -= batch.num_rows
        kept = keep(batch)
        if kept.num_rows:
            if previous is not None:
                yield _spell(workload, file, part, previous), False
            previous = kept
    if previous is not None:
        yield _spell(workload, file, part, previous), True
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
    archive: Archive, workload: Workload, output: Path, derived_file: str | None = None
) -> Iterator[tuple[Path, RestoredFile, str]]:
    """Write a workload's upstream files, or a file derived from it; yield (path, what it is, sha256) for each.

    output is the file or a folder; for a workload of several files, the folder. Raises Problem if the content is
    missing or a hash is not the pin; what was written is then kept under another name, and `output` is untouched.
    """
    if not archive.is_present(workload):
        raise BadUse(str(workload), "its content is missing", expected=workload.path, next=f"llm-traces get {workload}")
    table = Table(archive.root / workload.path)
    several = len(read_parts(table)) > 1 and not derived_file
    if output.resolve().is_relative_to((archive.root / "data").resolve()):
        raise BadUse(str(output), "is in the archive's own data folder", next="give another -o")
    files = [restore_derived(workload, table, derived_file)] if derived_file else restore_files(workload, table)
    for restored, pieces in files:
        path = output / restored.name if several or output.is_dir() else output
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise BadUse(str(path), "exists and is not a regular file", next="give another -o")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                sha256 = _write(part, pieces)
                _check_pin(workload, restored, part, path.with_name(f"{path.name}.wrong"))
        except OSError as error:
            raise BadUse(str(path), f"can't be written: {error.strerror or error}", next="give another -o") from None
        yield path, restored, sha256


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    hashed = hashlib.sha256()
    with path.open("wb") as stream:
        for piece in pieces:
            hashed.update(piece)
            stream.write(piece)
    return hashed.hexdigest()


def _check_pin(workload: Workload, restored: RestoredFile, part: Path, wrong: Path) -> None:
    """Raise BadUpstream unless the file at `part` has the pinned hash; it is then kept at `wrong`."""
    if restored.pin is None:
        return
    kind, pinned = restored.pin
    found, _ = hash_file(part, kind)
    if found == pinned:
        return
    move(part, wrong)
    raise BadUpstream(
        str(workload),
        f"the restored {restored.name} has the wrong hash",
        expected=f"{hash_name(kind)} {pinned}",
        got=f"{hash_name(kind)} {found}",
        kept_at=str(wrong),
        next=f"llm-traces build {workload}",
    )
