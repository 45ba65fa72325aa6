"""NVIDIA Dynamo's replay: sessions, whose turns wait for the answer before and add to its context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..dialect import MS, TIMED, Blocks, Dialect, Field
from ..rows import Rows
from .dynamo import RUN


def _turns(rows: Rows, sql: str) -> str:
    """Return a SELECT that adds to each turn what it adds to the turn before, if it goes on from there."""
    assert rows.blocks
    agent = "coalesce('/' || agent_id, '')" if "agent_id" in rows.has else "''"
    turns = "(PARTITION BY conversation ORDER BY us, request_id)"
    before = "lag(input_tokens) OVER turns AS input_before, lag(output_tokens) OVER turns AS output_before,"
    before += " lag(ids) OVER turns AS ids_before, lag(us) OVER turns AS us_before,"
    before += " lag(latency_us) OVER turns AS latency_before"
    whole = f"input_before // {rows.blocks.size}"
    goes_on = (
        "coalesce(session_id IS NOT NULL AND input_tokens > input_before + output_before"
        f" AND {whole} > 0 AND ids[1:{whole}] = ids_before[1:{whole}], false)"
    )
    new = "CASE WHEN goes_on THEN input_tokens - input_before - output_before ELSE input_tokens END"
    count = f"(new_tokens + {rows.blocks.size - 1}) // {rows.blocks.size}"
    think = "think_us" if "think_us" in rows.has else "NULL"
    delay = f"greatest(coalesce({think}, us - us_before - coalesce(latency_before, 0)), 0)"
    return (
        f"SELECT * REPLACE (conversation AS session_id), ids[len(ids) - {count} + 1:] AS new_ids,"
        f" CASE WHEN goes_on THEN ({delay} + 500) // 1000 END AS delay_ms"
        f" FROM (SELECT *, {new} AS new_tokens, sum(CAST(NOT goes_on AS INTEGER)) OVER"
        f" {turns[:-1]} ROWS UNBOUNDED PRECEDING) AS part FROM (SELECT *, {goes_on} AS goes_on FROM"
        f" (SELECT *, {before} FROM (SELECT *, session_id || {agent} AS conversation FROM ({sql}))"
        f" WINDOW turns AS {turns})))"
        " ORDER BY us, request_id"
    )


def _fields(rows: Rows) -> Mapping[str, Field]:
    session = "CASE WHEN part = 1 THEN session_id ELSE concat(session_id, '#', CAST(part AS BIGINT)) END"
    return {
        "input_length": Field("new_tokens"),
        "output_length": Field("output_tokens"),
        "hash_ids": Field("new_ids"),
        "timestamp": Field(f"CASE WHEN NOT goes_on THEN {MS} END", is_optional=True),
        "session_id": Field(f"CASE WHEN session_id IS NOT NULL THEN {session} END", is_text=True, is_optional=True),
        "delay": Field("delay_ms", is_optional=True),
    }


def _changes(rows: Rows) -> Iterable[str]:
    anew = sum(batch.column(0)[0].as_py() for batch in rows.batches("count(*) FILTER (NOT goes_on AND part > 1)"))
    if anew:
        yield f"{anew:,} turns do not continue the prompt and the answer before them: each begins a session, ID#2."
    if "latency_us" not in rows.has and "think_us" not in rows.has:
        yield "Latencies are not known: a turn waits as long after an answer as it came after the request before."


DIALECT = Dialect(
    name="dynamo-delta",
    tool="NVIDIA Dynamo 1.6.1, dynamo.replay",
    command=f"{RUN} trace_format='mooncake-delta', trace_block_size={{block}}))\" {{file}}",
    needs=(*TIMED, "session_id"),
    uses=("latency_us", "think_us", "agent_id"),
    ignores="models, and times of later turns: they start some time after the answer before",
    fields=_fields,
    reshape=_turns,
    changes=_changes,
    blocks=Blocks(),
    notes=(
        "A row has only what its turn adds; Dynamo puts the prompt together of the turns and answers before. Later"
        " turns have no timestamp but a delay after the answer before. Times are milliseconds.",
    ),
)
