"""Which resources are validated by columns, and their reports, which are those of stock frictionless."""

from __future__ import annotations

import logging
import os
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frictionless import Checklist, FrictionlessException, Report, Resource, Schema, errors, helpers, settings, system
from frictionless.resources import FileResource, TableResource

from llm_trace_archive.columns.pointer import is_pointer

if TYPE_CHECKING:
    from frictionless import Error

    from .row_check import Rows
    from .source import Source

CHUNK = 2**20
OBJECTS = Path(".git", "annex", "objects").parts

log = logging.getLogger("frictionless_arrow")


class ByColumn(Resource):
    """A resource that is validated by columns if it is a local Parquet file."""

    def validate(
        self,
        checklist: Checklist | None = None,
        *,
        name: str | None = None,
        on_row: Any = None,
        parallel: bool = False,
        limit_rows: int | None = None,
        limit_errors: int = settings.DEFAULT_LIMIT_ERRORS,
    ) -> Report:
        """Validate the resource; see `frictionless.Resource.validate`."""
        timer = helpers.Timer()  # type: ignore[no-untyped-call]
        options = {"name": name, "on_row": on_row, "parallel": parallel, "limit_rows": limit_rows}
        try:
            if not self._is_ours():
                return super().validate(checklist, limit_errors=limit_errors, **options)
            self.to_descriptor(validate=True)
            path = self._safe_path()
            if self._is_absent(path):
                return self._report_absent(timer)
            if _exists(path):
                checklist = checklist or Checklist()
                try:
                    return self._validate(path, timer, checklist, on_row, limit_rows, limit_errors)
                except FrictionlessException as exception:
                    return _report(self, timer, errors=[*exception.to_errors(), *self._wrong_bytes(path, checklist)])
        except FrictionlessException as exception:
            return _report(self, timer, errors=exception.to_errors())
        return super().validate(checklist, limit_errors=limit_errors, **options)

    def open_source(self) -> Source | None:
        """Return the open Parquet file, or None if the resource is not read by columns, or not there."""
        if not self._is_ours() or not _exists(path := self._safe_path()) or self._is_absent(path):
            return None
        return _open(path)

    def _is_ours(self) -> bool:
        return (
            self.format in ("parquet", "parq")
            and self.scheme in ("file", "", None)
            and self.closed
            and not (self.memory or self.remote or self.multipart or self.compression)
            and not self.dialect.to_descriptor()
            and (self.type == "table" or bool(self.schema))
        )

    def _safe_path(self) -> Path:
        """Return the path. Raises FrictionlessException for a link out of the package that is not to its annex."""
        path = Path(str(self.normpath).removeprefix("file://"))
        # A package in the current folder has no `basepath`, and a worker of `--parallel` knows no `package` either.
        package = self.basepath or ("" if self.package or parent_process() else None)
        if system.trusted or package is None or _is_within(path, Path(package)):
            return path
        objects = _annexed(path)
        if objects is None or not _is_within(path, objects):
            note = f'path "{self.path}" is not safe: it is a link to outside of the package (--trusted allows it)'
            raise FrictionlessException(errors.ResourceError(note=note))
        return path

    def _is_absent(self, path: Path) -> bool:
        """Return whether a workload's content is not here: git-annex left a link to nowhere, or a pointer."""
        if not {"trace", "workload"} <= self.custom.keys():
            return False
        try:
            return is_pointer(path)
        except OSError:
            return not _exists(path) and _annexed(path) is not None

    def _report_absent(self, timer: Any) -> Report:
        """Return a valid report with a warning, which is logged as well: nothing is wrong, but nothing was checked."""
        get = f"llm-traces get {self.custom['trace']}/{self.custom['workload']}"
        warning = f"nothing was checked: the content of {self.path} is not here; get it with: {get}"
        warning = ascii(warning)[1:-1]  # a terminal would obey what a descriptor may say
        log.warning("%s: %s", self.name, warning)
        return _report(self, timer, warnings=[warning])

    def _validate(
        self, path: Path, timer: Any, checklist: Checklist, on_row: Any, limit_rows: int | None, limit: int
    ) -> Report:
        from .row_check import RowCheck

        reported: list[Error] = []
        warnings: list[str] = []
        is_partial = False
        if self.hash and helpers.parse_resource_hash_v1(self.hash)[0] not in ("md5", "sha256"):
            warnings.append("hash is ignored; supported algorithms: md5/sha256")
        source = _open(path)
        if not source.labels:
            raise FrictionlessException(errors.SourceError(note="the source is empty"))
        self.schema = self.schema or Schema()  # a bare file has none
        # Stock stops after the row that reaches the limit, which is the first if the limit is negative; 0 is none.
        last = max(limit_rows, 1) if limit_rows else None
        row_check = RowCheck(self, source, last, everything=bool(on_row or checklist.checks))
        self.stats = row_check.rows.stats
        with row_check.rows as rows:
            self.schema = rows.schema  # inferred, if there was none
            self._read_bytes(rows)
            checks = checklist.connect(rows)
            for check in list(checks):
                for error in check.validate_start():
                    if error.type == "check-error":
                        checks.remove(check)
                    if checklist.match(error):
                        reported.append(error)
            stream = row_check.stream()
            position = 0
            while True:
                try:
                    position, row = next(stream)
                except StopIteration:
                    position = row_check.scanned
                    break
                except FrictionlessException as exception:
                    reported.append(exception.error)
                    continue
                for check in checks:
                    reported.extend(error for error in check.validate_row(row) if checklist.match(error))
                if on_row:
                    on_row(row)
                if last and position >= last:
                    break
                if limit and len(reported) >= limit:
                    reported = reported[:limit]
                    warnings.append(f"reached error limit: {limit}")
                    is_partial = True
                    break
            if last and position >= last and not is_partial:
                warnings.append(f"reached row limit: {limit_rows}")
                is_partial = True
            rows.stats.rows = position
            if not is_partial:
                for check in checks:
                    reported.extend(error for error in check.validate_end() if checklist.match(error))
            return _report(self, timer, labels=rows.labels, errors=reported, warnings=warnings)

    def _wrong_bytes(self, path: Path, checklist: Checklist) -> list[Error]:
        """Return errors if bytes or hash of a file that can't be read as a table are not those of the descriptor."""
        if (self.hash is None and self.bytes is None) or not path.is_file():
            return []
        file = FileResource(path=self.path, basepath=self.basepath, hash=self.hash, bytes=self.bytes)
        picked = Checklist(pick_errors=checklist.pick_errors, skip_errors=checklist.skip_errors)
        reported: list[Error] = file.validate(picked).task.errors
        self.stats = file.stats
        return reported

    def _read_bytes(self, rows: Rows) -> None:
        """Count and hash the bytes if the descriptor has their number or hash."""
        if self.hash is None and self.bytes is None:
            return
        with FileResource(path=self.path, basepath=self.basepath) as file:
            while file.byte_stream.read1(CHUNK):
                pass
            rows.stats.md5, rows.stats.sha256, rows.stats.bytes = file.stats.md5, file.stats.sha256, file.stats.bytes


