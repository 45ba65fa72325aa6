"""Look-alikes of WEKA's Claude Code sessions: one JSON file each, prompts that grow turn by turn, nested sub-agents.

Prompts are shorter than the published ones and sub-agents more frequent, so that a few small files have everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws
from .kit.shape import Shape

SHAPES: dict[str, Shape] = {}  # the files have no lines
BLOCK = 64
# Requests per session and seconds of the service are from the upstream's README, everything else from its files.
_REQUESTS = from_percentiles({0: 3, 25: 19, 50: 48, 75: 101, 99: 400, 100: 1178})
_START = from_percentiles({0: 99, 25: 292, 50: 387, 100: 500})  # blocks of the first prompt
_GROWTH = from_percentiles({0: 0, 50: 6, 90: 40, 100: 300})  # blocks that a turn adds
_MOST_BLOCKS = 900  # then the session is summarised and restarts from its system prompt
_OUTPUT = lognormal(218, 446, 18195)
_API_CS = lognormal(650, 1020, 30003, 79)  # hundredths of a second
_THINK_DS = from_percentiles({0: 1, 25: 60, 50: 100, 75: 300, 99: 20000, 100: 776000})  # tenths of a second
_MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-opus-4-6")
_AGENT_MODEL = "claude-haiku-4-5-20251001"
_INPUTS = (["tool_result"], ["text"], ["tool_result", "text"], ["tool_result", "tool_use"])
_OUTPUTS = (["tool_use"], ["text", "tool_use"], ["text"], ["thinking", "text"], ["text", "thinking", "tool_use"])


def generate(folder: Path, rows: int) -> None:
    """Write sessions with about `rows` requests in all: trace_0001.json and so on."""
    drawn = np.minimum(_REQUESTS.draw(Draws("weka-claude-code", "sessions"), rows), max(3, rows // 4))
    lengths = drawn[: np.searchsorted(np.cumsum(drawn), rows) + 1].tolist()
    for number, length in enumerate(lengths, 1):
        name = f"trace_{number:04}"
        session = _session(name, number, length)
        (folder / f"{name}.json").write_text(json.dumps(session, separators=(",", ":")), encoding="ascii", newline="\n")


@dataclass
class _Blocks:
    """The ids of a session's blocks, from 1 by first use."""

    used: int = 0

    def more(self, count: int) -> list[int]:
        self.used += count
        return list(range(self.used - count + 1, self.used + 1))


@dataclass
class _Conversation:
    """Consecutive requests, each of which extends the previous prompt."""

    draws: Draws
    blocks: _Blocks
    prompt: list[int] = field(default_factory=list)

    def requests(self, count: int, models: list[str], streaming: int) -> Iterator[dict[str, Any]]:
        """Yield requests, of which `streaming` in 64 have type s; a second model takes over half-way."""
        draws = self.draws
        start, growth = int(_START.draw(draws, 1)[0]), _GROWTH.draw(draws, count).tolist()
        rest, output = draws.below(count, BLOCK).tolist(), _OUTPUT.draw(draws, count).tolist()
        api, think = _API_CS.draw(draws, count).tolist(), _THINK_DS.draw(draws, count).tolist()
        first_token = (_API_CS.draw(draws, count) // 3).tolist()
        is_s, is_silent, has_think = (_share(draws, count, of) for of in (streaming, 32, 63))
        inputs, outputs = (
            draws.choose(count, (80, 15, 3, 2)).tolist(),
            draws.choose(count, (50, 20, 10, 15, 5)).tolist(),
        )
        seconds = 0
        for n in range(count):
            if len(self.prompt) > _MOST_BLOCKS:
                self.prompt = self.prompt[: start // 2]
            self.prompt = self.prompt + self.blocks.more(start if n == 0 else growth[n])
            if n:
                seconds += -(-(api[n - 1] + 10 * think[n]) // 100)
            types = _OUTPUTS[outputs[n]]
            silent = is_s[n] and is_silent[n]
            request = {
                "t": float(seconds),
                "type": "s" if is_s[n] else "n",
                "model": models[n * len(models) // count],
                "in": BLOCK * len(self.prompt) + rest[n],
                "out": output[n],
                "hash_ids": self.prompt,
                "input_types": _INPUTS[inputs[n]] if n else ["text"],
                "output_types": types,
                "stop": "" if silent else "tool_use" if "tool_use" in types else "end_turn",
            }
            if not silent:
                request["api_time"] = api[n] / 100
            if is_s[n] and not silent:
                request["ttft"] = min(first_token[n], api[n]) / 100
            if has_think[n]:
                request["think_time"] = think[n] / 10 if n else 0.0
            yield request


def _share(draws: Draws, count: int, in_64: int) -> list[bool]:
    found: list[bool] = (draws.below(count, 64) < in_64).tolist()
    return found


def _session(name: str, number: int, length: int) -> dict[str, Any]:
    draws, blocks = Draws("weka-claude-code", name), _Blocks()
    models = [_MODELS[(number + n) % len(_MODELS)] for n in range(2 if number % 4 == 3 else 1)]
    tool_tokens, system_tokens = (12000 + draws.below(1, 1000)).item(), (2500 + draws.below(1, 1000)).item()
    has_agents = number % 4 == 1 and length > 3
    in_agents = length // 3 if has_agents else 0
    own = list(_Conversation(draws, blocks).requests(length - in_agents, models, 12))
    agents = list(_agents(draws, blocks, own[1]["t"], in_agents)) if has_agents else []
    return {
        "id": name,
        "models": sorted({request["model"] for request in own}),
        "block_size": BLOCK,
        "hash_id_scope": "local",
        "tool_tokens": tool_tokens,
        "system_tokens": system_tokens,
        "requests": [*own[:2], *agents, *own[2:]],
        "totals": _totals(own, [request for agent in agents for request in agent["requests"]], len(agents)),
    }


def _agents(draws: Draws, blocks: _Blocks, start: float, requests: int) -> Iterator[dict[str, Any]]:
    """Yield a sub-agent that explores, and one that runs in the background, whose figures are unknown."""
    shares = (requests - requests // 2, requests // 2)
    for number, share in enumerate(share for share in shares if share):
        milliseconds = draws.below(2, 100_000).tolist()
        made = list(_Conversation(draws, blocks).requests(share, [_AGENT_MODEL], 0))
        done = number == 0
        yield {
            "t": (1000 * round(start) + milliseconds[0]) / 1000,
            "type": "subagent",
            "agent_id": f"agent_{number + 1:03}",
            "subagent_type": "Explore" if done else "general-purpose",
            "duration_ms": milliseconds[1] + 1000 * round(made[-1]["t"]) if done else None,
            "total_tokens": made[-1]["in"] + made[-1]["out"] if done else None,
            "tool_use_count": len(made) + 3 if done else None,
            "status": "completed" if done else "async_launched",
            "requests": made,
            "models": [_AGENT_MODEL],
            "tool_tokens": 7771,
            "system_tokens": 913,
        }


def _totals(own: list[dict[str, Any]], others: list[dict[str, Any]], agents: int) -> dict[str, Any]:
    def tokens(requests: list[dict[str, Any]]) -> dict[str, int]:
        return {"input": sum(each["in"] for each in requests), "output": sum(each["out"] for each in requests)}

    return {
        "parent_tokens": tokens(own),
        "subagent_tokens": tokens(others),
        "combined_tokens": tokens([*own, *others]),
        "subagent_count": agents,
    }
