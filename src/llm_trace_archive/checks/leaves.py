"""Two values of JSON, leaf by leaf: what each of them says there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

MISSING = "nothing"
LONGEST = 160


def compare(expected: Any, found: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield every leaf that either value has: its place, such as `pins[0].url`, and both leaves as text.

    The texts are JSON, so that 1, 1.0, true and "1" all differ.
    """
    wanted, given = dict(leaves(expected, place)), dict(leaves(found, place))
    for name in {**wanted, **given}:
        yield name, wanted.get(name, MISSING), given.get(name, MISSING)


def leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every leaf with its place, as text; an empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            plain = re.fullmatch(r"[\w-]+", name)
            yield from leaves(each, f"{place}.{name}" if plain else f"{place}[{json.dumps(name)}]")
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from leaves(each, f"{place}[{index}]")
    else:
        text = json.dumps(value, ensure_ascii=False)
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
        yield place, text if len(text) <= LONGEST else f"{text[:LONGEST]}... (sha256 {digest})"
