"""What the special remote has to say, on its way through git-annex and DataLad.

Both print one line per error. DataLad prints nothing else that the special remote says, so `relay` bypasses it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..core.errors import Problem, Unavailable, printable
from ..core.files import locked, replace_text
from ..core.settings import cache_folder

SEPARATOR = " | "
SAME_REASONS = ", for the same reasons"
PIPE = "LLM_TRACES_PIPE"  # the environment variable that names the pipe of `relay`
RECENT = 60  # seconds within which git-annex asks for the next file


def to_line(problem: Problem) -> str:
    """Return the whole message in one line."""
    details = [f"{label}: {'; '.join(text.splitlines())}" for label, text in problem.details.items()]
    return printable(SEPARATOR.join([f"{problem.subject}: {problem.message}", *details]))


def from_lines(messages: Iterable[str]) -> list[str]:
    """Return the lines of messages that `to_line` joined, without repeats; those shortened by `shorten` form one."""
    lines = list(dict.fromkeys(line for text in messages for line in text.replace(SEPARATOR, "\n").splitlines()))
    shortened = sorted(line.removesuffix(SAME_REASONS) for line in lines if line.endswith(SAME_REASONS))
    summary = [f"for the same reasons: {'; '.join(shortened)}"] if shortened else []
    return [line for line in lines if not line.endswith(SAME_REASONS)] + summary


def shorten(problem: Unavailable) -> Unavailable:
    """Return the problem without its reasons if this git-annex printed the same reasons for another file a moment ago.

    git-annex runs several special remotes at a time, so a file in the cache keeps the reasons that were printed, by the
    process id of git-annex.
    """
    # The reasons without the names of files: "cache: not found", "https://host: connection refused".
    reasons = re.sub(r"(://[^/\s]+)/\S*(?=: )", r"\1", problem.details.get("tried", ""))
    line = f"{os.getppid()} {reasons!r}\n"
    path = cache_folder() / "printed-reasons"
    printed = ""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            if path.exists() and time.time() - path.stat().st_mtime < RECENT:
                printed = path.read_text(encoding="utf-8")
            if line in printed:
                os.utime(path)
            else:
                replace_text(path, printed + line)
    return Unavailable(problem.subject, problem.message + SAME_REASONS) if line in printed else problem


@contextlib.contextmanager
def relay(on_line: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Yield environment variables for DataLad, with which lines of `send_line` reach `on_line`, in a thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        os.mkfifo(path, 0o600)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0) as pipe:

            def read() -> None:
                for line in iter(pipe.readline, b"\n"):
                    on_line(line.decode(errors="replace").rstrip("\n"))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            try:
                yield {PIPE: str(path)}
            finally:
                pipe.write(b"\n")
                reader.join()


def send_line(line: str) -> None:
    """Send a line to the process whose `relay` runs DataLad, if there is one."""
    if path := os.environ.get(PIPE):
        with contextlib.suppress(OSError):  # it has ended
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(pipe, f"{line}\n".encode())
            finally:
                os.close(pipe)
