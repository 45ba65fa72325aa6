"""How the lines of an upstream file must look: look-alikes and real files are both held to it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import NamedTuple

INTEGER = r"(0|[1-9]\d*)"
FLOAT = r"(0|[1-9]\d*)\.(0|\d*[1-9])"  # as Python prints it
IDS = rf"\[({INTEGER}(, {INTEGER})*)?\]"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Shape(NamedTuple):
    """How a file is spelled: a pattern that every line matches, and what surrounds the lines.

    published  lines that the upstream itself shows, which match too
    """

    line: str
    header: str = ""
    end: str = "\n"
    tail: str = "\n"
    published: tuple[str, ...] = ()

    def lines(self, path: Path) -> list[str]:
        """Return a file's lines without its header. Raises ValueError for the first that does not match."""
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        stripped = text.rstrip("\r\n")
        if text[len(stripped) :] != self.tail:
            raise ValueError(f"{path.name} ends with {text[len(stripped) :]!r}, not {self.tail!r}")
        lines = stripped.split(self.end)
        if self.header and lines.pop(0) != self.header:
            raise ValueError(f"{path.name} does not start with {self.header!r}")
        for number, line in enumerate(lines, 1 + bool(self.header)):
            if not re.fullmatch(self.line, line):
                raise ValueError(f"{path.name}, line {number}: {line[:200]!r} does not match {self.line}")
        return lines
