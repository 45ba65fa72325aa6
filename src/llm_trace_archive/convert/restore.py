"""The inverse of reading and canonicalising: a workload's Parquet file to its upstream files, byte for byte."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse, Problem
from ..core.files import hash_file, hash_name, move, replacing
from ..core.recipe import UpstreamFile, Workload
from .formats.layout import Layout, Spelled, lines
from .formats.registry import write
from .mapping import transforms_for
from .write import metadata

ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Held:
    """What a Parquet file knows of one upstream file it was built from."""

    name: str
    rows: int
    layout: Layout


@dataclass(frozen=True)
class Restored:
    """An upstream file that is written again: the file, or, if it is compressed, what is in it; its sha256 if known."""

    file: UpstreamFile
    compression: str
    sha256: str | None

    @property
    def name(self) -> str:
        """Name of what is written: that of the file less the ending of its compression."""
        return self.file.name.removesuffix(".gz") if self.compression else self.file.name

    @property
    def pin(self) -> tuple[str, str] | None:
        """The kind of hash and the hex digits that what is written must have; None if the file is unpinned."""
        return ("sha256", self.sha256) if self.sha256 else self.file.pin


def held_files(path: Path) -> list[Held]:
    """The upstream files a Parquet file was built from, in order. Raises Problem if it is not one of ours."""
    try:
        files = metadata(path).get("files", ())
        held: list[Held] = []
        for each in files:
            # A layout stands once for all the files in a row that share it.
            held.append(
                Held(each["name"], each["rows"], Layout(**each["layout"]) if "layout" in each else held[-1].layout)
            )
        if held:
            return held
        reason = "it does not say what it was built from"
    except (OSError, pa.ArrowInvalid, ValueError, TypeError, LookupError) as error:
        reason = str(error)[:200]
    again = f"llm-traces build {path.parent.name}/{path.stem}"
    raise Problem(path.name, "is not a Parquet file of this archive", reason=reason, next=again)


def restored(workload: Workload, path: Path) -> Iterator[tuple[Restored, Iterator[bytes]]]:
    """Each upstream file of the workload with its bytes in pieces; read these before asking for the next file.

    Raises Problem if the Parquet file is not one of ours or was built from other files than the recipe's, or does not
    hold all of them.
    """
    if not workload.restores:
        raise BadUse(
            str(workload),
            "can't be written back: the table does not hold all of its upstream",
            reason=f"restores = false in recipes/{workload.trace}.toml",
        )
    every = held_files(path)
    with pq.ParquetFile(path) as table:
        rows = _Rows(table)
        for held in every:
            file, found = workload.upstream(held.name), held.layout
            if file is None:
                raise Problem(
                    str(workload),
                    f"was built from {held.name}, which recipes/{workload.trace}.toml no longer names",
                    next=f"llm-traces build {workload}",
                )
            pieces = write(found, _spelled_rows(workload, file, held, rows))
            yield Restored(file, found.compression, found.content or file.sha256), pieces


class _Rows:
    """A table's rows in order, so many at a time: one pass over the file, however many upstream files it holds."""

    def __init__(self, table: pq.ParquetFile) -> None:
        # By row group, which bounds the memory that long lists take.
        groups = range(table.num_row_groups)
        self._batches = (batch for group in groups for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=[group]))
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


FILTERS: dict[str, Callable[[pa.RecordBatch], pa.RecordBatch]] = {
    "succeeded": lambda batch: batch.filter(pc.invert(batch.column("failed"))),
}


def derived(workload: Workload, path: Path, name: str) -> tuple[Restored, Iterator[bytes]]:
    """A derived file of the upstream with its bytes in pieces: the first file's rows that its filter keeps.

    Raises BadUse that lists the derived files there are.
    """
    wanted = next((each for each in workload.derived if each.name == name), None)
    if wanted is None:
        names = ", ".join(each.name for each in workload.derived) or "none"
        raise BadUse(f"{workload}", f"no derived file {name}", there_are=names)
    held = held_files(path)[0]

    def kept() -> Iterator[bytes]:
        with pq.ParquetFile(path) as table:
            rows = _spelled_rows(workload, workload.files[0], held, _Rows(table), FILTERS[wanted.filter])
            yield from write(held.layout, rows)

    file = UpstreamFile(workload.trace, wanted.name, wanted.url, wanted.sha256, wanted.bytes)
    return Restored(file, "", wanted.sha256), kept()


