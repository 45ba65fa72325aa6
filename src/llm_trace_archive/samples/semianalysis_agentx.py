"""Look-alikes of SemiAnalysis's AgentX corpus: sessions of WEKA's shape, one a line, with times since its start.

Nobody here has seen the published bytes: members and units are of the published schema, the spacing of json.dumps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws
from .kit.shape import Shape

SHAPES: dict[str, Shape] = {}  # a line is a session, and no row
_REQUESTS = from_percentiles({0: 2, 50: 65, 90: 330, 100: 900})
_START = from_percentiles({0: 20, 50: 200, 100: 300})  # blocks
_GROWTH = from_percentiles({0: 0, 50: 6, 90: 40, 100: 200})
_OUTPUT = lognormal(616, 1374, 30000)
_API_MS = lognormal(6500, 10200, 300_000, 700)
_GAP_MS = from_percentiles({0: 0, 50: 4900, 90: 131_500, 99: 3_257_000, 100: 9_000_000})
_MODEL, _AGENT_MODEL = "claude-opus-4-6", "claude-haiku-4-5-20251001"


def generate(folder: Path, rows: int) -> None:
    """Write sessions with about `rows` requests to the whole file, and fewer to the filtered one."""
    for name, count, most in (("traces.jsonl", rows, 4000), ("traces-256k.jsonl", rows * 2 // 3 + 1, 400)):
        drawn = np.minimum(_REQUESTS.draw(Draws("semianalysis-agentx", name), count), max(2, count // 4))
        lengths = drawn[: np.searchsorted(np.cumsum(drawn), count) + 1].tolist()
        lines = (json.dumps(_session(name, number, length, most)) + "\n" for number, length in enumerate(lengths))
        (folder / name).write_text("".join(lines), encoding="ascii", newline="\n")


def _session(file: str, number: int, length: int, most: int) -> dict[str, Any]:
    draws = Draws("semianalysis-agentx", f"{file}-{number}")
    in_agent = length // 3 if number % 2 and length > 5 else 0
    own = list(_requests(draws, length - in_agent, _MODEL, 0, 0, most))
    used = max(id for each in own for id in each["hash_ids"])
    start = own[0]["t"] + 1.5
    agent = []
    if in_agent:
        made = list(_requests(draws, in_agent, _AGENT_MODEL, start, used, most))
        agent.append({
            "type": "subagent", "t": start, "agent_id": "agent_001", "subagent_type": "Explore", "status": "completed",
            "duration_ms": round(1000 * (made[-1]["t"] + made[-1]["api_time"] - start)), "tool_use_count": len(made),
            "total_tokens": made[-1]["in"] + made[-1]["out"], "models": [_AGENT_MODEL], "requests": made,
        })  # fmt: skip
    return {
        "id": hashlib.sha256(f"{file} {number}".encode()).hexdigest()[:36],
        "models": [_MODEL],
        "block_size": 64,
        "hash_id_scope": "local",
        "requests": [own[0], *agent, *own[1:]],
    }


def _requests(draws: Draws, count: int, model: str, start: float, used: int, most: int) -> Iterator[dict[str, Any]]:
    """Yield requests from `start`, in seconds of the session, whose ids follow `used`."""
    first, growth = int(_START.draw(draws, 1)[0]), _GROWTH.draw(draws, count).tolist()
    output, api = _OUTPUT.draw(draws, count).tolist(), _API_MS.draw(draws, count).tolist()
    gap, kinds = _GAP_MS.draw(draws, count).tolist(), draws.choose(count, (80, 20)).tolist()
    prompt: list[int] = []
    milliseconds = round(1000 * start)
    for n in range(count):
        added = first if n == 0 else growth[n]
        prompt = [*(prompt if len(prompt) < most else prompt[: first // 2]), *range(used + 1, used + added + 1)]
        used += added
        milliseconds += api[n - 1] + gap[n] if n else 0
        request = {
            "type": "sn"[kinds[n]], "t": milliseconds / 1000, "model": model, "in": 64 * len(prompt), "out": output[n],
            "hash_ids": prompt, "api_time": api[n] / 1000,
        }  # fmt: skip
        if not kinds[n]:
            request["ttft"] = api[n] / 4000
        if n:
            request["think_time"] = gap[n] / 1000
        yield request
