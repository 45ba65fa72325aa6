"""Prompts of the right length: those that share leading blocks share exactly that text, and no other.

A text is a row of words, each of one token with the space before it. Which words stand for a block follows from the
block's id alone, and those behind the known blocks from the request's id, so every run sends the same prompts.
"""

from __future__ import annotations

import importlib.resources
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ..columns.arrays import to_integers
from ..core.errors import BadUse
from ..core.extras import require
from .plan import Plan

CACHED = 1 << 13  # blocks


class Prompts:
    """The texts of a plan's requests. With a tokenizer, each has exactly its tokens; without, about as many.

    tokenizer   a tokenizer.json of Hugging Face, or its folder
    less        tokens that the server adds to each prompt, such as its chat template, to be taken off
    """

    def __init__(self, plan: Plan, tokenizer: Path | None = None, less: int = 0) -> None:
        self.words, added = _words_of(tokenizer) if tokenizer else (_common_words(), 0)
        self.lengths = np.maximum(plan.inputs - less - added, 1)
        self._ids = plan.rows["request_id"].to_pylist()
        lists = plan.rows["hash_ids"].combine_chunks()
        self._blocks = to_integers(lists.flatten())
        self._ends = np.cumsum([0, *to_integers(pc.list_value_length(lists))])
        self._size = to_integers(plan.rows["block_tokens"].combine_chunks())
        self._block = lru_cache(CACHED)(self._make_block)

    def text(self, at: int) -> str:
        """Return the prompt of the request at a place in the plan."""
        left, size = int(self.lengths[at]), int(self._size[at])
        parts = []
        for each in self._blocks[self._ends[at] : self._ends[at + 1]] if size else ():
            if left <= 0:
                break
            parts.append(self._block(int(each), min(size, left)))
            left -= size
        if left > 0:
            parts.append(self._draw((1, self._ids[at]), left))
        return "".join(parts)

    def _make_block(self, number: int, words: int) -> str:
        return self._draw((0, number), words)

    def _draw(self, seed: tuple[int, int], words: int) -> str:
        drawn = np.random.PCG64([seed[0], seed[1] % 2**64]).random_raw(words) % np.uint64(len(self.words))
        return "".join([" " + self.words[each] for each in drawn.tolist()])


def _common_words() -> list[str]:
    """Return words that are about one token each for most tokenizers."""
    return (importlib.resources.files(__package__) / "words.txt").read_text(encoding="utf-8").split()


def _words_of(path: Path) -> tuple[list[str], int]:
    """Return words of one token each, in any order, and the tokens that the tokenizer adds to a text.

    Raises BadUse if the file is no tokenizer, or has too few such words.
    """
    tokenizers = require("tokenizers", "replay", "a prompt of exactly so many tokens")
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise BadUse(str(file), "is no tokenizer of Hugging Face", reason=str(error)[:200]) from None
    added = len(tokenizer.encode("").ids)
    spelled = (tokenizer.decode([number]) for number in range(tokenizer.get_vocab_size()))
    found = sorted({each.strip() for each in spelled if each.strip().isascii() and each.strip().isalpha()})
    words = [word for word in found if 1 < len(word) < 9 and len(tokenizer.encode(f" {word}").ids) == 1 + added]
    words = words[:: max(1, len(words) // 4096)]
    sample = "".join(f" {word}" for word in [*words, *reversed(words)])
    if len(words) < 16 or len(tokenizer.encode(sample).ids) != 2 * len(words) + added:
        raise BadUse(
            str(file),
            "has too few words of one token to make prompts of an exact length",
            next="--approximate, which needs no tokenizer",
        )
    return words, added
