"""Batches of upstream fields to batches of the workload's table: mapping, units, constants, constraints."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import from_integers, from_values, to_mask
from ..columns.constraints import violations
from ..core.errors import BadUpstream
from ..core.recipe import Rule, UpstreamFile, Workload
from ..core.schema import arrow_schema
from .formats.layout import file_error
from .read import FileRows
from .transforms.base import BadValue, Transform
from .transforms.numbers import first_failure
from .transforms.select import make_transforms


def list_constants(workload: Workload, file: UpstreamFile) -> dict[str, Any]:
    """Return the columns that have one value in all rows of a file, with that value."""
    constants: dict[str, Any] = {"trace": workload.trace, "workload": workload.name}
    if workload.is_requests:
        constants["segment"] = 0
        if any(rule.column == "hash_ids" for each in workload.files for rule in each.rules):
            constants["block_tokens"] = workload.properties.get("block_tokens")
    constants |= {rule.column: rule.value for rule in file.rules if rule.source is None}
    filled = {column for rule in file.rules if rule.source is not None for column in rule.columns}
    return {name: value for name, value in constants.items() if name not in filled}


def _repeat(value: Any, rows: int, kind: pa.DataType) -> pa.Array:
    """Return an array of one value."""
    if value is None:
        return pa.nulls(rows, kind)
    zeros = from_integers(np.zeros(rows, np.int32))
    one = from_values([value if isinstance(value, str) else json.dumps(value)], pa.string())
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(zeros, one)
    return pc.cast(one, kind).take(zeros)


class BadRow(BadUpstream):
    """A row that can't be converted: its number in its file, from 0, its column, and why, without the value."""

    row = 0
    column = ""
    reason = ""


class Canonicaliser:
    """Converts a workload's upstream files to its table, and numbers the rows across these files."""

    def __init__(self, workload: Workload, table_schema: Mapping[str, Any]) -> None:
        self.workload = workload
        self.table_schema = table_schema
        self.schema = arrow_schema(table_schema)
        self.rows = 0
        self._previous: dict[str, Transform] = {}
        self._types = {each.name: each.type for each in self.schema}
        self._row_column = next(name for name in self.schema.names if name not in ("trace", "workload"))

    def convert(self, source: FileRows) -> Iterator[pa.RecordBatch]:
        """Yield a file's rows in the workload's schema; at the end, `source.layout.spelling` is complete.

        Raises BadUpstream that names line, column and value of the first value that can't be converted.
        """
        transforms = make_transforms(source.file.rules, self._types, self.workload.properties)
        for transform in transforms:
            if transform.rule.column in self._previous:
                transform.follow(self._previous[transform.rule.column])
        start = self.rows
        constants = list_constants(self.workload, source.file)
        for batch in source.batches:
            if batch.num_rows:
                yield self._convert_batch(source, transforms, constants, batch, self.rows - start)
                self.rows += batch.num_rows
        self._previous = {each.rule.column: each for each in transforms if each.rule.derive or each.rule.offset}
        for transform in transforms:
            if transform.spelling and transform.rule.source:
                source.layout.spelling[transform.rule.source] = transform.spelling
        for name, kind in source.layout.kinds.items():
            if kind == "float":
                source.layout.spelling[name] = "float"

    def _convert_batch(
        self,
        source: FileRows,
        transforms: list[Transform],
        constants: Mapping[str, Any],
        batch: pa.RecordBatch,
        offset: int,
    ) -> pa.RecordBatch:
        """Return the batch in our schema; its first row is number `offset` of its file, from 0."""
        columns: dict[str, pa.Array] = {}
        for transform in transforms:
            name = transform.rule.column
            try:
                with self._filling(source, name):
                    columns |= transform.read(*(batch.column(each) for each in transform.rule.sources))
            except BadValue as bad:
                raise self._error(source, offset + bad.index, name, bad.expected, bad.got) from None
        rows = batch.num_rows
        for name, kind in self._types.items():
            with self._filling(source, name):
                if name in constants:
                    columns[name] = _repeat(constants[name], rows, kind)
                elif name == self._row_column:
                    columns[name] = from_integers(np.arange(self.rows, self.rows + rows))
                elif name not in columns:
                    columns[name] = pa.nulls(rows, kind)
                elif columns[name].type != kind:
                    columns[name] = self._narrow(source, offset, name, columns[name], kind)
        table = pa.RecordBatch.from_arrays([columns[name] for name in self._types], schema=self.schema)
        for name, expected, mask in violations(self.table_schema, table):
            if (wrong := to_mask(mask)).any():
                index = int(wrong.argmax())
                raise self._error(source, offset + index, name, expected, str(table.column(name)[index].as_py()))
        return table

    @contextlib.contextmanager
    def _filling(self, source: FileRows, name: str) -> Iterator[None]:
        """Raise BadUpstream if Arrow can't make the column of what the recipe takes for it."""
        try:
            yield
        except pa.ArrowException as error:
            kind, reason = str(self._types.get(name)), str(error)[:200]
            raise file_error(
                self.workload, source.file, f"has nothing for the column {name}", type=kind, reason=reason
            ) from error

    def _narrow(self, source: FileRows, offset: int, name: str, values: pa.Array, kind: pa.DataType) -> pa.Array:
        """Return the values in the column's type. Raises BadUpstream for the first that does not fit it."""
        try:
            return pc.cast(values, kind)
        except pa.ArrowInvalid:
            in_lists = pa.types.is_list(kind)
            items, item = (values.flatten(), kind.value_type) if in_lists else (values, kind)
            index = first_failure(items, item)
            got = str(items[index].as_py())
            index = pc.list_parent_indices(values)[index].as_py() if in_lists else index
            largest = 2 ** (item.bit_width - 1) - 1
            expected = f"from {-largest - 1:,} to {largest:,}" if pa.types.is_integer(item) else f"{item}"
            raise self._error(source, offset + index, name, expected, got) from None

    def _error(self, source: FileRows, row: int, column: str, expected: str, got: str) -> BadRow:
        file, layout = source.file, source.layout
        unit = {"conversations": "answer", "weka": "request", "weka-session-times": "request"}.get(
            layout.format, "line"
        )
        number = row + (2 if layout.format == "csv" else 1)
        recipe = f"recipes/{self.workload.trace}.toml"
        rule = next((rule for rule in file.rules if rule.column == column and rule.source), Rule(column))
        error = BadRow(
            str(self.workload),
            f"{file.name} has a value that can't be converted",
            where=f"{unit} {number:,}, column '{rule.source or column}'",
            expected=expected,
            got=got if len(got) < 120 else got[:117] + "...",
            hint='empty = "null" accepts a missing value' if got in ("''", "null") and not rule.empty else "",
            next=f"fix '{column}' in {recipe}, or compare the file with {file.url}; nothing was built",
        )
        error.row, error.column, error.reason = row, column, f"'{rule.source or column}' is not {expected}"
        return error
