"""Batches of upstream fields to batches of the workload's table: mapping, units, constants, constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import BadUpstream
from ..core.recipe import UpstreamFile, Workload
from ..core.schema import arrow_schema, violations
from .formats.layout import Layout
from .mapping import transforms_for
from .spelling import BadValue
from .transforms import Transform


class Canonicaliser:
    """Turns one workload's upstream batches into its table; row numbers run on over its files."""

    def __init__(self, workload: Workload, table_schema: Mapping[str, Any]) -> None:
        self.workload = workload
        self.table_schema = table_schema
        self.schema = arrow_schema(table_schema)
        self.rows = 0
        self._before: dict[str, Transform] = {}
        self._types = {each.name: each.type for each in self.schema}
        self._row_column = next(name for name in self.schema.names if name not in ("trace", "workload"))

    def table(self, file: UpstreamFile, found: Layout, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The file's rows in the workload's schema. When done, `found.spelling` is complete.

        Raises BadUpstream that names line, column and value of the first value that breaks the mapping or a constraint.
        """
        transforms = transforms_for(file.rules, self._types, self.workload.properties)
        for transform in transforms:
            if transform.rule.column in self._before:
                transform.follow(self._before[transform.rule.column])
        constants = {rule.column: rule.value for rule in file.rules if rule.source is None}
        start = self.rows
        for batch in batches:
            yield self._batch(file, found, transforms, constants, batch, self.rows - start)
            self.rows += batch.num_rows
        self._before = {transform.rule.column: transform for transform in transforms if transform.rule.derive}
        for transform in transforms:
            if transform.spelling and transform.rule.source:
                found.spelling[transform.rule.source] = transform.spelling
        for name, kind in found.kinds.items():
            if kind == "float":
                found.spelling[name] = "float"

    def _batch(
        self,
        file: UpstreamFile,
        found: Layout,
        transforms: list[Transform],
        constants: Mapping[str, str | None],
        batch: pa.RecordBatch,
        offset: int,
    ) -> pa.RecordBatch:
        columns: dict[str, pa.Array] = {}
        for transform in transforms:
            source = str(transform.rule.source)
            try:
                columns |= transform.read(*(batch.column(name) for name in transform.rule.sources))
            except BadValue as bad:
                raise self._bad(file, found, offset + bad.index, source, bad.expected, bad.got) from None
        constants = {"trace": self.workload.trace, "workload": self.workload.name, **constants}
        rows = batch.num_rows
        for name, kind in self._types.items():
            if name in constants:
                zeros = pa.nulls(rows, pa.int32()).fill_null(0)
                constant = pa.array([constants[name]])
                if pa.types.is_dictionary(kind):
                    columns[name] = pa.DictionaryArray.from_arrays(zeros, constant)
                else:
                    columns[name] = pc.cast(constant, kind).take(zeros)
            elif name == self._row_column:
                columns[name] = pa.arange(self.rows, self.rows + rows)
            elif name not in columns:
                columns[name] = pa.nulls(rows, kind)
            elif not pa.types.is_dictionary(kind):
                columns[name] = self._narrowed(file, found, offset, name, columns[name], kind)
        table = pa.RecordBatch.from_arrays([columns[name] for name in self._types], schema=self.schema)
        for name, expected, mask in violations(self.table_schema, table):
            if (index := pc.index(mask, True).as_py()) >= 0:
                got = str(table.column(name)[index].as_py())
                raise self._bad(file, found, offset + index, self._source(file, name), expected, got)
        return table

    def _narrowed(
        self, file: UpstreamFile, found: Layout, offset: int, name: str, values: pa.Array, kind: pa.DataType
    ) -> pa.Array:
        try:
            return pc.cast(values, kind)
        except pa.ArrowInvalid:
            in_lists = pa.types.is_list(kind)
            numbers = values.flatten() if in_lists else values
            limit = 2 ** ((kind.value_type if in_lists else kind).bit_width - 1)
            index = pc.index(pc.fill_null(pc.greater_equal(pc.abs(numbers), limit), False), True).as_py()
            got = str(numbers[index].as_py())
            index = pc.list_parent_indices(values)[index].as_py() if in_lists else index
            raise self._bad(
                file, found, offset + index, self._source(file, name), f"less than {limit:,}", got
            ) from None

    def _source(self, file: UpstreamFile, name: str) -> str:
        return next((str(rule.source) for rule in file.rules if rule.column == name and rule.source), name)

    def _bad(self, file: UpstreamFile, found: Layout, index: int, source: str, expected: str, got: str) -> BadUpstream:
        unit = {"conversations": "answer", "weka": "request"}.get(found.format, "line")
        place = f"{unit} {index + (2 if found.format == 'csv' else 1):,}"
        return BadUpstream(
            str(self.workload),
            f"{file.name} holds a value that can't be taken",
            where=f"{place}, column '{source}'",
            expected=expected,
            got=got if len(got) < 120 else got[:117] + "...",
            next=f"compare the line with its source {file.url}; nothing was built",
        )
