"""WEKA's sessions of a coding agent: one file per session, a compact JSON object with its requests in order.

Each request is a row, in the order of the document. Its fields are the session's own, such as `id`; the request's,
`requests.*`; and those of the sub-agent that made it, `subagent.*`, which are null in the session's own conversation. A
sub-agent is an entry among the requests, where it was started, and contains its own requests.

In the file, `t` of a sub-agent's request counts from the sub-agent's start. Our `requests.t` always counts from the
session's start: docs/tutorials/weka-trace.md of https://github.com/ai-dynamo/aiperf describes both conventions.

The session's `totals` are not fields, because they are sums over its requests. If they differ, the layout keeps them.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...core.recipe import UpstreamFile, Workload
from .layout import FieldTexts, Layout, OpenFile, check_fields

Object = dict[str, Any]


class Kind(NamedTuple):
    """What a member's value must be; `type` is None for members that are not fields."""

    what: str
    type: pa.DataType | None
    fits: Callable[[Any], bool]


KINDS = {
    "text": Kind("a string", pa.string(), lambda value: type(value) is str),
    "texts": Kind(
        "a list of strings", pa.list_(pa.string()), lambda value: type(value) is list and {*map(type, value)} <= {str}
    ),
    "whole": Kind("an integer", pa.int64(), lambda value: type(value) is int and abs(value) < 2**63),
    "float": Kind("a number with decimals", pa.float64(), lambda value: type(value) is float and math.isfinite(value)),
    "ids": Kind(
        "a list of integers",
        pa.list_(pa.int64()),
        lambda value: type(value) is list and {*map(type, value)} <= {int},
    ),
    "requests": Kind("a non-empty list of requests", None, lambda value: type(value) is list and len(value) > 0),
    "totals": Kind("an object", None, lambda value: type(value) is dict),
    "subagent": Kind("'subagent'", None, lambda value: value == "subagent"),
}
# The members of each kind of object, in the order of the file.
MEMBERS = {
    "": {
        "id": "text",
        "models": "texts",
        "block_size": "whole",
        "hash_id_scope": "text",
        "tool_tokens": "whole",
        "system_tokens": "whole",
        "requests": "requests",
        "totals": "totals",
    },
    "requests.": {
        "t": "float",
        "type": "text",
        "model": "text",
        "in": "whole",
        "out": "whole",
        "hash_ids": "ids",
        "input_types": "texts",
        "output_types": "texts",
        "stop": "text",
        "api_time": "float",
        "ttft": "float",
        "think_time": "float",
    },
    "subagent.": {
        "t": "float",
        "type": "subagent",
        "agent_id": "text",
        "subagent_type": "text",
        "duration_ms": "whole",
        "total_tokens": "whole",
        "tool_use_count": "whole",
        "status": "text",
        "requests": "requests",
        "models": "texts",
        "tool_tokens": "whole",
        "system_tokens": "whole",
    },
}
OPTIONAL = {"requests.api_time", "requests.ttft", "requests.think_time"}
NULLABLE = {"subagent.duration_ms", "subagent.total_tokens", "subagent.tool_use_count"}
FIELDS = {
    f"{of}{key}": KINDS[kind] for of, members in MEMBERS.items() for key, kind in members.items() if KINDS[kind].type
}