class ParquetFile(ByColumn, FileResource):
    """A file resource; if it is a Parquet file with a schema, the schema is checked too."""

    type = "file"
    datatype = "file"


class ParquetTable(ByColumn, TableResource):
    """A table resource; if it is a Parquet file, it is checked without pandas, bytes and hash too."""

    type = "table"
    datatype = "table"


def _report(resource: Resource, timer: Any, **parts: Any) -> Report:
    report: Report = Report.from_validation_task(resource, time=timer.time, **parts)
    return report


def _is_within(path: Path, folder: Path) -> bool:
    """Return whether a path leads to a place in a folder, or, as links that are a loop do, nowhere."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True


def _exists(path: Path) -> bool:
    """Return whether there is anything at a path; nothing is where the system refuses to look."""
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _open(path: Path) -> Source:
    from .source import REFUSED, Source, refusal

    if not path.is_file():  # opening a pipe would wait for its writer
        raise FrictionlessException(errors.SourceError(note=f'path "{path}" is not a file'))
    try:
        return Source(str(path))
    except (*REFUSED, AttributeError) as error:
        raise refusal(error) from error


def _annexed(path: Path) -> Path | None:
    """Return the `.git` folder whose annex a link points into, if it is that of the link's own repository."""
    try:
        if not path.is_symlink():
            return None
    except OSError:
        return None
    folder = path.absolute().parent
    target = Path(os.path.normpath(folder / path.readlink()))
    for root in (folder, *folder.parents):
        if target.is_relative_to(root.joinpath(*OBJECTS)):
            return root / OBJECTS[0]
    return None
