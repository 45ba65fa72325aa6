"""Optional packages: installed by an extra of llm-trace-archive, imported only where they are used."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

from .errors import BadUse

DISTRIBUTION = "llm-trace-archive"


def require(package: str, extra: str, purpose: str) -> Any:
    """Import and return an optional package. Raises BadUse that names the extra that installs it.

    purpose  what needs the package, such as "hit ratios"
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise BadUse(
            package,
            f"is not installed, and {purpose} needs it",
            next=f"pip install '{DISTRIBUTION}[{extra}]', or in a clone: pip install --editable '.[{extra}]'",
        ) from None


def compiled(*functions: Callable[..., Any], purpose: str = "") -> tuple[Callable[..., Any], ...]:
    """Return functions of this package compiled; they release Python's lock.

    purpose  what needs numba, and raises BadUse without it; empty if the functions also do as they are, slowly

    numba keeps what it compiled beside the package, or else in the user's cache folder: compiling takes seconds.
    """
    try:
        numba = require("numba", "analysis", purpose)
    except BadUse:
        if purpose:
            raise
        return functions
    try:
        return tuple(numba.njit(nogil=True, cache=True)(each) for each in functions)
    except RuntimeError:  # neither folder is writable
        return tuple(numba.njit(nogil=True)(each) for each in functions)


def pinned_version(package: str, extra: str) -> str | None:
    """Return the exact version that an extra requires of a package; None if it pins none, or nothing is installed."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for each in requirements:
        match = re.match(rf"{re.escape(package)}==([^;\s]+)\s*;.*extra\s*==\s*['\"]{extra}['\"]", each)
        if match:
            return match[1]
    return None
