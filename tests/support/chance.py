"""Random faults: each run draws a new seed and prints it; `SEED=N` repeats it, `FAULTS=30` tries 30 times as many."""

from __future__ import annotations

import os
import random

# Set before pytest-xdist starts its workers, which inherit it.
SEED = int(os.environ.setdefault("SEED", str(random.SystemRandom().randrange(1_000_000))))
FACTOR = int(os.environ.get("FAULTS", "1"))


def seeds(count: int) -> range:
    """The seeds of `count` random cases, or of so many times more as FAULTS asks."""
    return range(SEED, SEED + count * FACTOR)