def _spelled_rows(
    workload: Workload,
    file: UpstreamFile,
    held: Held,
    rows: _Rows,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Iterator[Spelled]:
    left = held.rows
    before: pa.RecordBatch | None = None  # one behind, because the last batch that has rows must be known as such
    for batch in rows.take(held.rows):
        left -= batch.num_rows
        kept = keep(batch)
        if kept.num_rows:
            if before is not None:
                yield _spelled(workload, file, held.layout, before), False
            before = kept
    if before is not None:
        yield _spelled(workload, file, held.layout, before), True
    if left:
        raise Problem(str(workload), "holds fewer rows than it says", missing=f"{left:,} rows of {file.name}")


def _spelled(workload: Workload, file: UpstreamFile, found: Layout, batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """The upstream's fields as text, from our columns."""
    types = {field.name: field.type for field in batch.schema}
    columns = {name: batch.column(name) for name in batch.schema.names}
    rules = [rule for rule in file.rules if rule.restores]
    return {
        str(transform.rule.source): transform.spell(columns, found.spelling.get(str(transform.rule.source)))
        for transform in transforms_for(rules, types, workload.properties)
    }


def prove(workload: Workload, path: Path, originals: Mapping[str, Path]) -> None:
    """Restore every upstream file of a workload and compare its sha256 with the original's.

    originals maps a file's name to its verified bytes. Raises BadUpstream that shows the first line that differs.
    """
    for each, pieces in restored(workload, path):
        hashed = hashlib.sha256()
        for piece in pieces:
            hashed.update(piece)
        original = originals[each.file.container or each.file.name]
        with original.open("rb") as stream:
            inside = each.compression or each.file.container
            content = each.sha256 if inside else hashlib.file_digest(stream, "sha256").hexdigest()
        if hashed.hexdigest() == content:
            continue
        line, expected, got = _first_difference(workload, path, each, original)
        raise BadUpstream(
            str(workload),
            f"{each.name} would not come back as it was",
            where=f"line {line:,}",
            expected=expected,
            got=got,
            next=f"the spelling is one recipes/{workload.trace}.toml does not tell; nothing was built",
        )


def _first_difference(workload: Workload, path: Path, wanted: Restored, original: Path) -> tuple[int, str, str]:
    """Line number, the upstream's line, ours: only reached when the whole differs."""
    for each, pieces in restored(workload, path):
        if each.name != wanted.name:
            for _ in pieces:  # the files share one pass over the rows
                pass
            continue
        theirs = lines(workload, each.file, original)
        pairs = itertools.zip_longest(theirs, _whole_lines(pieces), fillvalue=b"")
        for number, (their, our) in enumerate(pairs, 1):
            if their != our:
                # A line may be as long as its file: show where they part.
                same = next(n for n, (a, b) in enumerate(itertools.zip_longest(their, our)) if a != b)
                start = same - 60 if same > 120 else 0
                return number, repr(their[start:])[1:160], repr(our[start:])[1:160]
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


def restore_to(
    archive: Archive, workload: Workload, output: Path, derived_file: str | None = None
) -> Iterator[tuple[Path, Restored, str]]:
    """Write a workload's upstream files again, or a file derived from it: (path, what it is, sha256), once complete.

    output is the file or a folder; for a workload of several files the folder. Raises Problem if the content is not
    here or a hash is not the pin; what was written is then kept under another name, and `output` is untouched.
    """
    source = archive.root / workload.path
    if not source.exists():
        raise BadUse(
            str(workload), "its content is not here", expected=workload.path, next=f"llm-traces get {workload}"
        )
    several = len(held_files(source)) > 1 and not derived_file
    if output.resolve().is_relative_to((archive.root / "data").resolve()):
        raise BadUse(str(output), "is in the archive's own data folder", next="give another -o")
    wanted = [derived(workload, source, derived_file)] if derived_file else restored(workload, source)
    for each, pieces in wanted:
        path = output / each.name if several or output.is_dir() else output
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise BadUse(str(path), "exists and is not a regular file", next="give another -o")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                sha256 = _write(part, pieces)
                _agree_with_pin(workload, each, part, path.with_name(f"{path.name}.wrong"))
        except OSError as error:
            raise BadUse(str(path), f"can't be written: {error.strerror or error}", next="give another -o") from None
        yield path, each, sha256


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    hashed = hashlib.sha256()
    with path.open("wb") as stream:
        for piece in pieces:
            hashed.update(piece)
            stream.write(piece)
    return hashed.hexdigest()


def _agree_with_pin(workload: Workload, restored: Restored, part: Path, wrong: Path) -> None:
    """Raise BadUpstream unless the file at `part` has the pinned hash; what differs is kept at `wrong`."""
    if restored.pin is None:
        return
    kind, pinned = restored.pin
    found, _ = hash_file(part, kind)
    if found == pinned:
        return
    move(part, wrong)
    raise BadUpstream(
        str(workload),
        f"what was restored is not {restored.name}",
        expected=f"{hash_name(kind)} {pinned}",
        got=f"{hash_name(kind)} {found}",
        kept_at=str(wrong),
        next=f"llm-traces build {workload}",
    )
