"""The texts of licences in the archive, against those that SPDX publishes: word for word, whatever the line breaks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..core.archive import Archive
from .result import Result

OWN, OWN_KEY, OTHERS = "LICENSE.txt", "MIT", "LICENSES"
SOURCE = "https://spdx.org/licenses"
LARGEST = 1 << 18  # bytes


@dataclass(frozen=True)
class Text:
    """The words of a licence in lower case: the first ones, how many there are, and the sha256 of all.

    A copyright notice may stand before them, and what else the licence's file says after them.
    """

    start: str
    words: int
    sha256: str

    def is_in(self, content: str) -> bool:
        """Return whether a file's content has all these words in this order."""
        words, start = content.lower().split(), self.start.split()
        places = (place for place in range(len(words)) if words[place : place + len(start)] == start)
        parts = (" ".join(words[place : place + self.words]) for place in places)
        return any(hashlib.sha256(part.encode()).hexdigest() == self.sha256 for part in parts)


TEXTS = {
    "Apache-2.0": Text(
        "apache license version 2.0,", 1581, "948703bcf1cb4a2dafd21676dd01e40a58fe21bd9b425c000b9070eccb441092"
    ),
    "MIT": Text(
        "permission is hereby granted,", 162, "56959050891f7b737ac4e803051170c7197f02df73d80bd9a78d968e305bf558"
    ),
}


def check_licences(archive: Archive) -> Iterator[Result]:
    """Check every text of a licence: of the archive itself, and those under LICENSES/. A missing one is no finding."""
    own = archive.root / OWN
    for path in (*([own] if os.path.lexists(own) else ()), *sorted((archive.root / OTHERS).glob("*"))):
        key = OWN_KEY if path == own else path.stem
        text, expected = TEXTS.get(key), f"the text of {key}"
        found = "another text"
        if text is None:
            found = f"an unknown licence: add its words to {__name__}"
        elif not path.is_file():
            found = "not a file"
        elif text.is_in(path.read_bytes()[:LARGEST].decode(errors="replace")):
            found = expected
        name = path.relative_to(archive.root).as_posix()
        yield Result("package", name, expected, 0, found, SOURCE)
