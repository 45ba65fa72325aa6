"""Frictionless's own row code, shown only the rows that need it.

A row is shown if one of its values may offend, if all of it is blank, or if its key may be repeated or unknown. As
every row that shares a repeated key is shown, those left out could not have changed what is said of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
from frictionless import Dialect, Field, FrictionlessException, Package, Parser, Row
from frictionless.resources import TableResource

from .columns import ColumnCheck, Mask, either, places
from .keys import among, hashes, repeated, tuples, unknown
from .source import REFUSED, Source, cells, refusal

SAMPLE_ROWS = 2**10
SHOWN_ROWS = 2**8  # made into Python values at a time: a reader that has its fill of errors stops

Keys = set[tuple[Any, ...]]


class Rows(TableResource):
    """A Parquet table whose rows come from Arrow, not pandas; once it is open, those that the judge shows."""

    source_file: Source

    def to_copy(self, **options: Any) -> Any:
        """What a reference to the table itself would read row by row; the judge fills the lookup by columns."""
        return _stand_in(self.name or "", self.source_file)


class ArrowParser(Parser):
    """The labels, then the rows, a batch at a time."""

    def read_cell_stream_create(self) -> Iterator[list[Any]]:
        """Labels and rows as Python values."""
        source: Source = cast(Rows, self.resource).source_file
        yield source.labels
        if source.labels:
            for columns in source.batches(rows=SAMPLE_ROWS):
                yield from cells(columns)


class Suspects(Dialect):
    """Shows the row code the rows of an iterator, numbered, in place of the table's."""

    shown: Iterator[tuple[int, list[Any]]] = iter(())

    def __bool__(self) -> bool:
        return True  # frictionless replaces a dialect that says nothing

    def read_fragment(self, sample: list[list[Any]]) -> list[list[Any]]:
        """The rows of the sample, by which frictionless tells that a table is empty or guesses a schema."""
        return sample[1:]

    def read_enumerated_content_stream(self, cell_stream: Any) -> Iterator[tuple[int, list[Any]]]:
        """Row numbers and rows; asked for once the table is open, read only later."""
        return iter(self.shown)


