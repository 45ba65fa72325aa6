"""Look-alikes of Claude Code sessions from Neon: indented JSON, models that take turns, ids that go on across files.

Sessions and prompts are shorter than the published ones, so that a few small files have everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws
from .kit.shape import Shape

SHAPES: dict[str, Shape] = {}  # the files have no lines
# Requests per session: the upstream's cache_hit_rates.txt; everything else is from its files.
_REQUESTS = from_percentiles({0: 20, 50: 77, 100: 459})
_START = from_percentiles({0: 3, 25: 20, 50: 90, 100: 160})  # blocks of the first prompt of a model
_GROWTH = from_percentiles({0: 1, 50: 4, 90: 20, 100: 80})  # blocks that a request adds
_MOST_BLOCKS = 500  # then the conversation is summarised
_TOKENS = from_percentiles({0: 2, 1: 3, 50: 82, 99: 4500, 100: 5000})  # tokens a block: the two are counted apart
_OUTPUT = lognormal(187, 400, 16000)
_API_CS = lognormal(500, 900, 30000, 30)  # hundredths of a second
_THINK_CS = from_percentiles({0: 0, 50: 40, 90: 2000, 100: 400_000})
_MODELS = ("claude-opus-4-6", "claude-haiku-4-5-20251001", "claude-sonnet-4-6")
_STOPS = ("tool_use", "end_turn", "max_tokens", "", "stop_sequence")


def generate(folder: Path, rows: int) -> None:
    """Write sessions with about `rows` requests in all: trace_0001.json and so on."""
    drawn = np.minimum(_REQUESTS.draw(Draws("weka-neon", "sessions"), rows), max(3, rows // 4))
    lengths = drawn[: np.searchsorted(np.cumsum(drawn), rows) + 1].tolist()
    used = 0
    for number, length in enumerate(lengths, 1):
        name = f"trace_{number:04}"
        requests = list(_requests(Draws("weka-neon", name), length, used))
        used = max(id for each in requests for id in each["hash_ids"])
        session = {
            "id": name,
            "models": sorted({each["model"] for each in requests}),
            "block_size": 64,
            "hash_id_scope": "global",
            "tool_tokens": 0,
            "system_tokens": 0,
            "requests": requests,
        }
        (folder / f"{name}.json").write_text(json.dumps(session, indent=2), encoding="ascii", newline="\n")


def _requests(draws: Draws, count: int, used: int) -> Iterator[dict[str, Any]]:
    """Yield the requests of a session, whose ids follow `used`."""
    models = [0, *draws.choose(count - 1, (60, 38, 2)).tolist()]
    stops = draws.choose(count, (74, 20, 3, 2, 1)).tolist()
    start, growth = _START.draw(draws, count).tolist(), _GROWTH.draw(draws, count).tolist()
    tokens, output = _TOKENS.draw(draws, count).tolist(), _OUTPUT.draw(draws, count).tolist()
    api, think = _API_CS.draw(draws, count).tolist(), _THINK_CS.draw(draws, count).tolist()
    prompts: dict[int, list[int]] = {}
    hundredths = 0
    for n in range(count):
        before = prompts.get(models[n], [])
        kept = before if len(before) < _MOST_BLOCKS else before[: len(before) // 8]
        added = growth[n] if before else start[n]
        prompts[models[n]] = prompt = [*kept, *range(used + 1, used + added + 1)]
        used += added
        hundredths += api[n - 1] + think[n] if n else 0
        yield {
            "t": round(hundredths / 100, 1),
            "type": "s",
            "model": _MODELS[models[n]],
            "in": len(prompt) * tokens[n],
            "out": output[n],
            "hash_ids": prompt,
            "input_types": ["tool_result" if n and _STOPS[stops[n - 1]] == "tool_use" else "text"],
            "output_types": [],
            "stop": _STOPS[stops[n]],
            "api_time": api[n] / 100,
            "think_time": think[n] / 100 if n else 0.0,
        }
