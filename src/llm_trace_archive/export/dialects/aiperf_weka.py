"""Conversations as WEKA's traces have them, for AIPerf, inference-perf, GuideLLM and Dynamo."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import BadUse
from ...core.files import output, output_folder
from ..dialect import TOKENS, Blocks, Dialect, Field
from ..rows import Rows
from ..write import json_object
from .aiperf_mooncake import RUN, TOOL, manifest

_AGENT = {  # of a sub-agent: its fields, and the columns of WEKA's own trace
    "subagent_type": "agent_type",
    "status": "agent_status",
    "duration_ms": "agent_duration_us // 1000",
    "total_tokens": "agent_total_tokens",
    "tool_use_count": "agent_tool_uses",
    "tool_tokens": "agent_tool_tokens",
    "system_tokens": "agent_system_tokens",
}
_USED = ("arrival_us", "since_start_us", "think_us", "latency_us", "ttft_us", "model", "request_type", "agent_id")


def _seconds(us: str) -> str:
    return f"CAST(({us}) / 1e6 AS DECIMAL(18, 6))"


def _request(rows: Rows) -> dict[str, Field]:
    kind = "CASE WHEN request_type IN ('n', 's') THEN request_type WHEN ttft_us IS NULL THEN 'n' ELSE 's' END"
    fields = {
        "t": Field(_seconds("since_us")),
        "type": Field(f"({kind})", is_text=True),
        "model": Field("coalesce(model, 'unknown')", is_text=True),
        "in": Field("input_tokens"),
        "out": Field("output_tokens"),
        "api_time": Field(_seconds("latency_us"), is_optional=True),
        "ttft": Field(f"CASE WHEN ({kind}) = 's' THEN {_seconds('ttft_us')} END", is_optional=True),
    }
    if "think_us" in rows.has:
        fields["think_time"] = Field(_seconds("think_us"), is_optional=True)
    return fields | ({"hash_ids": Field("ids")} if rows.blocks else {})


def _conversations(rows: Rows) -> Iterator[str]:
    """Yield conversations as JSON, in the order of their first requests."""
    if not rows.has & {"arrival_us", "since_start_us"}:
        raise BadUse(", ".join(rows.table.names), "has no times for aiperf-weka", next="--arrivals poisson:RATE,SEED")
    columns = {"conversation": "conversation", "us": "since_us", "model": "coalesce(model, 'unknown')"}
    if has_agents := "agent_id" in rows.has:
        agent = {name: Field(sql, is_text="type" in name or name == "status", is_optional=True)
                 for name, sql in _AGENT.items()}  # fmt: skip
        agent = {"agent_id": Field("agent_id", is_text=True)} | agent
        columns |= {"agent": f"CASE WHEN agent_id IS NOT NULL THEN {json_object(agent)} END", "start": "agent_start_us"}
    columns["request"] = json_object(_request(rows))
    names = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    every = (each for batch in rows.batches(names) for each in batch.to_pylist())
    for conversation, requests in itertools.groupby(every, lambda row: row["conversation"]):
        yield _conversation(rows, conversation, list(requests), has_agents)


def _conversation(rows: Rows, name: str, requests: list[dict[str, Any]], has_agents: bool) -> str:
    entries = [(each["us"], each["request"]) for each in requests if not (has_agents and each["agent"])]
    for agent, calls in itertools.groupby(
        sorted((each for each in requests if has_agents and each["agent"]), key=lambda each: str(each["agent"])),
        lambda each: each["agent"],
    ):
        of_agent = sorted(calls, key=lambda each: int(each["us"]))
        start = of_agent[0]["us"] if of_agent[0]["start"] is None else of_agent[0]["start"]
        facts = {"t": start / 1e6, "type": "subagent", "subagent_type": "unknown", "status": "unknown"}
        facts |= json.loads(agent) | {"models": sorted({each["model"] for each in of_agent})}
        inner = ", ".join(each["request"] for each in of_agent)
        entries.append((start, f'{json.dumps(facts)[:-1]}, "requests": [{inner}]}}'))
    entries.sort(key=lambda entry: entry[0])
    head = {
        "id": name,
        "models": sorted({each["model"] for each in requests}),
        "block_size": rows.block or 64,
        "hash_id_scope": "local",
    }
    return f'{json.dumps(head)[:-1]}, "requests": [{", ".join(text for _, text in entries)}]}}\n'


def _by_conversation(rows: Rows, sql: str) -> str:
    """Return a SELECT that adds conversation and `since_us`, with the requests of a conversation one after another."""
    name = "coalesce(session_id, concat('request-', request_id))"
    since = "since_start_us" if "since_start_us" in rows.has else "arrival_us - min(arrival_us) OVER whole"
    ((changes, sessions),) = rows.table.fetch(
        "SELECT count(*) FILTER (session_id IS DISTINCT FROM before), count(DISTINCT session_id) FROM"
        f" (SELECT session_id, lag(session_id) OVER () AS before FROM ({rows.sql}))"
    )
    if "since_start_us" in rows.has and changes == sessions:
        return f"SELECT *, {name} AS conversation, {since} AS since_us FROM ({sql})"
    return (
        f"SELECT *, {since} AS since_us, min(request_id) OVER whole AS first_request"
        f" FROM (SELECT *, {name} AS conversation FROM ({sql}))"
        " WINDOW whole AS (PARTITION BY conversation) ORDER BY first_request, since_us, request_id"
    )


def _write(rows: Rows, path: Path) -> None:
    if path.suffix == ".jsonl":
        with output(path) as part, part.open("wb") as out:
            for text in _conversations(rows):
                out.write(text.encode())
        return
    with output_folder(path) as part:
        for number, text in enumerate(_conversations(rows)):
            (part / f"{number:06}.json").write_text(text, encoding="utf-8")


def _manifest(rows: Rows, file: str) -> dict[str, str]:
    return manifest("weka_trace", file)


DIALECT = Dialect(
    name="aiperf-weka",
    tool=f"{TOOL} and inference-perf 0.7.0 (a folder), GuideLLM 0.8.1 and NVIDIA Dynamo 1.6.1 (.jsonl)",
    command=f"{RUN} --custom-dataset-type weka_trace",
    needs=("session_id", *TOKENS),
    uses=_USED,
    ignores="when conversations begin: each has a clock of its own",
    formats=("", ".jsonl"),
    write=_write,
    reshape=_by_conversation,
    blocks=Blocks(is_required=False, one_size=True),
    beside=_manifest,
    least_output=0,
    notes=(
        "A folder has a file for each conversation; FILE.jsonl has one a line. in is the whole prompt of each request,"
        " as all four tools read it.",
    ),
)
