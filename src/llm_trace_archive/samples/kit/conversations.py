"""Conversations whose turns interleave in time, and the ids of the blocks that their prompts share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .distributions import Tokens
from .draws import Draws, Ints


@dataclass(frozen=True)
class Turns:
    """The requests of some conversations, by time.

    conversation  its number, from 0
    turn          from 1
    parent        the request of the previous turn; -1 for the first turn
    place         the request's place when sorted by conversation and turn
    """

    conversation: Ints
    turn: Ints
    parent: Ints
    place: Ints

    @property
    def conversations(self) -> int:
        return int(self.conversation.max()) + 1


def interleave(draws: Draws, rows: int, lengths: Tokens) -> Turns:
    """Return `rows` requests of conversations with `lengths` turns; the last one may be cut short."""
    turns = lengths.draw(draws, rows)
    turns = turns[: np.searchsorted(np.cumsum(turns), rows) + 1]
    ends = np.cumsum(turns)
    conversation = np.repeat(np.arange(len(turns)), turns)[:rows]
    first = (ends - turns)[conversation]
    # A conversation begins anywhere. Its next turn follows within about 64 requests, sooner in a small sample.
    begin = (draws.words(len(turns)) >> np.uint64(24)).astype(np.int64)
    gaps = np.cumsum((draws.words(rows) % np.uint64((1 << 40) // max(16, rows // 64))).astype(np.int64))
    place = np.argsort(begin[conversation] + gaps - gaps[first], kind="stable")
    row = np.empty(rows, np.int64)
    row[place] = np.arange(rows)
    turn = (np.arange(rows) - first + 1)[place]
    return Turns(conversation[place], turn, np.where(turn > 1, row[place - 1], -1), place)


def growing_lengths(draws: Draws, turns: Turns, tokens: Tokens) -> Ints:
    """Return prompt lengths with the distribution `tokens` that never shrink within a conversation."""
    rows = len(turns.turn)
    height = (draws.words(turns.conversations) >> np.uint64(2)).astype(np.int64)
    # A turn lifts a prompt by a fiftieth of the ranks.
    score = height[turns.conversation] + turns.turn * ((1 << 62) // 50)
    lengths = np.empty(rows, np.int64)
    lengths[np.argsort(score, kind="stable")] = np.sort(tokens.draw(draws, rows))
    return lengths


def shared_blocks(turns: Turns, blocks: Ints, common: int, next_id: int) -> tuple[Ints, Ints, int]:
    """Return the offsets and ids of each prompt's blocks, and the next free id.

    blocks   blocks of each prompt, which never shrink within a conversation
    common   leading blocks that all prompts share, with ids from 0
    next_id  the next free id, at least `common`

    A prompt starts with the blocks of the previous turn, except the last one, which was only partly full. Other blocks
    are new. New ids are assigned in order, so that ids are dense by first appearance.
    """
    rows, place = len(blocks), turns.place
    own_blocks = np.maximum(blocks - common, 0)
    # By place, the turns of a conversation are neighbours.
    length, turn = np.empty(rows, np.int64), np.empty(rows, np.int64)
    length[place], turn[place] = own_blocks, turns.turn
    shared = np.where(turn > 1, np.maximum(np.roll(length, 1) - 1, 0), 0)
    fresh = own_blocks - shared[place]
    base = np.empty(rows, np.int64)
    base[place] = next_id + np.cumsum(fresh) - fresh
    # A prompt consists of runs of ids: the common one, then one for each turn up to its own.
    runs = turns.turn + 1
    owner = np.repeat(np.arange(rows), runs)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(runs) - runs, runs)
    source = place[owner] - turns.turn[owner] + np.maximum(step, 1)
    is_last = step == turns.turn[owner]
    until = np.where(is_last, length[source], shared[(source + 1) % rows])
    begin = np.where(step == 0, 0, base[source])
    size = np.where(step == 0, np.minimum(common, blocks)[owner], until - shared[source])
    ends = np.cumsum(size)
    ids = np.repeat(begin - ends + size, size) + np.arange(ends[-1])
    return np.concatenate([[0], np.cumsum(blocks)]), ids, next_id + int(fresh.sum())
