"""WEKA's sessions of a coding agent: JSON objects with their requests in order, one per file or one per line.

Each request is a row, in the order of the document. Its fields are the session's own, such as `id`; the request's,
`requests.*`; and those of the sub-agent that made it, `subagent.*`, which are null in the session's own conversation. A
sub-agent is an entry among the requests, where it was started, and contains its own requests.

In the format weka, `t` of a sub-agent's request counts from the sub-agent's start; in weka-session-times, from the
session's. Our `requests.t` always counts from the session's start: docs/tutorials/weka-trace.md of
https://github.com/ai-dynamo/aiperf describes both conventions.

The session's `totals` are not fields, because they are sums over its requests. If they differ, the layout keeps them.

Several programs write such files. What a recipe does not map must be absent. The layout keeps how a document is set
out, the order of its members, and how a missing value is written: all objects of a file must agree on it.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ...core.recipe import UpstreamFile, Workload
from .layout import FieldTexts, KeyOrder, Layout, OpenFile, check_fields

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
ABSENT, NULL, EMPTY = "absent", "null", '""'
# How a value that is missing is written, unless the layout says otherwise.
_MISSING = {
    **dict.fromkeys(("requests.api_time", "requests.ttft", "requests.think_time"), ABSENT),
    **dict.fromkeys(("subagent.duration_ms", "subagent.total_tokens", "subagent.tool_use_count", "totals"), NULL),
}
FIELDS = {
    f"{of}{key}": KINDS[kind] for of, members in MEMBERS.items() for key, kind in members.items() if KINDS[kind].type
}
# What a recipe need not map, since not every upstream has it.
_LEFT_OUT = {*_MISSING, *(name for name in FIELDS if name.startswith("subagent.")), "tool_tokens", "system_tokens"}
_LEFT_OUT |= {"requests.stop", "requests.input_types", "requests.output_types"}
_IDENTIFIES = {"subagent.agent_id", "subagent.t"}


class _Unexpected(Exception):
    """Three strings: where in the document, what was expected, what came."""


class _Style(NamedTuple):
    """How a document is set out: as json.dumps does with these separators and this indent."""

    name: str
    item: str
    key: str
    indent: int = 0

    def enclose(self, brackets: str, parts: list[str], depth: int) -> str:
        """Return the text of an object or a list at this depth, from 0, whose parts are text already."""
        if not self.indent or not parts:
            return brackets[0] + self.item.join(parts) + brackets[1]
        outer = "\n" + " " * self.indent * depth
        inner = outer + " " * self.indent
        return brackets[0] + inner + f",{inner}".join(parts) + outer + brackets[1]

    def dump(self, value: Any, depth: int) -> str:
        """Return the text of any value at this depth."""
        if isinstance(value, dict):
            parts = [f"{json.dumps(key)}{self.key}{self.dump(each, depth + 1)}" for key, each in value.items()]
            return self.enclose("{}", parts, depth)
        if isinstance(value, list):
            return self.enclose("[]", [self.dump(each, depth + 1) for each in value], depth)
        return json.dumps(value)


def _style(name: str) -> _Style:
    """Return the style of that name: empty, "spaced", or the number of spaces of an indent."""
    if name.isdigit():
        return _Style(name, ",", ": ", int(name))
    return _Style(name, ", ", ": ") if name == "spaced" else _Style(name, ",", ":")


def _style_of(text: str) -> _Style:
    """Return the style that a document's first characters show."""
    found = re.match(r'\{(?:\n( +))?"[^"]*":( ?)', text)
    if found and found[1]:
        return _style(str(len(found[1])))
    return _style("spaced" if found and found[2] else "")


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout; reading completes it. Raises BadUpstream if the recipe does not map the format's fields."""
    check_fields(workload, file, [name for name in FIELDS if name in file.fields or name not in _LEFT_OUT])
    floats = [name for name, kind in FIELDS.items() if kind is KINDS["float"] and name in file.fields]
    return Layout(workload.format, spelling=dict.fromkeys(floats, "float"))


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield one batch per session, with a row for each request. Raises BadUpstream that names what is unexpected."""
    reader = _Reader(source)
    if not _is_lines(source.file):
        yield reader.read(source.stream.read(), "")
    else:
        line = b""
        for number, line in enumerate(io.BufferedReader(source.stream, 1 << 20), 1):
            yield reader.read(line.rstrip(b"\r\n"), f"line {number:,}")
            if number == 1 and line.endswith(b"\r\n"):
                source.layout.line_end = "\r\n"
        source.layout.tail = source.layout.line_end if line.endswith(b"\n") else ""
    reader.finish()


def _is_lines(file: UpstreamFile) -> bool:
    return file.name.endswith(".jsonl")


class _Reader:
    """Reads the sessions of a file, and learns its layout from them."""

    def __init__(self, source: OpenFile) -> None:
        self.source = source
        self.layout = source.layout
        self.fields = {name: kind for name, kind in FIELDS.items() if name in source.file.fields}
        empty = {rule.source for rule in source.file.rules if rule.empty} - _IDENTIFIES
        self.may_miss = {*_MISSING, *empty} & {*self.fields, "totals"}
        self.missing: dict[str, str] = {}
        self.order = {of: KeyOrder() for of in MEMBERS}

    def read(self, content: bytes, line: str) -> pa.RecordBatch:
        """Return the rows of one session, given its document and the line that it is, if it is one."""
        error, at = self.source.error, f"{line}, " if line else ""
        try:
            session = json.loads(content)
            rows = list(self._rows(session))
            columns = [pa.array(values, self.fields[name].type) for name, values in self._columns(session, rows)]
        except json.JSONDecodeError as wrong:
            is_cut = wrong.pos >= len(wrong.doc) - 1 or wrong.msg.startswith("Unterminated")
            cut = "  (the file ends within it)" if is_cut else ""
            where = f"{at}character {wrong.pos + 1:,}{cut}"
            raise error("can't be read as JSON", where=where, reason=wrong.msg) from None
        except _Unexpected as unexpected:
            where, expected, got = unexpected.args
            raise error("is not a valid session", where=at + where, expected=expected, got=got) from None
        except (OverflowError, pa.ArrowInvalid) as wrong:
            raise error("has numbers beyond 64 bits", where=line, reason=str(wrong)[:200]) from None
        except (ValueError, RecursionError) as wrong:
            reason = "nested too deep" if isinstance(wrong, RecursionError) else str(wrong)[:200]
            raise error("can't be read as JSON", where=line, reason=reason) from None
        if not self.layout.document:
            self.layout.document = _style_of(content[:1000].decode("utf-8", "replace")).name
        if "totals" in session:
            totals = _compact(session["totals"])
            sums = _compact(_totals((agent, each["in"], each["out"]) for agent, each in rows))
            if totals != sums and line:
                raise error("is not a valid session", where=f"{at}key 'totals'", expected=sums, got=totals[:200])
            if totals != sums:
                self.layout.tail = totals
        return pa.RecordBatch.from_arrays(columns, names=list(self.fields))

    def finish(self) -> None:
        """Complete the layout, once all sessions are read."""
        usual = {name: _usually_missing(name) for name in self.missing}
        self.layout.kinds = {name: how for name, how in self.missing.items() if how != usual[name]}
        orders = {of: self.order[of].order or list(MEMBERS[of]) for of in MEMBERS}
        if not all(self.order[of].agrees(tuple(k for k in MEMBERS[of] if k in orders[of])) for of in MEMBERS):
            self.layout.fields = [of + key for of in MEMBERS for key in orders[of]]

    def _rows(self, session: Any) -> Iterator[tuple[Object | None, Object]]:
        """Yield each request with its sub-agent, or with None."""
        for n, each in enumerate(self._checked(session, "", "the file")["requests"]):
            where = f"requests[{n}]"
            if not _is_agent(each):
                yield None, self._checked(each, "requests.", where)
                continue
            agent = self._checked(each, "subagent.", where)
            for m, request in enumerate(agent["requests"]):
                inner = f"{where}.requests[{m}]"
                if _is_agent(request):
                    raise _Unexpected(inner, "a request: sub-agents don't start sub-agents", "a sub-agent")
                yield agent, self._checked(request, "requests.", inner)

    def _checked(self, value: Any, of: str, where: str) -> Object:
        """Return the object. Raises _Unexpected unless its members have the right names, order and kinds."""
        if type(value) is not dict:
            raise _Unexpected(where, "an object", _shown(value))
        known = {key: kind for key, kind in MEMBERS[of].items() if of + key in self.fields or not KINDS[kind].type}
        if of == "subagent." and "subagent.agent_id" not in self.fields:
            raise _Unexpected(where, "a request: the recipe maps no sub-agents", "a sub-agent")
        keys = [key for key in known if key in value or of + key not in self.may_miss]
        if len(keys) != len(value) or any(key not in value for key in keys):
            raise _Unexpected(where, f"keys {', '.join(keys)}", f"keys {', '.join(value)}"[:500])
        if not self.order[of].agrees(tuple(value)):
            keys = [key for key in self.order[of].order if key in value]
            raise _Unexpected(where, f"keys {', '.join(keys)}, in this order as before", f"keys {', '.join(value)}")
        for key, kind in known.items():
            name, has = of + key, value.get(key)
            if name in self.may_miss and (has is None or has == ""):
                self._learn_missing(name, ABSENT if key not in value else EMPTY if has == "" else NULL, where)
            elif not KINDS[kind].fits(has):
                raise _Unexpected(f"{where}, key '{key}'", KINDS[kind].what, _shown(has))
        return value

    def _learn_missing(self, name: str, how: str, where: str) -> None:
        before = self.missing.setdefault(name, how)
        if how != before:
            key = name.rpartition(".")[2]
            raise _Unexpected(f"{where}, key '{key}'", f"a missing value {_written(before)}, as before", _written(how))

    def _columns(self, session: Object, rows: list[tuple[Object | None, Object]]) -> Iterator[tuple[str, list[Any]]]:
        for name in self.fields:
            of, _, key = name.rpartition(".")
            if name == "requests.t":
                yield name, [_since_start(self.layout, agent, each["t"]) for agent, each in rows]
            elif of == "requests":
                yield name, [each.get(key) for _, each in rows]
            elif of == "subagent":
                yield name, [agent and agent.get(key) for agent, _ in rows]
            else:
                yield name, [session.get(key)] * len(rows)


def _since_start(layout: Layout, agent: Object | None, t: float) -> float:
    """Return the time of a request since its session's start."""
    is_relative = agent is not None and layout.format == "weka"
    return round(agent["t"] + t, 6) if agent and is_relative else t


