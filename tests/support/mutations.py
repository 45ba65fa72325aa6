"""Random changes of JSON-like values: what an editor, a merge or an attacker may leave in a file of an archive."""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import HealthCheck, settings

from support.chance import FACTOR


def faults(examples: int) -> settings:
    """Return settings for a property that is tried on so many examples, times FAULTS."""
    unhealthy = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples * FACTOR, suppress_health_check=unhealthy, deadline=None)


def _deep() -> Any:
    value: Any = []
    for _ in range(200):
        value = [value]
    return value


ODD = (
    True, False, -1, 0, 1, 2**31, 2**63, 10**4000, 0.5, -1e308, float("nan"), float("inf"), "", "x", "A", "-", ".",
    "..", "a\n", "\x1b[2J", "\x00", "../../x", "/etc/passwd", "é±", "٣", "x" * 300, "sha256:", "2023-13-45", "none",
    [], {}, ["x"], [0], [[]], {"x": 1}, {"": ""}, {"x": {"y": []}},
)  # fmt: skip
ODD_JSON = (None, "\ud800")  # no TOML file can have them


def mutate(value: Any, rng: random.Random, more: tuple[Any, ...] = ()) -> Any:
    """Return a copy of a value with one to three changes: a part replaced, removed, moved, repeated or renamed."""
    changed = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            break
        holder, key = rng.choice(places)
        action = rng.choice(("odd", "odd", "remove", "move", "repeat", "rename"))
        if action == "odd":
            holder[key] = copy.deepcopy(rng.choice((*ODD, *more, _deep())))
        elif action == "remove":
            del holder[key]
        elif action == "move":
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            new = rng.choice(("x", "", "a b", "A", "\n", "é", f"{key}2", rng.choice(list(holder))))
            holder[new] = holder[key] if action == "repeat" else holder.pop(key)
    return changed


def _places(value: Any) -> Any:
    """Yield every (dict or list, key or index) inside a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield value, key
        yield from _places(part)
