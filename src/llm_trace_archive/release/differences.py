"""Whether a target holds exactly the bundle's files, by the checksums it tells."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.files import hash_file
from .bundle.folder import Bundle
from .record import Listed

MISSING = "missing there"
EXTRA = "not in the bundle"
OTHER = "other bytes"


def differences(bundle: Bundle, listed: Mapping[str, Listed]) -> dict[str, str]:
    """How a target's files differ from the bundle's, by path in order; empty if they are the same. Raises OSError."""
    here = {each.path: each for each in bundle.files}
    found = dict.fromkeys(here.keys() - listed.keys(), MISSING) | dict.fromkeys(listed.keys() - here.keys(), EXTRA)
    for path in here.keys() & listed.keys():
        file, there = here[path], listed[path]
        # The size first: it spares the reading of most files that differ.
        if file.bytes != there.bytes or there.digest != (
            file.sha256 if there.kind == "sha256" else hash_file(bundle.root / path, there.kind)[0]
        ):
            found[path] = OTHER
    return dict(sorted(found.items()))


def apart(listed: Mapping[str, Listed], other: Mapping[str, Listed], name: str) -> dict[str, str]:
    """How a target's files differ from those of the other one of that name, by path in order.

    By sizes, and by digests where both tell one of the same kind.
    """
    found = dict.fromkeys(listed.keys() - other.keys(), f"not at {name}")
    found |= dict.fromkeys(other.keys() - listed.keys(), f"only at {name}")
    for path in listed.keys() & other.keys():
        here, there = listed[path], other[path]
        if here.bytes != there.bytes or (here.kind == there.kind and here.digest != there.digest):
            found[path] = OTHER
    return dict(sorted(found.items()))


def told(found: Mapping[str, str], most: int = 20) -> str:
    """Differences for a message, a line each."""
    lines = [f"{path}: {how}" for path, how in found.items()]
    return "\n".join(lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"])
