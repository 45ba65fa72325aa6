"""What can go wrong, worded so that a tired reader knows what to do.

Every expected failure is a `Problem`. The command line prints it and exits with its code; library callers catch it.
"""

from __future__ import annotations

import unicodedata

FINDINGS = 1  # the data is not what it should be
USAGE = 2  # wrong use, or an environment that does not allow the work

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of controls, surrogates and line ends


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
        return "\n".join(map(escape, lines))


def escape(text: str, keep: str = "") -> str:
    """Return text with the characters that could steer a terminal, or hide, as escapes such as \\x1b.

    Servers, upstream files and recipes may contain anything. What can't be encoded, such as a file name that is not
    UTF-8, is escaped too.

    keep  characters that stay as they are, such as "\\n"
    """
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _HIDDEN and each not in keep else each
        for each in text
    )


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


def from_system(error: OSError) -> BadUse:
    """Return a refusal of the system that nothing else explains, such as a disk's, as a problem."""
    return BadUse(
        str(error.filename or "a file"),
        f"can't be read or written: {error.strerror or error}",
        next="free some space or fix the permissions, then run the same command again",
    )
