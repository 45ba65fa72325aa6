"""Look-alikes of the Mooncake traces: blocks of 512 tokens, conversations that share them, arrivals in steps of 3 s."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .kit.conversations import growing_lengths, interleave, shared_blocks
from .kit.distributions import FLAT, Arrivals, Tokens, from_percentiles, lognormal, scale_rows
from .kit.draws import Draws, Ints, chunks
from .kit.shape import IDS, INTEGER, Shape
from .kit.spell import Lines, id_lists, integer, json_object

BLOCK = 512
_PROMPTS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class _File:
    """step: ms between arrivals, or 0 for uniform ones; common: leading blocks that all prompts share."""

    rows: int
    inputs: Tokens
    outputs: Tokens
    turns: Tokens
    step: int
    common: int


_CONVERSATION_OUTPUT = from_percentiles(  # quantiles of the published file
    {0: 1, 10: 24, 20: 100, 30: 213, 40: 291, 50: 350, 60: 399, 70: 447, 80: 504, 90: 597, 99: 1118, 100: 2000}
)
# Means are from FAST25-release/README. The medians of the conversations, their extremes and those of the synthetic mix
# are counted in the published files; others are not published. Turns are chosen so that the share of blocks seen before
# is near the published hit ratios.
_FILES = {
    "conversation_trace.jsonl": _File(
        12031, lognormal(6909, 12035, 126195, 891), _CONVERSATION_OUTPUT, lognormal(1.1, 1.5, 30), 3000, 1
    ),
    "toolagent_trace.jsonl": _File(
        23608, lognormal(6300, 8596, 123000, 891), lognormal(60, 182, 2000), lognormal(1.5, 2.2, 40), 3000, 1
    ),
    "synthetic_trace.jsonl": _File(
        3993, lognormal(11000, 15325, 191378, 13), lognormal(90, 149, 2000), lognormal(1.7, 2.75, 40), 0, 0
    ),
    "mooncake_trace.jsonl": _File(
        23608, lognormal(6300, 8596, 126195, 891), lognormal(60, 182, 2000), lognormal(1.5, 2.2, 40), 3053, 1
    ),
}
SHAPES = dict.fromkeys(
    _FILES,
    Shape(rf'{{"timestamp": {INTEGER}, "input_length": {INTEGER}, "output_length": {INTEGER}, "hash_ids": {IDS}}}'),
)
_SYNTHETIC_END = 1_022_025  # ms, the last arrival of the published file


def generate(folder: Path, rows: int) -> None:
    """Write the four files, with `rows` rows in the two largest."""
    for name, count in scale_rows({name: file.rows for name, file in _FILES.items()}, rows).items():
        _write(folder, name, count, _FILES[name])


def _write(folder: Path, name: str, rows: int, file: _File) -> None:
    draws = Draws("mooncake", name)
    next_id = file.common
    own = Arrivals(0, _SYNTHETIC_END, FLAT)
    steps = _Steps(draws, file.step)
    with Lines(folder / name, SHAPES[name]) as lines:
        for start, stop in chunks(rows, _PROMPTS_AT_ONCE):
            count = stop - start
            times = steps.take(count) if file.step else own.chunk(draws, start, stop, rows)
            turns = interleave(draws, count, file.turns)
            inputs = growing_lengths(draws, turns, file.inputs)
            offsets, blocks, next_id = shared_blocks(turns, -(-inputs // BLOCK), file.common, next_id)
            lines.write(
                json_object(
                    timestamp=integer(times),
                    input_length=integer(inputs),
                    output_length=integer(file.outputs.draw(draws, count)),
                    hash_ids=id_lists(offsets, blocks),
                )
            )


class _Steps:
    """Arrivals in steps of nearly `step` ms, 2 to 18 requests at each; the published conversations have 10.2."""

    def __init__(self, draws: Draws, step: int) -> None:
        self._draws, self._step, self._steps = draws, step, 0
        self._left = np.empty(0, np.int64)

    def take(self, count: int) -> Ints:
        """Return the next `count` arrivals."""
        while len(self._left) < count:
            number = np.arange(self._steps, self._steps + 256)
            # A third of the published arrivals are 1 ms before a multiple of the step, a few 3 ms.
            early = np.array([0, 1, 3])[self._draws.choose(256, [660, 337, 3])] * (number > 0)
            requests = 2 + self._draws.below(256, 9) + self._draws.below(256, 9)
            self._left = np.concatenate([self._left, np.repeat(number * self._step - early, requests)])
            self._steps += 256
        taken, self._left = self._left[:count], self._left[count:]
        return taken
