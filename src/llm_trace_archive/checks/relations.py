"""Relations between the columns of a table, as its recipe says they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import Result, Table, first_rows

Broken = tuple[pa.Array, pa.Array]


def relations(names: Sequence[str], table: Table, properties: Mapping[str, Any], source: str) -> Iterator[Result]:
    """Each relation by name, with the number of rows that break it and the first of them."""
    for name in names:
        told, columns, broken = RELATIONS[name]
        count, rows = 0, ()
        for start, batch in table.groups(columns):
            mask, values = broken(batch, properties)
            count += pc.sum(mask).as_py() or 0
            rows = first_rows(mask, values, start, rows)
        yield Result("relations", f"{name}: {told}", 0, 0, count, source, columns[0], rows)


def _blocks(batch: pa.RecordBatch, properties: Mapping[str, Any]) -> Broken:
    size = properties["block_tokens"]
    wanted = pc.divide(pc.add(batch.column("input_tokens"), size - 1), size)
    held = pc.list_value_length(batch.column("hash_ids"))
    return pc.fill_null(pc.not_equal(held, wanted), True), held


def _ids(batch: pa.RecordBatch, _properties: Mapping[str, Any]) -> Broken:
    ids = batch.column("hash_ids")
    negative = pc.list_parent_indices(ids).filter(pc.less(pc.list_flatten(ids), 0))
    mask = np.zeros(batch.num_rows, bool)
    mask[negative.to_numpy()] = True
    return pa.array(mask), ids


def _totals(batch: pa.RecordBatch, _properties: Mapping[str, Any]) -> Broken:
    total = batch.column("total_tokens")
    return pc.not_equal(total, pc.add(batch.column("input_tokens"), batch.column("output_tokens"))), total


RELATIONS: dict[str, tuple[str, list[str], Callable[[pa.RecordBatch, Mapping[str, Any]], Broken]]] = {
    "blocks": ("len(hash_ids) is ceil(input_tokens / block_tokens)", ["hash_ids", "input_tokens"], _blocks),
    "ids": ("no id is negative", ["hash_ids"], _ids),
    "totals": (
        "total_tokens is input_tokens + output_tokens",
        ["total_tokens", "input_tokens", "output_tokens"],
        _totals,
    ),
}
