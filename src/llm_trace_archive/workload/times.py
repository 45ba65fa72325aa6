"""Times as people write them: "90s", "10min", "1.5 h", a number of seconds, or a date and time."""

from __future__ import annotations

import math
import re
from datetime import datetime

from ..core.errors import BadUse

UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
EXAMPLES = '90, "90s", "10min", "1.5h", "2d"'
Time = float | str


def microseconds(time: Time, subject: str) -> int:
    """Return a length of time in microseconds. Raises BadUse for anything else, and for less than 0.

    time     seconds as a number, or a number with a unit of UNITS
    subject  what it is for, such as "window"
    """
    number, unit = time, "s"
    if isinstance(time, str):
        match = re.fullmatch(r"\s*(-?[0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z]*)\s*", time)
        if not match or (match[2] or "s") not in UNITS:
            raise BadUse(subject, f"'{time}' is no length of time", expected=EXAMPLES)
        number, unit = float(match[1]), match[2] or "s"
    if not 0 <= float(number) < math.inf:
        raise BadUse(subject, f"a time must be at least 0, not {time}")
    return round(float(number) * UNITS[unit])


def since_epoch(time: Time, epoch: str | None, subject: str) -> int | None:
    """Return a date and time as microseconds since a trace's epoch; None if it is a length of time.

    Raises BadUse for a date without an epoch to count from.
    """
    if not isinstance(time, str) or not re.match(r"\s*\d{4}-\d\d-\d\d", time):
        return None
    try:
        moment = datetime.fromisoformat(time.strip()).replace(tzinfo=None)
    except ValueError as error:
        raise BadUse(subject, f"'{time}' is no date and time", reason=str(error)) from None
    if not epoch:
        raise BadUse(subject, f"'{time}' is a date, but the arrivals have none", expected=EXAMPLES)
    return round((moment - datetime.fromisoformat(epoch)).total_seconds() * UNITS["s"])


def duration(us: float) -> str:
    """Return a length of time as people write it, such as "10min" or "1.5h"."""
    for unit in ("d", "h", "min", "s", "ms"):
        if us >= UNITS[unit]:
            return f"{us / UNITS[unit]:.4g}{unit}"
    return f"{us:.4g}us"
