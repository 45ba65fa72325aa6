"""Look-alikes of the Qwen-Bailian traces: blocks of 16 tokens, chats with parents, times as Python prints floats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .kit.conversations import growing_lengths, interleave, shared_blocks
from .kit.distributions import FLAT, Arrivals, Tokens, lognormal, scale_rows
from .kit.draws import Draws, chunks
from .kit.shape import FLOAT, IDS, INTEGER, Shape
from .kit.spell import Lines, id_lists, integer, json_object, pick, python_float, quote

BLOCK = 16
_PROMPTS_AT_ONCE = 1 << 13
_TWO_HOURS = Arrivals(0, 7_199_990, FLAT)  # ms


@dataclass(frozen=True)
class _File:
    """types: the frequency of each; names_turns: whether follow-ups name their parent and turn."""

    rows: int
    inputs: Tokens
    outputs: Tokens
    types: dict[str, int]
    turns: Tokens
    names_turns: bool = True


# Rows, medians, means and types are those of the published files; maxima are not published, nor is the type in the file
# of code. Turns are chosen so that the share of blocks seen before is near the published hit ratios. The file of API
# calls does not name them: there, 97 % of hits are between requests of a single turn (arXiv:2506.02634).
_FILES = {
    "qwen_traceA_blksz_16.jsonl": _File(
        43058,
        lognormal(1046, 2331, 32000),
        lognormal(375, 430, 8192),
        {"text": 31744, "search": 8187, "image": 1617, "file": 1510},
        lognormal(1.5, 2.15, 40),
    ),
    "qwen_traceB_blksz_16.jsonl": _File(
        172800,
        lognormal(574, 915, 16000),
        lognormal(39, 92, 8192),
        {"api": 150936, "text": 21864},
        lognormal(1.5, 2.1, 40),
        names_turns=False,
    ),
    "qwen_thinking_blksz_16.jsonl": _File(
        10812, lognormal(3680, 4763, 65536), lognormal(1665, 3651, 38912), {"thinking": 1}, lognormal(1.2, 1.75, 40)
    ),
    "qwen_coder_blksz_16.jsonl": _File(
        43011, lognormal(4540, 5748, 65536), lognormal(469, 808, 16384), {"coder": 1}, lognormal(1.8, 2.8, 40)
    ),
}
_SHAPE = Shape(
    rf'{{"chat_id": {INTEGER}, "parent_chat_id": (-1|{INTEGER}), "timestamp": {FLOAT}, "input_length": {INTEGER}, '
    rf'"output_length": {INTEGER}, "type": "[a-z]+", "turn": {INTEGER}, "hash_ids": {IDS}}}',
    published=(
        '{"chat_id": 0, "parent_chat_id": -1, "timestamp": 0.0, "input_length": 502, "output_length": 1494, '
        '"type": "thinking", "turn": 1, "hash_ids": [0, 1, 31]}',
    ),
)
SHAPES = dict.fromkeys(_FILES, _SHAPE)


def generate(folder: Path, rows: int) -> None:
    """Write the four files, with `rows` rows in the one with API calls."""
    for name, count in scale_rows({name: file.rows for name, file in _FILES.items()}, rows).items():
        _write(folder, name, count, _FILES[name])


def _write(folder: Path, name: str, rows: int, file: _File) -> None:
    draws = Draws("qwen-bailian", name)
    next_id = 0
    with Lines(folder / name, SHAPES[name]) as lines:
        for start, stop in chunks(rows, _PROMPTS_AT_ONCE):
            count = stop - start
            turns = interleave(draws, count, file.turns)
            inputs = growing_lengths(draws, turns, file.inputs)
            offsets, blocks, next_id = shared_blocks(turns, -(-inputs // BLOCK), 0, next_id)
            kind = draws.choose(turns.conversations, list(file.types.values()))[turns.conversation]
            named = (turns.turn > 1) & file.names_turns
            lines.write(
                json_object(
                    chat_id=integer(np.arange(start, stop)),
                    parent_chat_id=integer(np.where(named, start + turns.parent, -1)),
                    timestamp=python_float(_TWO_HOURS.chunk(draws, start, stop, rows), 3),
                    input_length=integer(inputs),
                    output_length=integer(file.outputs.draw(draws, count)),
                    type=quote(pick(kind, *file.types)),
                    turn=integer(np.where(named, turns.turn, 1)),
                    hash_ids=id_lists(offsets, blocks),
                )
            )
