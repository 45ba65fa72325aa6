"""Settings from the environment: where the archive, its content and the cache are, how long to wait, and a salt."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from .errors import BadUse


def cache_folder() -> Path:
    """Return the folder that keeps upstream files: `LLM_TRACES_CACHE`, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("LLM_TRACES_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("llm-trace-archive"))


def data_folder() -> Path:
    """Return the folder that keeps content outside a clone: `LLM_TRACES_DATA`, or the user's data folder."""
    import platformdirs

    given = os.environ.get("LLM_TRACES_DATA")
    return Path(given) if given else Path(platformdirs.user_data_dir("llm-trace-archive"))


def archive_folder() -> Path | None:
    """Return the archive that `LLM_TRACES_ARCHIVE` names."""
    given = os.environ.get("LLM_TRACES_ARCHIVE")
    return Path(given) if given else None


def is_offline() -> bool:
    """Return whether `LLM_TRACES_OFFLINE` forbids every request to the network."""
    return os.environ.get("LLM_TRACES_OFFLINE", "0") not in ("", "0")


def salt() -> bytes:
    """Return 32 secret bytes: those that `LLM_TRACES_SALT` gives, or new ones."""
    given = os.environ.get("LLM_TRACES_SALT", "")
    return hashlib.sha256(given.encode()).digest() if given else secrets.token_bytes(32)


def timeout() -> float | None:
    """Return `LLM_TRACES_TIMEOUT`: the seconds without new bytes after which a server is given up; None if not set.

    Raises BadUse if it is not a number of seconds.
    """
    text = os.environ.get("LLM_TRACES_TIMEOUT", "").strip()
    if not re.fullmatch(r"[0-9]{0,6}(\.[0-9]{1,3})?", text):
        raise BadUse("LLM_TRACES_TIMEOUT", "not a number of seconds", expected="a number such as 300", got=repr(text))
    return float(text) or None if text else None
