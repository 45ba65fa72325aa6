"""Ctrl-C ends a command within a second, whatever it is doing.

Python handles a signal between two steps of the main thread, and joins all threads before it exits. A step may be a
long call of Arrow, and a thread may wait for a server. So a second thread gives the command a moment to end by itself,
and then ends the process: files appear by renaming only, so nothing is half-written.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

from ..core.files import remove_temporary

INTERRUPTED = 130
GRACE = 0.7  # seconds
MESSAGE = "\nstopped; nothing is half-written: the same command resumes\n"
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class _InterruptedError(BaseException):
    """Ctrl-C, as no subclass of Exception: the framework would print a message of its own."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the process with a message and exit code INTERRUPTED, within a second. Main thread only."""
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    is_reported = threading.Event()
    on_interrupt = signal.signal(signal.SIGINT, _interrupt)
    descriptor = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_after_interrupt, args=(wake, is_reported), daemon=True).start()
    try:
        yield
    except _InterruptedError:
        _report(is_reported)
        sys.exit(INTERRUPTED)  # joins the threads of pools, unless `_end_after_interrupt` is faster
    finally:
        if not is_reported.is_set():
            signal.set_wakeup_fd(descriptor)
            signal.signal(signal.SIGINT, on_interrupt)
            waker.close()


def _interrupt(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one could only break the end
    raise _InterruptedError


def _end_after_interrupt(wake: socket.socket, is_reported: threading.Event) -> None:
    """End the process GRACE seconds after an interrupt; return if none comes before the other end is closed."""
    with wake:
        while signals := wake.recv(1):
            if signals[0] == signal.SIGINT:
                time.sleep(GRACE)
                remove_temporary()
                _end_children()
                _report(is_reported)
                os._exit(INTERRUPTED)


def _report(is_reported: threading.Event) -> None:
    if not is_reported.is_set():
        is_reported.set()
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
        with contextlib.suppress(OSError, ValueError):  # closed
            sys.stderr.write(cursor + MESSAGE)
            sys.stderr.flush()


def _end_children() -> None:
    """Kill the processes of pools, which would wait for this one indefinitely."""
    if multiprocessing := sys.modules.get("multiprocessing"):
        for child in multiprocessing.active_children():
            child.kill()
