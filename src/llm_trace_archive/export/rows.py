"""Which requests a tool gets, on which clock, in which order, and with which blocks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..core.errors import BadUse
from ..core.sql import ROWS, quote, quote_name
from .blocks import Folding, Regrouping
from .dialect import Dialect, Field

if TYPE_CHECKING:
    import pyarrow as pa

    from ..workload.requests import Requests

FAILED = "failed"
MOST_ID = 1 << 44  # so that the ids of parts, at most 2**17 times as large, fit into 63 bits
REASONS = {  # why a request is left out: what a tool can't replay
    "arrival_us": "have no arrival",
    "input_tokens": "have no prompt: 0 or unknown input tokens",
    "output_tokens": "have no answer: 0 or unknown output tokens",
}
AT_ONCE, AT_ONCE_WITH_IDS = 1 << 15, 1 << 11  # rows of a batch


@dataclass(frozen=True)
class Wishes:
    """What a user may ask for.

    keep_failed  requests that failed are kept, with an answer as short as the tool takes
    mint         requests without ids get ids that they share with none
    arrivals     "poisson:RATE,SEED" for requests without arrivals
    block        another block size than the table's
    """

    keep_failed: bool = False
    mint: bool = False
    arrivals: str | None = None
    block: int | None = None


@dataclass(frozen=True)
class Rows:
    """Requests as a tool gets them.

    sql       a SELECT over the table that gives its columns and `us`, the time since the first request
    longest   tokens of the longest prompt with its answer; duration_us: from the first arrival to the last
    left_out  how many requests are left out, by reason
    changes   what else is not as in the table
    """

    table: Requests
    dialect: Dialect
    sql: str
    count: int
    input_tokens: int
    output_tokens: int
    longest: int
    duration_us: int
    has: frozenset[str]
    blocks: Regrouping | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    @property
    def block(self) -> int | None:
        """Tokens of a block as the tool gets it."""
        return self.blocks.size if self.blocks else None

    def batches(self, columns: str) -> Iterator[pa.RecordBatch]:
        """Yield columns, given as SQL over the dialect's rows and `ids`, in batches."""
        at_once = AT_ONCE_WITH_IDS if self.blocks else AT_ONCE
        complete = self.blocks.complete(self.sql) if self.blocks else self.sql
        if self.blocks is None or not self.blocks.folds:
            yield from self.table.tabulate(f"SELECT {columns} FROM ({self._reshape(complete)})", "").batches(at_once)
            return
        import duckdb
        import pyarrow as pa

        source = self.table.tabulate(complete, "")
        batches = self._folded(source.batches(at_once), Folding(self.blocks.per_group))
        first = next(batches)
        reader = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], batches))
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.register("folded", reader)
            rows = connection.sql(f"SELECT {columns} FROM ({self._reshape('SELECT * FROM folded')})")
            yield from rows.to_arrow_reader(at_once)

    def _reshape(self, sql: str) -> str:
        return self.dialect.reshape(self, sql) if self.dialect.reshape else sql

    @staticmethod
    def _folded(batches: Iterator[pa.RecordBatch], fold: Folding) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            at = batch.schema.get_field_index("ids")
            yield batch.set_column(at, "ids", fold(batch.column(at)))


