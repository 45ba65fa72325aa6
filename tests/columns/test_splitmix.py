"""SplitMix64: the published numbers, the same from NumPy and from compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import register_jitable

from llm_trace_archive.columns.splitmix import GAMMA, mix

# The first outputs for the seed 0, of https://prng.di.unimi.it/splitmix64.c
FIRST = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def mix_each(words: Any) -> None:
    for place in range(len(words)):
        words[place] = mix(words[place])


def test_numpy_and_compiled_code_give_the_published_numbers() -> None:
    words = GAMMA * np.arange(1, 4, dtype=np.uint64)
    assert mix(words).tolist() == FIRST
    register_jitable(mix)
    numba.njit(mix_each)(words)
    assert words.tolist() == FIRST
