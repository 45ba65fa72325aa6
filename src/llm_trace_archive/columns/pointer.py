"""git-annex's pointers: small text files in place of content that is absent."""

from __future__ import annotations

import re
import stat
from pathlib import Path

LARGEST_POINTER = 32 << 10  # bytes, as in git-annex
_POINTER = re.compile(rb"((\.\./)*\.git)?/annex/objects/")  # how a pointer begins, or a link as a text file


def is_pointer(path: Path) -> bool:
    """Return whether a file is a pointer, as in clones with unlocked files or without links. Raises OSError."""
    status = path.stat()
    if status.st_size > LARGEST_POINTER or not stat.S_ISREG(status.st_mode):
        return False
    with path.open("rb") as content:
        return bool(_POINTER.match(content.read(LARGEST_POINTER)))
