"""How the files at a target differ from those of the bundle or of the other target."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.files import hash_file
from .bundle.folder import Bundle
from .record import RemoteFile

MISSING = "missing there"
EXTRA = "not in the bundle"
CHANGED = "different bytes"


def compare_with_bundle(bundle: Bundle, remote: Mapping[str, RemoteFile]) -> dict[str, str]:
    """Return how a target's files differ from the bundle's, by path in order; empty if they are the same.

    Compares the checksums that the target reports. Raises OSError.
    """
    local = {each.path: each for each in bundle.files}
    differences = dict.fromkeys(local.keys() - remote.keys(), MISSING)
    differences |= dict.fromkeys(remote.keys() - local.keys(), EXTRA)
    for path in local.keys() & remote.keys():
        file, there = local[path], remote[path]
        # Most files that differ have another size, and need not be read.
        if file.bytes != there.bytes or there.digest != (
            file.sha256 if there.kind == "sha256" else hash_file(bundle.root / path, there.kind)[0]
        ):
            differences[path] = CHANGED
    return dict(sorted(differences.items()))


def compare_targets(files: Mapping[str, RemoteFile], others: Mapping[str, RemoteFile], other: str) -> dict[str, str]:
    """Return how a target's files differ from those of the target named `other`, by path in order.

    Compares sizes, and digests where both are of the same kind.
    """
    differences = dict.fromkeys(files.keys() - others.keys(), f"not at {other}")
    differences |= dict.fromkeys(others.keys() - files.keys(), f"only at {other}")
    for path in files.keys() & others.keys():
        here, there = files[path], others[path]
        if here.bytes != there.bytes or (here.kind == there.kind and here.digest != there.digest):
            differences[path] = CHANGED
    return dict(sorted(differences.items()))


def format_differences(differences: Mapping[str, str], most: int = 20) -> str:
    """Return differences for a message, one per line."""
    lines = [f"{path}: {how}" for path, how in differences.items()]
    return "\n".join(lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"])
