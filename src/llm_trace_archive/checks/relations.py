"""Relations between the columns of a table, as its recipe says they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..core.table import Table
from .keys import Keys, Numbers, hashed, lookup, of_rows, offenders, repeated
from .result import Result, first_rows

NO_PARENT = -1
Broken = tuple[pa.Array, pa.Array]


def relations(names: Sequence[str], table: Table, properties: Mapping[str, Any], source: str) -> Iterator[Result]:
    """Each relation by name, with the number of rows that break it and the first of them."""
    for name in names:
        if name in LINKS:
            told, column, found = LINKS[name]
            count, rows = offenders(table, column, found(table))
            yield Result("relations", f"{name}: {told}", 0, 0, count, source, column, rows)
            continue
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


def _turns(table: Table) -> Iterator[Numbers]:
    """Rows without a turn, those whose turn a row before has, and those whose turn follows none."""
    session = [name for name in ("segment", "session_id") if name in table.names]

    def groups() -> Iterator[tuple[int, list[pa.Array], pa.Array, pa.Array]]:
        for start, batch in table.groups([*session, "turn"]):
            turn = batch.column("turn")
            yield start, [batch.column(name) for name in session], turn, batch.column("session_id").is_valid()

    def own() -> Iterator[Keys]:
        for start, columns, turn, mask in groups():
            yield of_rows(start, [*columns, turn], _mask(pc.and_(mask, turn.is_valid())))

    def before() -> Iterator[Keys]:
        for start, columns, turn, mask in groups():
            yield of_rows(start, [*columns, pc.subtract(turn, 1)], _mask(pc.and_(mask, pc.greater(turn, 1))))

    for start, _, turn, mask in groups():
        yield start + np.flatnonzero(_mask(pc.and_(mask, turn.is_null())))
    yield from repeated(own, table.rows)
    for turns, found in lookup(own, before, table.rows):
        yield turns.rows[found.rows < 0]


def _parents(table: Table) -> Iterator[Numbers]:
    """Rows whose parent does not stand before them in their session, or whose session is not told by their root."""

    def groups() -> Iterator[tuple[int, pa.Array, pa.Array, pa.Array]]:
        for start, batch in table.groups(["chat_id", "parent_chat_id", "session_id"]):
            yield start, *batch.columns

    def chats() -> Iterator[Keys]:
        for start, chat, _, session in groups():
            yield of_rows(start, [chat], others=hashed([session])[0])

    def parents() -> Iterator[Keys]:
        for start, _, parent, session in groups():
            yield of_rows(start, [parent], _mask(pc.not_equal(parent, NO_PARENT)), hashed([session])[0])

    for start, chat, parent, session in groups():
        other = pc.fill_null(pc.not_equal(session, pc.cast(chat, pa.string())), True)
        yield start + np.flatnonzero(_mask(pc.fill_null(pc.and_(other, pc.equal(parent, NO_PARENT)), True)))
    for named, found in lookup(chats, parents, table.rows):
        outside = found.rows < 0
        broken = ~outside & ((found.rows >= named.rows) | (found.others != named.others))
        # The hash of a whole number is the number.
        absent = pc.cast(pa.array(named.hashes[outside].view(np.int64)), pa.string())
        broken[outside] = hashed([absent])[0] != named.others[outside]
        yield named.rows[broken]


def _mask(values: pa.Array) -> Any:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


# Relations between rows: what they say, the column they are about, and the rows that break them.
LINKS: dict[str, tuple[str, str, Callable[[Table], Iterator[Numbers]]]] = {
    "turns": ("the turns of a session are 1 to n, each once", "turn", _turns),
    "parents": (
        "a parent is a row before in the same session; one outside the table names the session",
        "parent_chat_id",
        _parents,
    ),
}
RELATIONS: dict[str, tuple[str, list[str], Callable[[pa.RecordBatch, Mapping[str, Any]], Broken]]] = {
    "blocks": ("len(hash_ids) is ceil(input_tokens / block_tokens)", ["hash_ids", "input_tokens"], _blocks),
    "ids": ("no id is negative", ["hash_ids"], _ids),
    "totals": (
        "total_tokens is input_tokens + output_tokens",
        ["total_tokens", "input_tokens", "output_tokens"],
        _totals,
    ),
}