def choose(table: Requests, dialect: Dialect, wishes: Wishes, others: Iterable[Dialect]) -> Rows:
    """Return the requests that a dialect can have.

    others  dialects to offer instead

    Raises BadUse if the table lacks what it needs, has several clocks, or has values that the tool does not take.
    """
    if not dialect.any_table:
        table.require_one_table(f"export to {dialect.name}")
    changes: list[str] = []
    if wishes.arrivals:
        table = _with_arrivals(table, wishes.arrivals, changes)
    has = _columns_with_values(table, dialect)
    missing = [each for each in dialect.needs if each not in has]
    must_have_ids = dialect.blocks is not None and dialect.blocks.is_required and not wishes.mint
    if must_have_ids and "hash_ids" not in has:
        missing.append("hash_ids")
    if missing:
        raise _refusal(table, dialect, missing, others)
    blocks = _blocks(table, dialect, wishes, has)
    reason = _reason(dialect, wishes.keep_failed)
    found = _measure(table, dialect, reason)
    kept = found.pop("", None)
    if kept is None:
        raise BadUse(", ".join(table.names), f"no request can be exported to {dialect.name}", of=table.chain,
                     left_out=_counts(found))  # fmt: skip
    if (dialect.has_arrivals or blocks) and kept["first_segment"] != kept["last_segment"]:
        first = kept["first_segment"]
        raise BadUse(
            ", ".join(table.names),
            "has several segments, each with a clock and a cache of its own, and a tool has one",
            next=f"llm-traces shape {' '.join(table.names)} --filter 'segment = {first}' -o one.parquet, then"
            f" llm-traces export one.parquet --to {dialect.name}",
        )
    columns = ["*"]
    order = ""
    if dialect.has_arrivals:
        columns.append(f"arrival_us - {kept['first']} AS us")
        if kept["goes_back"]:
            order = " ORDER BY arrival_us, request_id"
            changes.append("Requests are in order of arrival, which is not that of the table.")
        if kept["first"]:
            changes.append(f"The first request arrives at 0; in the table, at {kept['first'] / 1e6:,.6f} s.")
    raised = {
        each: f"greatest(coalesce({each}, 0), {least})"
        for each, least in _least(dialect).items()
        if wishes.keep_failed and kept[f"low_{each}"]
    }
    changes += [f"{each} is raised to {_least(dialect)[each]} where a request failed: {kept[f'low_{each}']:,}."
                for each in raised]  # fmt: skip
    if raised:
        columns[0] = f"* REPLACE ({', '.join(f'{sql} AS {each}' for each, sql in raised.items())})"
    sql = f"SELECT {', '.join(columns)} FROM {ROWS} WHERE {reason} = ''{order}"
    duration = kept["last"] - kept["first"] if dialect.has_arrivals else 0
    sums = kept["count"], kept["input"], kept["output"], kept["longest"], duration
    rows = Rows(table, dialect, sql, *sums, has, blocks)
    _check_limits(rows)
    changes += _changes_of_blocks(rows)
    if dialect.changes:
        changes += dialect.changes(rows)
    if dialect.has_arrivals and not wishes.arrivals:
        changes += [f"Arrivals of {each.workload} are {each.arrivals}." for each in table.source.origins
                    if each.arrivals != "measured"]  # fmt: skip
    return replace(rows, left_out={name: each["count"] for name, each in found.items()}, changes=tuple(changes))


def _columns_with_values(table: Requests, dialect: Dialect) -> frozenset[str]:
    """Return which of the columns that the dialect needs or uses have a value."""
    wanted = {*dialect.needs, *dialect.uses, *(("hash_ids",) if dialect.blocks else ())}
    return _with_values(table, wanted)


def _with_values(table: Requests, columns: Iterable[str]) -> frozenset[str]:
    there = sorted(set(columns) & set(table.schema.names))
    if not there:
        return frozenset()
    (counts,) = table.fetch(f"SELECT {', '.join(f'count({quote_name(each)})' for each in there)} FROM {ROWS}")
    return frozenset(each for each, count in zip(there, counts, strict=True) if count)


def _refusal(table: Requests, dialect: Dialect, missing: list[str], others: Iterable[Dialect]) -> BadUse:
    """Return an error that names the columns that are missing, and the dialects that do without."""
    others = list(others)
    has = _with_values(table, {name for each in others for name in each.needs} | {"hash_ids"})
    would_do = [
        each.name
        for each in others
        if set(each.needs) <= has and not (each.blocks and each.blocks.is_required and "hash_ids" not in has)
    ]
    hint = ""
    if missing == ["arrival_us"]:
        hint = "--arrivals poisson:RATE,SEED draws arrivals, so many a second"
    if missing == ["hash_ids"]:
        hint = "--mint-unique-blocks gives ids that no two requests share"
    return BadUse(
        ", ".join(table.names),
        f"can't be exported to {dialect.name}: no request has {', '.join(missing)}",
        these_would_do=", ".join(would_do),
        next=hint,
    )


# -- arrivals ----------------------------------------------------------------------------------------------------------


