"""The program `git-annex-remote-llm-traces`, which git-annex runs to build the file of a key.

It speaks git-annex's external special remote protocol over stdin and stdout.
"""

from __future__ import annotations

import logging
import os
import sys

from ..core.errors import BadUse
from .messages import to_line
from .setup import PROGRAM, require_annexremote


def main() -> None:
    """Answer git-annex's requests until it closes the pipe."""
    if sys.stdin.isatty():
        sys.exit(f"{PROGRAM}: only git-annex can run this program; next: llm-traces get NAME")
    try:
        annexremote = require_annexremote()
    except BadUse as problem:
        sys.exit(f"{PROGRAM}: {to_line(problem)}")
    from .remote import Remote

    logging.disable()
    # Keep what a library prints out of the protocol.
    protocol, sys.stdout = sys.stdout, sys.stderr
    master = annexremote.Master(protocol)
    master.LinkRemote(Remote(master))
    try:
        master.Listen()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError:  # git-annex has ended
        os._exit(1)
