"""A limit on the bytes a second that this process fetches: LLM_TRACES_RATE, such as 500k, 10M or 1.5G."""

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
    """Bytes a second, shared by all threads."""

    def __init__(self, bytes_per_second: float) -> None:
        self._seconds_a_byte = 1 / bytes_per_second
        self._lock = threading.Lock()
        self._due = 0.0  # on the monotonic clock: when all bytes told so far are paid for

    def pay(self, size: int, stop: threading.Event) -> None:
        """Wait until `size` bytes more fit the rate, or `stop` is set."""
        with self._lock:
            self._due = max(self._due, time.monotonic()) + size * self._seconds_a_byte
            due = self._due
        stop.wait(max(0.0, due - time.monotonic()))


def rate() -> Rate | None:
    """The rate that the environment asks for; None without one, or with 0. Raises BadUse for what is none."""
    return _rate(os.environ.get(VARIABLE, ""))


@functools.cache
def _rate(text: str) -> Rate | None:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kMG]?)", text.strip() or "0")
    if found is None:
        raise BadUse(VARIABLE, "not a rate", expected="bytes a second, such as 500k, 10M or 1.5G", got=repr(text))
    number = float(found[1]) * _FACTORS[found[2]]
    return Rate(number) if number else None
