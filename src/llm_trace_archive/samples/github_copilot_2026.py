"""Look-alikes of GitHub Copilot's sessions: gzip tars of gzipped shards, seven days, clocks that are off, helper calls.

Nobody here has seen a row: members and types are those of the published JSON schema, the spacing is json.dumps's.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws
from .kit.shape import Shape
from .kit.spell import StoredGzip

SHAPES: dict[str, Shape] = {}  # archives
_NAME = "github-copilot-2026"
_DAYS = [(datetime(2026, 6, day, tzinfo=UTC), 10 if day < 6 else 2) for day in range(1, 8)]  # a weekend at the end
_IN_SHARD = 20  # sessions; about 500 in the published shards
_TURNS = from_percentiles({0: 1, 50: 2, 90: 9, 100: 30})
_CALLS = from_percentiles({0: 1, 50: 4, 90: 18, 100: 60})
_PROMPT = from_percentiles({0: 2000, 50: 56_000, 90: 138_000, 99: 262_000, 100: 941_380})
_ANSWER, _DURATION_US = lognormal(180, 528, 30_000), lognormal(4_500_000, 8_000_000, 900_000_000, 1000)
_RESULTS = ("Success", "UserCancel", "Error")
_PARTS = ("System", "Context", "UserMessage", "History", "FunctionCalls", "RepositoryWideCustomInstructions")
_ROLES = ("system", "user", "user", "assistant", "tool", "system")
_TOOLS = ("read_file", "run_in_terminal", "apply_patch", "custom_tool_17")


def generate(folder: Path, rows: int) -> None:
    """Write the seven days with about `rows` calls in all."""
    total = sum(share for _, share in _DAYS)
    for day, share in _DAYS:
        draws = Draws(_NAME, day.date().isoformat())
        sessions: list[str] = []
        calls = 0
        while calls < max(1, rows * share // total):
            session = _session(draws, day, len(sessions))
            calls += sum(len(turn["llm_calls"] or ()) for turn in session["turns"])
            sessions.append(json.dumps(session) + "\n")
        _write(folder / f"date.{day.date()}.tar.gz", f"date={day.date()}", sessions)


def _write(path: Path, top: str, sessions: list[str]) -> None:
    shards = [sessions[start : start + _IN_SHARD] for start in range(0, len(sessions), _IN_SHARD)]
    contents = {"manifest.json": json.dumps({"shards": len(shards), "sessions": len(sessions)}).encode()}
    for number, lines in enumerate(shards):
        part = path.with_name(f"shard-{number:04}.jsonl.gz")
        inner = StoredGzip(part)
        inner.write("".join(lines).encode())
        inner.close()
        contents[part.name] = part.read_bytes()
        part.unlink()
    stream = StoredGzip(path)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    stream.close()


def _session(draws: Draws, day: datetime, number: int) -> dict[str, Any]:
    at = day + timedelta(seconds=int(draws.below(1, 80_000)[0]))
    if number % 50 == 49:
        at -= timedelta(days=100)  # the client's clock is off
    count = int(_TURNS.draw(draws, 1)[0])
    turns = []
    for turn in range(count):
        made = list(_calls(draws, at, f"{day.date()} {number} {turn}"))
        at = made[-1][1] + timedelta(seconds=30)
        silent = turn % 17 == 16
        turns.append({
            "turn_id": _hex(f"turn {day.date()} {number} {turn}"),
            "llm_calls": None if silent else [call for call, _, _ in made],
            "tool_batches": None if silent else [batch for _, _, batch in made if batch],
        })  # fmt: skip
    identity = hashlib.sha256(f"{_NAME} {day} {number}".encode()).hexdigest()
    return {"session_id": identity, "date": day.date().isoformat(), "turns": turns}


def _calls(draws: Draws, at: datetime, name: str) -> Iterator[tuple[dict[str, Any], datetime, dict[str, Any] | None]]:
    """Yield the calls of a turn that begins at a time, with their ends, and the batch of tools that each asks for."""
    count = int(_CALLS.draw(draws, 1)[0])
    answers, durations = _ANSWER.draw(draws, count).tolist(), _DURATION_US.draw(draws, count).tolist()
    kinds, tools = draws.choose(count, (92, 5, 3)).tolist(), draws.below(count, 4).tolist()
    prompt = int(_PROMPT.draw(draws, 1)[0])
    for n in range(count):
        at += timedelta(microseconds=durations[n])
        cached = prompt * 88 // 100 if n else 0
        call = {
            "message_id": _hex(f"call {name} {n}"), "timestamp": at.isoformat().replace("+00:00", "Z"),
            "duration_ms": durations[n] / 1000, "initiator_type": "agent" if n else "user",
            "model": ("Model A", "Model B", "tool-model")[kinds[n]], "result": _RESULTS[0 if n % 40 else n % 3],
            "status_code": "OK",
        }  # fmt: skip
        if kinds[n] < 2:
            call["tokens"] = {
                "total": prompt + answers[n], "prompt": prompt, "completion": answers[n], "cached": cached,
                "cached_pct": round(100 * cached / prompt, 2),
            }  # fmt: skip
            call["message_metadata"] = [
                {"type": kind, "role": role, "sequenceId": place, "token_len": prompt // len(_PARTS)}
                for place, (kind, role) in enumerate(zip(_PARTS, _ROLES, strict=True))
            ]
        elif n % 2:
            call["tokens"] = None
        batch = {
            "timestamp": call["timestamp"], "duration_ms": 1000.5 * tools[n], "auto_continue": True,
            "result": "Success", "request_id": call["message_id"],
            "function_calls": [
                {"name": _TOOLS[(n + k) % len(_TOOLS)], "status": 1 if (n + k) % 9 else 2, "duration_ms": 500.25}
                for k in range(tools[n])
            ] or None,
        }  # fmt: skip
        prompt += answers[n] + 300
        yield call, at, batch if kinds[n] < 2 and tools[n] != 3 else None


def _hex(name: str) -> str:
    return hashlib.sha256(f"{_NAME} {name}".encode()).hexdigest()[:32]
