"""The limit on the bytes per second that this process fetches: LLM_TRACES_RATE, such as 500k, 10M or 1.5G."""

from __future__ import annotations

import functools
import os
import re
import threading
import time

from ..core.errors import BadUse

VARIABLE = "LLM_TRACES_RATE"
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


class Rate:
    """Bytes per second, shared by all threads."""

    def __init__(self, bytes_per_second: float) -> None:
        self._seconds_per_byte = 1 / bytes_per_second
        self._lock = threading.Lock()
        self._due = 0.0  # on the monotonic clock: when the bytes so far fit the rate

    def pay(self, size: int, stop: threading.Event) -> None:
        """Wait until `size` more bytes fit the rate, or `stop` is set."""
        with self._lock:
            self._due = max(self._due, time.monotonic()) + size * self._seconds_per_byte
            due = self._due
        stop.wait(max(0.0, due - time.monotonic()))


def get_rate() -> Rate | None:
    """Return the rate that the environment sets; None if it sets none, or 0. Raises BadUse if it is not a rate."""
    return _parse(os.environ.get(VARIABLE, ""))


@functools.cache
def _parse(text: str) -> Rate | None:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMG]?)", text.strip() or "0")
    if match is None:
        raise BadUse(VARIABLE, "not a rate", expected="bytes per second, such as 500k, 10M or 1.5G", got=repr(text))
    number = float(match[1]) * _FACTORS[match[2]]
    return Rate(number) if number else None