class _Unexpected(Exception):
    """Three strings: where in the document, what was expected, what came."""


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout, the same for every file. Raises BadUpstream if the recipe does not map the format's fields."""
    check_fields(workload, file, list(FIELDS))
    floats = [name for name, kind in FIELDS.items() if kind is KINDS["float"]]
    return Layout("weka", spelling=dict.fromkeys(floats, "float"))


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield one batch with a row for each request. Raises BadUpstream that names the first unexpected member."""
    content = source.stream.read()
    try:
        session = json.loads(content)
        rows = list(_rows(session))
        columns = [pa.array(values, FIELDS[name].type) for name, values in _columns(session, rows)]
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(error.doc) - 1 or error.msg.startswith("Unterminated")
        cut = "  (the file ends within it)" if is_cut else ""
        where = f"character {error.pos + 1:,}{cut}"
        raise source.error("can't be read as JSON", where=where, reason=error.msg) from None
    except _Unexpected as unexpected:
        where, expected, got = unexpected.args
        raise source.error("is not a valid session", where=where, expected=expected, got=got) from None
    except (OverflowError, pa.ArrowInvalid) as error:
        raise source.error("has numbers beyond 64 bits", reason=str(error)[:200]) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise source.error("can't be read as JSON", reason=reason) from None
    totals = _compact(session["totals"])
    if totals != _compact(_totals((agent, each["in"], each["out"]) for agent, each in rows)):
        source.layout.tail = totals
    yield pa.RecordBatch.from_arrays(columns, names=list(FIELDS))


def _rows(session: Any) -> Iterator[tuple[Object | None, Object]]:
    """Yield each request with its sub-agent, or with None."""
    for n, each in enumerate(_checked(session, "", "the file")["requests"]):
        where = f"requests[{n}]"
        if not _is_agent(each):
            yield None, _checked(each, "requests.", where)
            continue
        agent = _checked(each, "subagent.", where)
        for m, request in enumerate(agent["requests"]):
            inner = f"{where}.requests[{m}]"
            if _is_agent(request):
                raise _Unexpected(inner, "a request: sub-agents don't start sub-agents", "a sub-agent")
            yield agent, _checked(request, "requests.", inner)


def _is_agent(value: Any) -> bool:
    return type(value) is dict and value.get("type") == "subagent"


def _checked(value: Any, of: str, where: str) -> Object:
    """Return the object. Raises _Unexpected unless its members have the right names, order and kinds."""
    if type(value) is not dict:
        raise _Unexpected(where, "an object", _shown(value))
    keys = [key for key in MEMBERS[of] if key in value or of + key not in OPTIONAL]
    if list(value) != keys:
        raise _Unexpected(where, f"keys {', '.join(keys)}", f"keys {', '.join(value)}"[:500])
    for key, kind in MEMBERS[of].items():
        if key not in value or KINDS[kind].fits(value[key]) or (value[key] is None and of + key in NULLABLE):
            continue
        raise _Unexpected(f"{where}, key '{key}'", KINDS[kind].what, _shown(value[key]))
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."


def _columns(session: Object, rows: list[tuple[Object | None, Object]]) -> Iterator[tuple[str, list[Any]]]:
    for name in FIELDS:
        of, _, key = name.rpartition(".")
        if name == "requests.t":
            yield name, [each["t"] if agent is None else round(agent["t"] + each["t"], 6) for agent, each in rows]
        elif of == "requests":
            yield name, [each.get(key) for _, each in rows]
        elif of == "subagent":
            yield name, [agent and agent[key] for agent, _ in rows]
        else:
            yield name, [session[key]] * len(rows)


def _totals(requests: Iterable[tuple[Any, int, int]]) -> Object:
    """Return the session's totals, from (sub-agent or None, input tokens, output tokens) of each request."""
    sums = {False: [0, 0], True: [0, 0]}
    agents = 0
    for agent, group in itertools.groupby(requests, key=lambda each: each[0]):
        agents += agent is not None
        for _, tokens_in, tokens_out in group:
            sums[agent is not None][0] += tokens_in
            sums[agent is not None][1] += tokens_out
    own, others = sums[False], sums[True]
    both = [own[0] + others[0], own[1] + others[1]]
    named = {"parent_tokens": own, "subagent_tokens": others, "combined_tokens": both}
    totals: Object = {name: {"input": tokens[0], "output": tokens[1]} for name, tokens in named.items()}
    return totals | {"subagent_count": agents}


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# -- writing ----------------------------------------------------------------------------------------------------------

Row = dict[str, str]  # JSON of each field; empty if it has no value


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Yield the file's bytes from the text of its fields."""
    rows = [row for columns, _ in texts for row in _json_rows(columns)]
    parts = []
    for agent, group in itertools.groupby(rows, key=_agent):
        own = list(group)
        if agent is None:
            parts += [_object("requests.", row) for row in own]
            continue
        for row in own:
            row["requests.t"] = repr(round(float(row["requests.t"]) - float(row["subagent.t"]), 6))
        requests = ",".join(_object("requests.", row) for row in own)
        parts.append(_object("subagent.", own[0], type='"subagent"', requests=f"[{requests}]"))
    totals = _totals((_agent(row), int(row["requests.in"]), int(row["requests.out"])) for row in rows)
    yield _object("", rows[0], requests=f"[{','.join(parts)}]", totals=layout.tail or _compact(totals)).encode()


def _agent(row: Row) -> str | None:
    return row["subagent.agent_id"] or None


def _object(of: str, row: Row, **others: str) -> str:
    """Return an object with the members that have a value; `others` are the members that are not fields."""
    texts = ((key, others[key] if key in others else row[of + key] or _none(of + key)) for key in MEMBERS[of])
    return "{" + ",".join(f'"{key}":{text}' for key, text in texts if text) + "}"


def _none(name: str) -> str:
    return "null" if name in NULLABLE else "" if name in OPTIONAL else '""'


def _json_rows(columns: Mapping[str, pa.Array]) -> Iterator[Row]:
    values = [_json(kind, columns[name]) for name, kind in FIELDS.items()]
    return (dict(zip(FIELDS, row, strict=True)) for row in zip(*values, strict=True))


def _json(kind: Kind, column: pa.Array) -> list[str]:
    if kind is KINDS["ids"]:
        column = pc.replace_substring(column, ", ", ",")
    texts: list[str] = pc.fill_null(column, "").to_pylist()
    if kind is KINDS["text"]:
        return [text and _quoted(text) for text in texts]
    return [text and _repacked(text) for text in texts] if kind is KINDS["texts"] else texts


@lru_cache
def _quoted(text: str) -> str:
    return json.dumps(text)


@lru_cache
def _repacked(text: str) -> str:
    return _compact(json.loads(text))
