"""Random faults: each run draws and prints a new seed; `SEED=N` repeats it, `FAULTS=30` tries 30 times as many."""

from __future__ import annotations

import os
import random

# Set before pytest-xdist starts its workers, which inherit it.
SEED = int(os.environ.setdefault("SEED", str(random.SystemRandom().randrange(1_000_000))))
FACTOR = int(os.environ.get("FAULTS", "1"))


def seeds(count: int) -> range:
    """Return the seeds of `count` random cases, times FAULTS."""
    return range(SEED, SEED + count * FACTOR)
