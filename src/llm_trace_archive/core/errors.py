"""What can go wrong, worded so that a tired reader knows what to do.

Every expected failure is a `Problem`. The command line prints it and exits with its code; library callers catch it.
"""

from __future__ import annotations

import re

# Control characters but tab and newline, signs that turn the direction of text, line ends of Unicode, and halves of
# surrogate pairs: terminals obey them, or files can't hold them.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST = 4096  # characters of a line of a message, as many as a path may have
FINDINGS = 1  # the data is not what it should be
USAGE = 2  # wrong use, or an environment that does not allow the work


def printable(text: str) -> str:
    """Return text with what a terminal would obey spelled out, such as \\x1b."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def _shorten(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


class Problem(Exception):
    """One failure: a headline, then aligned lines in the order given, such as expected, got, kept at, next.

    `subject` is what it is about ("burstgpt/3", or a file); `details` maps a label to its text, and a label whose
    text is empty is left out. `exit_code` is FINDINGS or USAGE.
    """

    exit_code = FINDINGS

    def __init__(self, subject: str, message: str, /, **details: str) -> None:
        self.subject = subject
        self.message = message
        self.details = {label.replace("_", " ").strip(): text for label, text in details.items() if text}
        super().__init__(subject, message)

    def __str__(self) -> str:
        width = max((len(label) for label in self.details), default=0)
        lines = [f"{self.subject}: {self.message}"]
        for label, text in self.details.items():
            first, *rest = text.splitlines() or [""]
            lines.append(f"  {label:<{width}}  {first}")
            lines += [f"  {'':<{width}}  {line}" for line in rest]
        return printable("\n".join(map(_shorten, lines)))


class BadUse(Problem):
    """The command, the recipe or the environment is at fault; no data was checked."""

    exit_code = USAGE


class Unavailable(Problem):
    """An upstream file is in neither the cache nor the mirror, and its URL does not give it.

    `wrong_copies` says of each place that has another file in its stead which place, and what is wrong.
    """

    wrong_copies: tuple[str, ...] = ()


class BadUpstream(Problem):
    """Upstream bytes do not match the pin, or the recipe can't read them."""


class Absent(Problem):
    """Content is not here: in neither this clone nor the user's data folder. `workloads` has the names."""

    exit_code = USAGE
    workloads: tuple[str, ...] = ()


def from_system(error: OSError) -> BadUse:
    """Return a refusal of the system that nothing else explains, such as a disk's, as a problem."""
    return BadUse(
        str(error.filename2 or error.filename or "a file"),
        f"can't be read or written: {error.strerror or error}",
        next="free some space or fix the permissions, then run the same command again",
    )
