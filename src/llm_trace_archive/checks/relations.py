"""Relations between the columns of a table, as its recipe states them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import Numbers, lists_with, to_mask
from ..columns.keys import Hashes, Keys, hash_column, hash_columns, look_up, number_rows, repeated_rows
from ..core.table import Table
from .keys import count_rows
from .result import Result
from .rows import first_rows

NO_PARENT = -1
Broken: TypeAlias = tuple[pa.Array, pa.Array]  # which rows break a relation, and the values to show of them


def check_relations(names: Sequence[str], table: Table, properties: Mapping[str, Any], source: str) -> Iterator[Result]:
    """Check each relation by name: the number of rows that break it, and the first of them."""
    for name in names:
        statement, columns, *_ = BETWEEN_ROWS[name] if name in BETWEEN_ROWS else WITHIN_ROWS[name]
        missing = [f"no column '{column}'" for column in columns if column not in table.names]
        if name == "blocks" and "block_tokens" not in properties:
            missing.append("no block_tokens in [properties]")
        if missing:
            yield Result("relations", f"{name}: {statement}", 0, 0, ", ".join(missing), source)
            continue
        if name in BETWEEN_ROWS:
            find = BETWEEN_ROWS[name][2]
            count, rows = count_rows(table, columns[0], find(table))
            yield Result("relations", f"{name}: {statement}", 0, 0, count, source, columns[0], rows)
            continue
        find_in = WITHIN_ROWS[name][2]
        count, rows = 0, ()
        for start, batch in table.groups(columns):
            mask, values = find_in(batch, properties)
            count += pc.sum(mask).as_py() or 0
            rows = first_rows(mask, values, start, rows)
        yield Result("relations", f"{name}: {statement}", 0, 0, count, source, columns[0], rows)


# -- within a row ------------------------------------------------------------------------------------------------------


def _blocks(batch: pa.RecordBatch, properties: Mapping[str, Any]) -> Broken:
    size = properties["block_tokens"]
    expected = pc.divide(pc.add(batch.column("input_tokens"), size - 1), size)
    lengths = pc.list_value_length(batch.column("hash_ids"))
    return pc.fill_null(pc.not_equal(lengths, expected), True), lengths


def _ids(batch: pa.RecordBatch, _properties: Mapping[str, Any]) -> Broken:
    ids = batch.column("hash_ids")
    return pa.array(lists_with(ids, to_mask(pc.less(pc.list_flatten(ids), 0)))), ids


def _totals(batch: pa.RecordBatch, _properties: Mapping[str, Any]) -> Broken:
    total = batch.column("total_tokens")
    return pc.not_equal(total, pc.add(batch.column("input_tokens"), batch.column("output_tokens"))), total


# -- between rows ------------------------------------------------------------------------------------------------------


def _turns(table: Table) -> Iterator[Numbers]:
    """Yield rows of a session without a turn, with the turn of a row before, and with a turn that follows no other."""
    session = [name for name in ("segment", "session_id") if name in table.names]

    def groups() -> Iterator[tuple[int, list[pa.Array], pa.Array, pa.Array]]:
        for start, batch in table.groups([*session, "turn"]):
            columns = [batch.column(name) for name in session]
            yield start, columns, batch.column("turn"), batch.column("session_id").is_valid()

    def turns() -> Iterator[Keys]:
        for start, columns, turn, in_session in groups():
            yield number_rows(start, [*columns, turn], to_mask(pc.and_(in_session, turn.is_valid())))

    def previous_turns() -> Iterator[Keys]:
        for start, columns, turn, in_session in groups():
            mask = to_mask(pc.and_(in_session, pc.greater(turn, 1)))
            yield number_rows(start, [*columns, pc.subtract(turn, 1)], mask)

    for start, _, turn, in_session in groups():
        yield start + np.flatnonzero(to_mask(pc.and_(in_session, turn.is_null())))
    yield from repeated_rows(turns, table.rows)
    for rows, matches in look_up(turns, previous_turns, table.rows):
        yield rows.rows[matches.rows < 0]


def _parents(table: Table) -> Iterator[Numbers]:
    """Yield rows whose parent is not a row before in their session, and rows whose session is not named by its root."""

    def groups() -> Iterator[tuple[int, pa.Array, pa.Array, pa.Array]]:
        for start, batch in table.groups(["chat_id", "parent_chat_id", "session_id"]):
            yield start, *batch.columns

    def chats() -> Iterator[Keys]:
        for start, chat, _, session in groups():
            yield number_rows(start, [chat], others=_hash(session))

    def parents() -> Iterator[Keys]:
        for start, _, parent, session in groups():
            yield number_rows(start, [parent], to_mask(pc.not_equal(parent, NO_PARENT)), _hash(session))

    for start, chat, parent, session in groups():
        differs = pc.fill_null(pc.not_equal(session, pc.cast(chat, pa.string())), True)
        yield start + np.flatnonzero(to_mask(pc.fill_null(pc.and_(differs, pc.equal(parent, NO_PARENT)), True)))
    for children, found in look_up(chats, parents, table.rows):
        outside = found.rows < 0
        broken = ~outside & ((found.rows >= children.rows) | (found.others != children.others))
        # The hash of a whole number is the number.
        roots = pc.cast(pa.array(children.hashes[outside].view(np.int64)), pa.string())
        broken[outside] = _hash(roots) != children.others[outside]
        yield children.rows[broken]


def _hash(column: pa.Array) -> Hashes:
    return hash_columns([hash_column(column)])[0]


WITHIN_ROWS: dict[str, tuple[str, list[str], Callable[[pa.RecordBatch, Mapping[str, Any]], Broken]]] = {
    "blocks": ("len(hash_ids) is ceil(input_tokens / block_tokens)", ["hash_ids", "input_tokens"], _blocks),
    "ids": ("no id is negative", ["hash_ids"], _ids),
    "totals": (
        "total_tokens is input_tokens + output_tokens",
        ["total_tokens", "input_tokens", "output_tokens"],
        _totals,
    ),
}
# The first column is the one to show of the rows that break it.
BETWEEN_ROWS: dict[str, tuple[str, list[str], Callable[[Table], Iterator[Numbers]]]] = {
    "turns": ("the turns of a session are 1 to n, each once", ["turn", "session_id"], _turns),
    "parents": (
        "a parent is a row before in the same session; one outside the table names the session",
        ["parent_chat_id", "chat_id", "session_id"],
        _parents,
    ),
}
