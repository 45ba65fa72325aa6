"""Frictionless's own row code, given only the rows that need it.

A row needs it if one of its values may break its field, if all of it is blank, or if its key may be repeated or
unknown. As all rows that share a repeated key are given, the others could not change what the report says of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
from frictionless import Dialect, Field, FrictionlessException, Package, Parser, Row
from frictionless.resources import TableResource

from llm_trace_archive.columns.arrays import Mask, from_integers
from llm_trace_archive.columns.keys import Hashes, is_among

from .field_check import FieldCheck, either
from .keys import KeySet, distinct_keys, find_repeated, find_unknown, hash_keys
from .source import REFUSED, Source, cells, refusal

SAMPLE_ROWS = 2**10
ROWS_AT_ONCE = 2**8  # made into Python values at a time: the report may reach its limit of errors


class Rows(TableResource):
    """A Parquet table whose rows come from Arrow, not pandas; once it is open, only those that the row check gives."""

    source_file: Source

    def to_copy(self, **options: Any) -> Any:
        """Return an empty table: frictionless would read it for a reference to the table itself."""
        return _empty_table(self.name or "", self.source_file)


class ArrowParser(Parser):
    """The labels, then the rows, a batch at a time."""

    def read_cell_stream_create(self) -> Iterator[list[Any]]:
        """Yield labels and rows as Python values."""
        source: Source = cast(Rows, self.resource).source_file
        yield source.labels
        if source.labels:
            for columns in source.batches(rows=SAMPLE_ROWS):
                yield from cells(columns)


class SelectedRows(Dialect):
    """Gives the row code the rows of an iterator, with their numbers, in place of the table's."""

    selected: Iterator[tuple[int, list[Any]]] = iter(())

    def __bool__(self) -> bool:
        return True  # frictionless replaces an empty dialect

    def read_fragment(self, sample: list[list[Any]]) -> list[list[Any]]:
        """Return the rows of the sample; without any, frictionless takes the table for empty or guesses a schema."""
        return sample[1:]

    def read_enumerated_content_stream(self, cell_stream: Any) -> Iterator[tuple[int, list[Any]]]:
        """Return row numbers and rows; frictionless calls this when it opens the table and reads them later."""
        return iter(self.selected)