def _with_arrivals(table: Requests, wish: str, changes: list[str]) -> Requests:
    """Return the table with arrivals drawn at random. Raises BadUse if it has some, or for a wish that is none."""
    match = re.fullmatch(r"poisson:([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)(?:,([0-9]+))?", wish)
    if not match or not float(match[1]):
        raise BadUse("--arrivals", f"'{wish}' is no process of arrivals", expected="poisson:RATE,SEED: poisson:2.5,7")
    if "arrival_us" in _with_values(table, ["arrival_us"]):
        raise BadUse("--arrivals", f"{', '.join(table.names)} has arrivals", next="leave it out")
    rate, seed = float(match[1]), int(match[2] or 0)
    uniform = f"(md5_number_lower(concat({quote(f'{seed}:')}, request_id)) >> 11) / 9007199254740992"
    gaps = f"CAST(round(-ln(1 - {uniform}) * {1e6 / rate!r}) AS BIGINT)"
    sums = f"CAST(sum({gaps}) OVER (ORDER BY request_id ROWS UNBOUNDED PRECEDING) AS BIGINT)"
    if "since_start_us" in _with_values(table, ["since_start_us"]):
        changes.append(f"Arrivals are synthetic: sessions begin as a Poisson process of {rate:g}/s, seed {seed};"
                       " within them, times are the recorded ones.")  # fmt: skip
        begins = f"SELECT session_id, min(request_id) AS request_id FROM {ROWS} GROUP BY session_id"
        return table.derive(
            f"SELECT {ROWS}.* REPLACE (begin_us + since_start_us AS arrival_us) FROM {ROWS} JOIN"
            f" (SELECT session_id, {sums} AS begin_us FROM ({begins})) USING (session_id) ORDER BY request_id",
            "",
        )
    changes.append(f"Arrivals are synthetic: a Poisson process of {rate:g}/s, seed {seed}.")
    return table.derive(f"SELECT * REPLACE ({sums} AS arrival_us) FROM {ROWS} ORDER BY request_id", "")


# -- which requests ----------------------------------------------------------------------------------------------------


def _least(dialect: Dialect) -> dict[str, int]:
    least = {"input_tokens": 1, "output_tokens": dialect.least_output}
    return {each: least[each] for each in dialect.needs if each in least}


def _reason(dialect: Dialect, keep_failed: bool) -> str:
    """Return SQL: why a request is left out, empty if it is not."""
    cases = [] if keep_failed or dialect.any_table else [f"WHEN failed THEN '{FAILED}'"]
    if dialect.has_arrivals:
        cases.append("WHEN arrival_us IS NULL THEN 'arrival_us'")
    for column, least in _least(dialect).items():
        or_failed = "NOT coalesce(failed, false) AND " if keep_failed else ""
        cases.append(f"WHEN {or_failed}coalesce({column}, -1) < {least} THEN '{column}'")
    return f"(CASE {' '.join(cases)} ELSE '' END)" if cases else "''"


def _measure(table: Requests, dialect: Dialect, reason: str) -> dict[str, dict[str, Any]]:
    """Return by the reason why requests are left out what they are; those that stay under an empty reason."""
    low = {f"low_{each}": f"count(*) FILTER (coalesce({each}, 0) < {least})" for each, least in _least(dialect).items()}
    latest = "max(arrival_us) OVER (ROWS UNBOUNDED PRECEDING)"  # which streams
    back = f"arrival_us < {latest}" if dialect.has_arrivals else "false"
    asked = {
        "count": "count(*)",
        "input": "coalesce(sum(input_tokens), 0)",
        "output": "coalesce(sum(output_tokens), 0)",
        "longest": "coalesce(max(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0)",
        "first": "min(arrival_us)",
        "last": "max(arrival_us)",
        "goes_back": "coalesce(bool_or(back), false)",
        "first_segment": "min(segment)",
        "last_segment": "max(segment)",
        **low,
    }
    rows = table.fetch(
        f"SELECT reason, {', '.join(asked.values())} FROM"
        f" (SELECT *, {reason} AS reason, {back} AS back FROM {ROWS}) GROUP BY reason"
    )
    return {reason: dict(zip(asked, map(_number, values), strict=True)) for reason, *values in rows}


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, bool) else int(value)


def _counts(left_out: Mapping[str, Mapping[str, int]]) -> str:
    return ", ".join(f"{each['count']:,} {explain(reason)}" for reason, each in left_out.items())


def explain(reason: str) -> str:
    """Return why requests are left out, as people read it."""
    return "failed" if reason == FAILED else REASONS[reason]


