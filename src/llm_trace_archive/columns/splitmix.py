"""SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""

from __future__ import annotations

from typing import Any

import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # the generator adds it to its state before each `mix`


def mix(word: Any) -> Any:
    """Return the mixed bits of 64-bit words: different for different words, and 0 for 0.

    word  an array of uint64; or a scalar, in code compiled by numba after `numba.extending.register_jitable(mix)`
    """
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