class RowCheck:
    """Selects the rows of a table by columns; with `everything`, the row code gets all rows nonetheless."""

    def __init__(self, resource: Any, source: Source, limit: int | None, everything: bool = False) -> None:
        self.source = source
        self.limit = limit
        self.everything = everything
        self.scanned = 0
        dialect = SelectedRows()
        dialect.selected = self._select()
        self.rows = _rows(resource, source, dialect)
        package: Package | None = resource.package
        names = {key["reference"]["resource"] for key in resource.schema.foreign_keys} - {"", resource.name}
        self._references = {
            name: package.get_resource(name) for name in names if package and package.has_resource(name)
        }
        self.rows.package = package
        if self._references:
            self.rows.package = Package(resources=[_empty_table(name, source) for name in self._references])

    def stream(self) -> Iterator[tuple[int, Row]]:
        """Yield the selected rows with their positions, from 1; always the first row, as limits count from it."""
        try:
            fields = self.rows.header.get_expected_fields()
            self._checks = [FieldCheck(field) for field in fields]
            self._positions = {field.name: position for position, field in enumerate(fields)}
            self._repeated = [self._find_repeated(*key) for key in self._unique_keys(fields)]
            self._known = self._fill_lookup()
            for row in self.rows.row_stream:
                _ = row.errors  # computed on access, whose failure must be caught here
                yield row.row_number - 1, row
        except FrictionlessException:
            raise
        except REFUSED as error:
            raise refusal(error) from error

    def _select(self) -> Iterator[tuple[int, list[Any]]]:
        for columns in self.source.batches(self.limit):
            mask = self._find_suspects(columns)
            if self.everything:
                mask = np.ones(len(columns[0]), bool)
            elif not self.scanned:
                mask = either(mask, np.arange(len(columns[0])) == 0)
            selected = np.empty(0, np.int64) if mask is None else np.flatnonzero(mask)
            before, self.scanned = self.scanned, self.scanned + len(columns[0])
            for start in range(0, len(selected), ROWS_AT_ONCE):
                part = selected[start : start + ROWS_AT_ONCE]
                indices = from_integers(part)
                for index, row in zip(part, cells([column.take(indices) for column in columns]), strict=True):
                    yield before + int(index) + 2, row

    def _find_suspects(self, columns: list[pa.Array]) -> Mask | None:
        mask: Mask | None = None
        blank: Mask | None = np.ones(len(columns[0]), bool)
        for check, column in zip(self._checks, columns, strict=True):
            verdict = check(column)
            mask = either(mask, verdict.suspect)
            blank = None if blank is None or verdict.missing is None else blank & verdict.missing
        mask = either(mask, blank)
        for key, is_primary, repeated in self._repeated:
            if is_primary or len(repeated):
                hashes, present = hash_keys(*self._select_key(key, columns))
                mask = either(mask, is_among(hashes, repeated) & present)
                if is_primary and not present.all():
                    mask = either(mask, ~present)
        for key, known in self._known:
            mask = either(mask, find_unknown(*self._select_key(key, columns), known))
        return mask

    def _select_key(self, key: list[int], columns: list[pa.Array]) -> tuple[list[FieldCheck], list[pa.Array]]:
        return [self._checks[position] for position in key], [columns[position] for position in key]

    def _unique_keys(self, fields: list[Field]) -> list[tuple[list[int], bool]]:
        """Return the positions of the columns of each key, and whether it is the primary key."""
        keys = [([position], False) for position, field in enumerate(fields) if field.constraints.get("unique")]
        primary = self.rows.schema.primary_key
        if primary and set(primary) <= self._positions.keys():
            keys.append(([self._positions[name] for name in primary], True))
        return keys

    def _find_repeated(self, key: list[int], is_primary: bool) -> tuple[list[int], bool, Hashes]:
        checks = [self._checks[position] for position in key]
        rows = self.source.rows if self.limit is None else min(self.limit, self.source.rows)
        return key, is_primary, find_repeated(checks, lambda: self.source.batches(self.limit, positions=key), rows)

    def _fill_lookup(self) -> list[tuple[list[int], KeySet]]:
        """Return the keys that each reference may point to, after putting them where the row code looks them up."""
        known = []
        for key in self.rows.schema.foreign_keys:
            name, target = key["reference"]["resource"], tuple(key["reference"]["fields"])
            if not set(key["fields"]) <= self._positions.keys():
                continue
            if name in ("", self.rows.name):
                keys = _read_keys(self.source, self.rows.header.get_expected_fields(), target)
            else:
                keys = _read_reference(self._references[name], target)
            self.rows.lookup[name][target] = keys
            known.append(([self._positions[field] for field in key["fields"]], keys))
        return known


def _rows(resource: Any, source: Source, dialect: SelectedRows) -> Rows:
    names = ("name", "path", "format", "basepath", "schema", "detector", "hash", "bytes", "fields", "rows")
    rows = Rows(dialect=dialect, **{name: getattr(resource, name) for name in names})
    rows.source_file = source
    return rows


def _empty_table(name: str, source: Source) -> TableResource:
    """Return an empty table in place of one that the row code would read row by row."""
    return TableResource(name=name, data=[source.labels])


def _read_reference(resource: Any, names: tuple[str, ...]) -> KeySet:
    """Return the distinct keys of a table as frictionless reads them, by columns if it is Parquet."""
    source = resource.open_source() if hasattr(resource, "open_source") else None
    copy = resource.to_copy()
    copy.schema.foreign_keys = []
    if source is None:
        with copy:
            return {tuple(row.get(name) for name in names) for row in copy.row_stream}
    with _rows(copy, source, SelectedRows()) as rows:
        return _read_keys(source, rows.header.get_expected_fields(), names)


def _read_keys(source: Source, fields: list[Field], names: tuple[str, ...]) -> KeySet:
    positions = {field.name: position for position, field in enumerate(fields)}
    keys: KeySet = set()
    if set(names) <= positions.keys():
        checks = [FieldCheck(fields[positions[name]]) for name in names]
        for columns in source.batches(positions=[positions[name] for name in names]):
            keys.update(distinct_keys(checks, columns)[0])
    return keys
