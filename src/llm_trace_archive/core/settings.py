"""Settings from the environment: where the cache is, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder that keeps upstream files: `LLM_TRACES_CACHE`, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("LLM_TRACES_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("llm-trace-archive"))


def is_offline() -> bool:
    """Return whether `LLM_TRACES_OFFLINE` forbids every request to the network."""
    return os.environ.get("LLM_TRACES_OFFLINE", "0") not in ("", "0")