def _usually_missing(name: str) -> str:
    return _MISSING.get(name, EMPTY if name in FIELDS and FIELDS[name] is KINDS["text"] else ABSENT)


def _written(how: str) -> str:
    return {ABSENT: "left out", NULL: "written null", EMPTY: 'written ""'}[how]


def _is_agent(value: Any) -> bool:
    return type(value) is dict and value.get("type") == "subagent"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."


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


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Yield the file's bytes from the text of its fields."""
    writer = _Writer(layout)
    rows = (row for columns, _ in texts for row in _json_rows(columns))
    is_later = False
    for _, session in itertools.groupby(rows, key=lambda row: row["id"]):
        if is_later:
            yield layout.line_end.encode()
        yield writer.write(list(session)).encode()
        is_later = True
    if layout.tail.isspace():
        yield layout.tail.encode()


class _Writer:
    """Writes sessions in the layout of a file."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.style = _style(layout.document)
        order = layout.fields or [of + key for of in MEMBERS for key in MEMBERS[of]]
        prefixes = {of: of.rpartition(".")[0] for of in MEMBERS}
        self.order = {
            of: [key for prefix, _, key in (name.rpartition(".") for name in order) if prefix == prefixes[of]]
            for of in MEMBERS
        }
        missing = {name: layout.kinds.get(name, _usually_missing(name)) for name in order}
        self.missing = {name: "" if how == ABSENT else how for name, how in missing.items()}

    def write(self, rows: list[Row]) -> str:
        """Return the document of one session."""
        parts = []
        for agent, group in itertools.groupby(rows, key=_agent):
            own = list(group)
            if agent is None:
                parts += [self._object("requests.", row, 2) for row in own]
                continue
            for row in own:
                start = -float(row["subagent.t"]) if self.layout.format == "weka" else 0.0
                row["requests.t"] = repr(round(start + float(row["requests.t"]), 6)) if start else row["requests.t"]
            requests = self.style.enclose("[]", [self._object("requests.", row, 4) for row in own], 3)
            parts.append(self._object("subagent.", own[0], 2, type='"subagent"', requests=requests))
        totals = _totals((_agent(row), int(row["requests.in"]), int(row["requests.out"])) for row in rows)
        if self.layout.tail and not self.layout.tail.isspace():
            totals = json.loads(self.layout.tail)
        others = {"requests": self.style.enclose("[]", parts, 1), "totals": self.style.dump(totals, 1)}
        if "totals" in self.layout.kinds or (self.layout.fields and "totals" not in self.layout.fields):
            others["totals"] = ""
        return self._object("", rows[0], 0, **others)

    def _object(self, of: str, row: Row, depth: int, **others: str) -> str:
        """Return an object with the members that have a value; `others` are the members that are not fields."""
        texts = ((key, others[key] if key in others else self._text(of + key, row, depth)) for key in self.order[of])
        return self.style.enclose("{}", [f'"{key}"{self.style.key}{text}' for key, text in texts if text], depth)

    def _text(self, name: str, row: Row, depth: int) -> str:
        text = row.get(name, "")
        if not text:
            return self.missing[name] if name in row else ""
        kind = FIELDS[name]
        if kind is KINDS["ids"]:
            if not self.style.indent:
                return text.replace(", ", self.style.item)
            return self.style.enclose("[]", text[1:-1].split(", ") if len(text) > 2 else [], depth + 1)
        if kind is KINDS["texts"]:
            return _restyled(text, self.style, depth + 1)
        return _quoted(text) if kind is KINDS["text"] else text


Row = dict[str, str]  # text of each mapped field; empty if it has no value


def _agent(row: Row) -> str | None:
    return row.get("subagent.agent_id") or None


def _json_rows(columns: Mapping[str, pa.Array]) -> Iterator[Row]:
    names = [name for name in FIELDS if name in columns]
    values = [pc.fill_null(columns[name], "").to_pylist() for name in names]
    return (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


@lru_cache
def _quoted(text: str) -> str:
    return json.dumps(text)


@lru_cache
def _restyled(text: str, style: _Style, depth: int) -> str:
    return style.dump(json.loads(text), depth)
