"""Keys: which rows repeat one, and where the row is that another refers to.

A key is told by 64 bits, and a share of `ROWS` keys is held at a time: a larger table is read again for each further
share, its key columns alone. Two keys of a table are taken for one with a chance of rows² / 2⁶⁵.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..core.archive import Archive
from ..core.recipe import Workload
from ..core.table import Table
from .result import ROWS_SHOWN, Result

ROWS = 1 << 21
NULL = np.uint64(0x9E3779B97F4A7C15)

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Keys:
    """Rows by number, the key of each, and what else of the row is to be compared with the row of another key."""

    rows: Numbers
    hashes: Hashes
    others: Hashes

    def take(self, places: Any) -> Keys:
        """Some of them, by a mask or by places."""
        return Keys(self.rows[places], self.hashes[places], self.others[places])


Source = Callable[[], Iterator[Keys]]


def keys(archive: Archive, workload: Workload, table_schema: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Primary, unique and foreign keys of a Table Schema, and the references that a recipe tells.

    A reference into a table whose content is not here is not checked.
    """
    source = workload.schema_path
    for names, what in _unique(table_schema):
        yield _result("keys", f"rows that repeat a key: {what}", table, names, repeats(table, names), source)
    places = {each["name"]: each["path"] for each in archive.locked.values()} | {"": workload.path}
    for each in table_schema.get("foreignKeys", ()):
        names, target = _listed(each["fields"]), each["reference"]
        told = f"rows of {', '.join(names)} that refer to no row of {target.get('resource') or 'the table itself'}"
        if target.get("resource", "") not in places:
            yield Result("keys", told, 0, 0, "no such resource", source, names[0])
            continue
        path = archive.root / places[target.get("resource", "")]
        if path.exists():
            broken = unmatched(table, names, Table(path), _listed(target["fields"]))
            yield _result("keys", told, table, names, broken, source)
    for name, reference in workload.expect.get("references", {}).items():
        other, _, column = reference.partition(".")
        path = archive.root / archive.recipe(workload.trace).workload(other).path
        if path.exists():
            told = f"rows of {name} that refer to no {column} of {workload.trace}/{other}"
            broken = unmatched(table, [name], Table(path), [column])
            yield _result("keys", told, table, [name], broken, f"recipes/{workload.trace}.toml")