def _check_limits(rows: Rows) -> None:
    """Raise BadUse that names the first row with a value that the tool does not take."""
    for column, most in rows.dialect.limits.items():
        found = rows.table.fetch(
            f"SELECT request_id, {column} FROM ({rows.sql}) WHERE {column} > {most} ORDER BY request_id LIMIT 1"
        )
        for request_id, value in found:
            raise BadUse(
                ", ".join(rows.table.names),
                f"can't be exported to {rows.dialect.name}: it takes a {column} of {most:,} at most",
                got=f"{value:,} in request {request_id}",
                next=f"leave such requests out: llm-traces shape {' '.join(rows.table.names)}"
                f" --filter '{column} <= {most}' -o mine.parquet"
                if column in rows.table.schema.names
                else "",
            )


# -- blocks ------------------------------------------------------------------------------------------------------------


def _blocks(table: Requests, dialect: Dialect, wishes: Wishes, has: frozenset[str]) -> Regrouping | None:
    """Return how the blocks become those of the tool; None if it gets none. Raises BadUse if they can't."""
    wanted = dialect.blocks
    if wishes.block is not None and (wanted is None or wishes.block < 1):
        reason = "takes no blocks" if wanted is None else "needs at least 1 token"
        raise BadUse("--block-size", f"{dialect.name} {reason}", got=str(wishes.block))
    if wanted is None:
        return None
    if wanted.size and wishes.block not in (None, wanted.size):
        raise BadUse("--block-size", f"{dialect.name} has blocks of {wanted.size} tokens only", got=str(wishes.block))
    if "hash_ids" not in has:
        if wishes.mint:
            return Regrouping(None, -1, wanted.size or wishes.block or 512)
        return None
    if wishes.mint:
        raise BadUse("--mint-unique-blocks", f"{', '.join(table.names)} has ids of its own", next="leave it out")
    sizes = [each for (each,) in table.fetch(f"SELECT DISTINCT block_tokens FROM {ROWS} WHERE hash_ids IS NOT NULL")]
    size = wanted.size or wishes.block or sizes[0]
    has_sizes = f"has blocks of {' and '.join(map(str, sorted(sizes)))} tokens"
    if len(sizes) > 1:
        raise BadUse(", ".join(table.names), f"{has_sizes}, and a tool has one size", next="export each by itself")
    if max(size, sizes[0]) % min(size, sizes[0]):
        raise BadUse(
            ", ".join(table.names),
            f"{has_sizes}, which give no blocks of {size}",
            next="" if wanted.size else "give a multiple of it: --block-size",
        )
    ((largest,),) = table.fetch(f"SELECT max(list_max(hash_ids)) FROM {ROWS}")
    if largest is not None and largest > MOST_ID:
        raise BadUse(
            ", ".join(table.names), f"has the block id {largest:,}; the largest that can be exported is {MOST_ID:,}"
        )
    return Regrouping(sizes[0], -1 if largest is None else largest, size, wanted.one_size, wanted.is_tree)


def _changes_of_blocks(rows: Rows) -> Iterator[str]:
    blocks = rows.blocks
    if rows.dialect.blocks and blocks is None:
        yield "There are no prefix blocks: no request shares anything."
    if blocks is None:
        return
    missing = f"{blocks.needed} - len({blocks.known})"
    ((short,),) = rows.table.fetch(f"SELECT count(*) FROM ({rows.sql}) WHERE {missing} > 0")
    if blocks.own is None:
        yield f"Block ids are minted: no two requests share any of these blocks of {blocks.size} tokens."
        return
    if blocks.per_group > 1:
        yield f"Blocks of {blocks.own} tokens are put together to blocks of {blocks.size}, which share less."
    if blocks.size < blocks.own:
        yield f"Blocks of {blocks.own} tokens are split into blocks of {blocks.size}, which share no more than before."
    if blocks.has_sizes:
        yield "A block at the end of a prompt that is not whole has another id than whole blocks have."
    if blocks.folds:
        yield "An id stands for its block and all before it."
    if short:
        yield f"{short:,} requests have ids for a part of their prompt only; the rest has ids of its own."


def fields_of(rows: Rows) -> Mapping[str, Field]:
    """Return the fields of a dialect's rows."""
    assert rows.dialect.fields is not None
    return rows.dialect.fields(rows)