class Judge:
    """Checks the rows of a table by columns; with `everything` the row code sees all rows nonetheless."""

    def __init__(self, resource: Any, source: Source, limit: int | None, everything: bool = False) -> None:
        self.source = source
        self.limit = limit
        self.everything = everything
        self.scanned = 0
        dialect = Suspects()
        dialect.shown = self._shown()
        self.rows = _rows(resource, source, dialect)
        package: Package | None = resource.package
        names = {key["reference"]["resource"] for key in resource.schema.foreign_keys} - {"", resource.name}
        self._references = {
            name: package.get_resource(name) for name in names if package and package.has_resource(name)
        }
        self.rows.package = package
        if self._references:
            self.rows.package = Package(resources=[_stand_in(name, source) for name in self._references])

    def stream(self) -> Iterator[tuple[int, Row]]:
        """The rows to look at and their positions, from 1; the first row always, for limits count from it."""
        try:
            fields = self.rows.header.get_expected_fields()
            self._checks = [ColumnCheck(field) for field in fields]
            self._places = {field.name: place for place, field in enumerate(fields)}
            self._repeated = [self._find_repeated(key) for key in self._unique_keys(fields)]
            self._known = self._fill_lookup()
            for row in self.rows.row_stream:
                _ = row.errors  # made when asked for, and here is where failing is caught
                yield row.row_number - 1, row
        except FrictionlessException:
            raise
        except REFUSED as error:
            raise refusal(error) from error

    def _shown(self) -> Iterator[tuple[int, list[Any]]]:
        for columns in self.source.batches(self.limit):
            mask = self._suspects(columns)
            if self.everything:
                mask = np.ones(len(columns[0]), bool)
            elif not self.scanned:
                mask = either(mask, np.arange(len(columns[0])) == 0)
            shown = np.empty(0, np.int64) if mask is None else np.flatnonzero(mask)
            before, self.scanned = self.scanned, self.scanned + len(columns[0])
            for start in range(0, len(shown), SHOWN_ROWS):
                part = shown[start : start + SHOWN_ROWS]
                chosen = places(part)
                for place, row in zip(part, cells([column.take(chosen) for column in columns]), strict=True):
                    yield before + int(place) + 2, row

    def _suspects(self, columns: list[pa.Array]) -> Mask | None:
        mask: Mask | None = None
        blank: Mask | None = np.ones(len(columns[0]), bool)
        for check, column in zip(self._checks, columns, strict=True):
            verdict = check(column)
            mask = either(mask, verdict.offends)
            blank = None if blank is None or verdict.blank is None else blank & verdict.blank
        mask = either(mask, blank)
        for key, is_primary, numbers in self._repeated:
            checks, chosen = self._chosen(key, columns)
            if is_primary or len(numbers):
                found, present = hashes(checks, chosen)
                again = among(found, numbers)
                mask = either(mask, None if again is None else again & present)
                if is_primary and not present.all():
                    mask = either(mask, ~present)
        for key, known in self._known:
            checks, chosen = self._chosen(key, columns)
            mask = either(mask, unknown(checks, chosen, known))
        return mask

    def _chosen(self, key: list[int], columns: list[pa.Array]) -> tuple[list[ColumnCheck], list[pa.Array]]:
        return [self._checks[place] for place in key], [columns[place] for place in key]

    def _unique_keys(self, fields: list[Field]) -> list[tuple[list[int], bool]]:
        keys = [([place], False) for place, field in enumerate(fields) if field.constraints.get("unique")]
        primary = self.rows.schema.primary_key
        if primary and set(primary) <= self._places.keys():
            keys.append(([self._places[name] for name in primary], True))
        return keys

    def _own_keys(self, names: tuple[str, ...]) -> Keys:
        return _distinct(self.source, self.rows.header.get_expected_fields(), names)

    def _find_repeated(self, key: tuple[list[int], bool]) -> tuple[list[int], bool, Any]:
        chosen, is_primary = key
        checks = [self._checks[place] for place in chosen]
        limit = self.limit
        rows = self.source.rows if limit is None else min(limit, self.source.rows)
        return chosen, is_primary, repeated(checks, lambda: self.source.batches(limit, positions=chosen), rows)

    def _fill_lookup(self) -> list[tuple[list[int], Keys]]:
        """The keys that a reference may point to, put where the row code looks them up."""
        known = []
        for key in self.rows.schema.foreign_keys:
            name, target = key["reference"]["resource"], tuple(key["reference"]["fields"])
            if not set(key["fields"]) <= self._places.keys():
                continue
            own = name in ("", self.rows.name)
            keys = self._own_keys(target) if own else _keys_of(self._references[name], target)
            self.rows.lookup[name][target] = keys
            known.append(([self._places[field] for field in key["fields"]], keys))
        return known


def _rows(resource: Any, source: Source, dialect: Suspects) -> Rows:
    names = ("name", "path", "format", "basepath", "schema", "detector", "hash", "bytes", "fields", "rows")
    rows = Rows(dialect=dialect, **{name: getattr(resource, name) for name in names})
    rows.source_file = source
    return rows


def _stand_in(name: str, source: Source) -> TableResource:
    """An empty table in place of one that the row code would read row by row."""
    return TableResource(name=name, data=[source.labels])


def _keys_of(resource: Any, names: tuple[str, ...]) -> Keys:
    """The distinct keys of a table as frictionless reads them, by columns if it is Parquet."""
    source = resource.open_source() if hasattr(resource, "open_source") else None
    copy = resource.to_copy()
    copy.schema.foreign_keys = []
    if source is None:
        with copy:
            return {tuple(row.get(name) for name in names) for row in copy.row_stream}
    with _rows(copy, source, Suspects()) as rows:
        return _distinct(source, rows.header.get_expected_fields(), names)


def _distinct(source: Source, fields: list[Field], names: tuple[str, ...]) -> Keys:
    numbers = {field.name: number for number, field in enumerate(fields)}
    keys: Keys = set()
    if set(names) <= numbers.keys():
        checks = [ColumnCheck(fields[numbers[name]]) for name in names]
        for columns in source.batches(positions=[numbers[name] for name in names]):
            keys.update(tuples(checks, columns)[0])
    return keys