def _unique(table_schema: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    if primary := _listed(table_schema.get("primaryKey", [])):
        yield primary, "primaryKey"
    for field in table_schema["fields"]:
        if field.get("constraints", {}).get("unique") and [field["name"]] != primary:
            yield [field["name"]], f"unique {field['name']}"


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _result(check: str, name: str, table: Table, columns: list[str], broken: Iterable[Numbers], source: str) -> Result:
    count, rows = offenders(table, columns[0], broken)
    return Result(check, name, 0, 0, count, source, columns[0], rows)


def offenders(table: Table, column: str, parts: Iterable[Numbers]) -> tuple[int, tuple[tuple[int, str], ...]]:
    """How many rows some parts name, and the first of them as `Result.rows` shows them."""
    count, first = 0, np.empty(0, np.int64)
    for part in parts:
        count += len(part)
        first = np.unique(np.concatenate([first, part]))[:ROWS_SHOWN]
    return count, tuple((int(row), table.value(column, int(row))) for row in first)


def repeats(table: Table, names: list[str]) -> Iterator[Numbers]:
    """The rows whose key a row before has; a key without any value is none."""
    if not _rises(table, names):  # then none can, and a row's own number need not be held
        yield from repeated(lambda: _of_columns(table, names), table.rows)


def _rises(table: Table, names: list[str]) -> bool:
    """Whether the key is one whole number, and larger in every row than in the row before."""
    last = -(2**63)
    for _, batch in table.groups(names):
        column = batch.column(0)
        if len(names) > 1 or not pa.types.is_integer(column.type) or column.null_count:
            return False
        numbers = column.to_numpy()
        if numbers[0] <= last or not (numbers[1:] > numbers[:-1]).all():
            return False
        last = int(numbers[-1])
    return True


def unmatched(table: Table, names: list[str], target: Table, keys: list[str]) -> Iterator[Numbers]:
    """The rows whose key, or one of whose keys if the column is a list, is none of the target's."""
    found = lookup(lambda: _of_columns(target, keys), lambda: _of_columns(table, names), max(table.rows, target.rows))
    for references, matches in found:
        yield np.unique(references.rows[matches.rows < 0])


def repeated(source: Source, rows: int) -> Iterator[Numbers]:
    """Of at most so many rows, those whose key occurred before."""
    for share in _shares(rows):
        held = _held(source, share)
        yield held.rows[1:][held.hashes[1:] == held.hashes[:-1]]


def lookup(keys: Source, references: Source, rows: int) -> Iterator[tuple[Keys, Keys]]:
    """References and, in the same places, the first row that has the key of each; row -1 where none has."""
    for share in _shares(rows):
        known, wanted = _held(keys, share), _held(references, share)
        if not len(known.rows):
            yield wanted, Keys(np.full(len(wanted.rows), -1), wanted.hashes, wanted.others)
            continue
        matches = known.take(np.minimum(np.searchsorted(known.hashes, wanted.hashes), len(known.rows) - 1))
        yield wanted, Keys(np.where(matches.hashes == wanted.hashes, matches.rows, -1), matches.hashes, matches.others)


def hashed(columns: list[pa.Array]) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """64 bits for each row's key, equal for equal keys, and whether it has any value; a whole number's are itself."""
    total, present = np.zeros(len(columns[0]), np.uint64), np.zeros(len(columns[0]), bool)
    for column in columns:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        total = _mixed(total) ^ np.where(valid, _numbers(column), NULL)
        present |= valid
    return total, present


def _numbers(column: pa.Array) -> Hashes:
    if pa.types.is_integer(column.type):
        numbers: Hashes = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy().view(np.uint64)
    else:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        entries = np.array([hash(value) % 2**64 for value in [*coded.dictionary.to_pylist(), None]], np.uint64)
        numbers = entries[pc.fill_null(pc.cast(coded.indices, pa.int64()), -1).to_numpy()]
    return numbers


def _mixed(numbers: Hashes) -> Hashes:
    """The mixing of SplitMix64, which `blocks` tells of: 0 stays 0."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def of_rows(start: int, columns: list[pa.Array], mask: Any = None, others: Hashes | None = None) -> Keys:
    """The keys of a batch whose first row has the number `start`, where a mask holds and they have a value."""
    found, present = hashed(columns)
    rows = np.arange(start, start + len(found))
    every = Keys(rows, found, np.zeros(len(found), np.uint64) if others is None else others)
    return every.take(present if mask is None else present & mask)


def _of_columns(table: Table, names: list[str]) -> Iterator[Keys]:
    for start, batch in table.groups(names):
        columns = [batch.column(name) for name in names]
        if len(columns) == 1 and pa.types.is_list(columns[0].type):
            parents = pc.list_parent_indices(columns[0]).to_numpy()
            flat = of_rows(0, [pc.list_flatten(columns[0])])
            yield Keys(start + parents[flat.rows], flat.hashes, flat.others)
        else:
            yield of_rows(start, columns)


def _shares(rows: int) -> Iterator[tuple[int, int]]:
    count = max(1, -(-rows // ROWS))
    return ((count, share) for share in range(count))


def _held(source: Source, share: tuple[int, int]) -> Keys:
    """All keys of a share in the order of their hashes, and of rows where these are equal."""
    count, number = map(np.uint64, share)
    own = (lambda each: each) if count == 1 else lambda each: each.take(_mixed(each.hashes) % count == number)
    none = Keys(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64))
    parts = [none, *map(own, source())]
    held = Keys(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "hashes", "others")))
    return held.take(np.argsort(held.hashes, kind="stable"))
