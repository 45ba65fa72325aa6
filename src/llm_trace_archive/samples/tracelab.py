"""Look-alikes of TraceLab's rounds: compact JSON, Claude's and Codex's rows with different keys, repeated ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws
from .kit.shape import Shape
from .kit.spell import Lines

_NAME, _FILE = "tracelab", "syfi_coding_trace.jsonl.gz"
_MODELS = {"claude": "claude-opus-4-8", "codex": "gpt-5.4"}
_START = datetime(2026, 3, 1, tzinfo=UTC)
SHAPES = {
    _FILE: Shape(
        r'\{"provider":"(claude|codex)",("project":"project_[0-9a-f]{8}",)?"session_id":"[a-z0-9:-]+","round_index":\d+,'
        r'"round_id":"[\w:-]+",("turn_id":"[\w-]+",)?"model":"[\w.-]+","input_tokens_total":\d+,"prefix_tokens":\d+,'
        r'"newly_append_tokens":\d+,"claude_uncached_input_tokens":(\d+|null),'
        r'"claude_cache_creation_input_tokens":(\d+|null),"claude_cache_read_input_tokens":(\d+|null),'
        r'"output_tokens":\d+,"reasoning_output_tokens":(\d+|null),"timing_events":\[.+\],"tools":\[.*\],'
        r'"current_input_event_count":\d+,"current_user_message_count":\d+,"current_tool_result_count":\d+,'
        r'"current_user_message_chars":\d+,"current_tool_result_chars":\d+,"current_input_chars":\d+,'
        r'"first_input_event_type":"(user_message|tool_result)","store":"\.(claude|codex)","trace_key":"[\w:-]+"'
        r'(,"user":"user_\d\d")?\}'
    )
}
_ROUNDS = from_percentiles({0: 1, 50: 30, 90: 200, 100: 900})
_PROMPT = from_percentiles({0: 3000, 50: 27000, 90: 47000, 100: 180_000})
_MOST = 190_000  # then the conversation is summarised
_NEW = lognormal(900, 3000, 40000)
_OUTPUT = lognormal(273, 597, 30000)
_SECONDS = from_percentiles({0: 1, 50: 8, 90: 90, 100: 80_000})
_TOOLS = {"claude": ("Bash", "Read", "Edit", "WebSearch"), "codex": ("exec_command", "apply_patch", "custom_tool_1")}


def generate(folder: Path, rows: int) -> None:
    """Write `rows` rounds, session by session."""
    draws = Draws(_NAME, "rounds")
    session = written = 0
    with Lines(folder / _FILE, SHAPES[_FILE]) as lines:
        while written < rows:
            count = min(int(_ROUNDS.draw(draws, 1)[0]), rows - written)
            rounds = _session(draws, session, count)
            lines.write(pa.array([json.dumps(each, separators=(",", ":")) for each in rounds]))
            written += count
            session += 1


def _session(draws: Draws, number: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the rounds of a session: its prompt grows, each round begins when the tools of the one before are done."""
    agent = "codex" if number % 3 == 2 else "claude"
    session = f"{agent}:{_uuid(f'session {number}')}"
    prompt = int(_PROMPT.draw(draws, 1)[0])
    new, output = _NEW.draw(draws, count).tolist(), _OUTPUT.draw(draws, count).tolist()
    seconds, tools = _SECONDS.draw(draws, 2 * count).tolist(), draws.below(count, 4).tolist()
    repeats = (draws.below(count, 64) == 0).tolist()
    at = _START + timedelta(minutes=37 * (number * 7919 % 1600))
    calls: list[dict[str, Any]] = []
    for n in range(count):
        inputs: list[dict[str, Any]] = calls or [{}]
        events: list[dict[str, Any]] = []
        for each in inputs:
            if not each:
                event = {"event_type": "user_message", "timestamp": _time(at), "source": "user.message"}
                events.append(event | {"content_chars": new[n] % 900})
            else:
                event = {"event_type": "tool_result", "timestamp": each["result_at"], "source": "user.tool_result"}
                event |= {"tool_call_id": each["tool_call_id"], "result_chars": each["result_chars"]}
                events.append(event | ({"is_error": False} if agent == "claude" else {}))
        is_new, chars = not calls, sum(each.get("content_chars", each.get("result_chars", 0)) for each in events)
        at += timedelta(milliseconds=300 + 100 * seconds[n])
        events.append({"event_type": "text", "timestamp": _time(at), "source": "assistant.text", "content_chars": 9})
        calls = []
        for index in range(tools[n]):
            name, identity = _TOOLS[agent][index % len(_TOOLS[agent])], _hex(f"call {number} {n} {index}", 22)
            events.append({
                "event_type": "tool_call", "timestamp": _time(at), "source": "assistant.tool", "tool_call_id": identity,
                "tool_name": name, "tool_index": index,
            })  # fmt: skip
            wall = 1000 * seconds[count + n] % 70_000 + index
            calls.append({
                "tool_index": index, "tool_name": name, "tool_call_id": identity, "emitted_at": _time(at),
                "input_chars": 90, "result_chars": new[n] % 5000, "tool_wall_latency_ms": wall,
                "tool_internal_latency_ms": None, "is_error": False,
                "result_at": _time(at + timedelta(milliseconds=wall)),
            })  # fmt: skip
        added = new[n]
        cached = prompt if n else prompt // 2
        identity = _hex(f"round {number} {n - 1 if repeats[n] and n else n}", 24)
        claude = (added // 2, added - added // 2, cached) if agent == "claude" else (None, None, None)
        row = {"provider": agent, "project": f"project_{_hex(str(number), 8)}", "session_id": session, "round_index": n}
        row |= {"round_id": f"msg_{identity}", "turn_id": _uuid(f"turn {number} {n}"), "model": _MODELS[agent]}
        row |= {"input_tokens_total": cached + added, "prefix_tokens": cached, "newly_append_tokens": added}
        names = ("uncached_input", "cache_creation_input", "cache_read_input")
        row |= {f"claude_{name}_tokens": tokens for name, tokens in zip(names, claude, strict=True)}
        row |= {"output_tokens": output[n], "reasoning_output_tokens": output[n] // 3 if agent == "codex" else None}
        row |= {"timing_events": events, "tools": calls, "current_input_event_count": len(inputs)}
        row |= {"current_user_message_count": int(is_new), "current_tool_result_count": len(inputs) - is_new}
        row |= {
            "current_user_message_chars": chars if is_new else 0,
            "current_tool_result_chars": 0 if is_new else chars,
        }
        row |= {"current_input_chars": chars, "first_input_event_type": "user_message" if is_new else "tool_result"}
        row |= {
            "store": f".{agent}",
            "trace_key": f"{agent}:{session}:msg_{identity}",
            "user": f"user_{number % 52:02}",
        }
        del row["turn_id" if agent == "claude" else "project"]
        prompt = cached + added + output[n] if cached < _MOST else cached // 8
        at += timedelta(milliseconds=max([each["tool_wall_latency_ms"] for each in calls], default=60_000))
        yield row


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hex(name: str, digits: int) -> str:
    return hashlib.sha256(f"{_NAME} {name}".encode()).hexdigest()[:digits]


def _uuid(name: str) -> str:
    digits = _hex(name, 32)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
