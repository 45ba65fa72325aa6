"""Token counts and arrivals that look like published ones.

Curves are computed once, as tables of integers; drawing from them is integer arithmetic (see `draws`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from .draws import Draws, Ints, Words

_KNOT_BITS = 12
_FRACTION_BITS = 8  # knots are in units of 1/256, so that small counts are not rounded twice


@dataclass(frozen=True, eq=False)
class Tokens:
    """A distribution of counts, given by its quantiles at 0, 1/4096, ... 1; `knots` are in units of 1/256."""

    knots: Ints

    def at(self, words: Words) -> Ints:
        """Return the counts for random words."""
        step = 52 - _KNOT_BITS
        index = (words >> np.uint64(64 - _KNOT_BITS)).astype(np.int64)
        part = (words >> np.uint64(step - 20) & np.uint64(0xFFFFF)).astype(np.int64)
        low = self.knots[index]
        return (low + ((self.knots[index + 1] - low) * part >> 20) + (1 << _FRACTION_BITS - 1)) >> _FRACTION_BITS

    def draw(self, draws: Draws, count: int) -> Ints:
        """Return `count` random counts."""
        return self.at(draws.words(count))


def _table(quantiles: Sequence[float]) -> Tokens:
    return Tokens(np.array([round(each * (1 << _FRACTION_BITS)) for each in quantiles], np.int64))


@lru_cache
def lognormal(median: float, mean: float, most: int, least: int = 1) -> Tokens:
    """Return `least` plus a lognormal, capped at `most`; median and mean are those of the sum."""
    middle, average, top = median - least, mean - least, most - least
    low, high = 0.01, 4.0
    for _ in range(50):
        sigma = (low + high) / 2
        low, high = (sigma, high) if _capped_mean(middle, sigma, top) < average else (low, sigma)
    count, normal = 1 << _KNOT_BITS, NormalDist()
    inner = [least + min(top, middle * math.exp(sigma * normal.inv_cdf(i / count))) for i in range(1, count)]
    return _table([least, *inner, most])


def _capped_mean(median: float, sigma: float, most: float) -> float:
    far, normal = math.log(most / median) / sigma, NormalDist()
    return median * math.exp(sigma**2 / 2) * normal.cdf(far - sigma) + most * normal.cdf(-far)


def from_percentiles(quantiles: Mapping[int, int]) -> Tokens:
    """Return the distribution with these quantiles, from 0 % to 100 %, linear between them."""
    count, table = 1 << _KNOT_BITS, []
    for (below, low), (above, high) in pairwise(quantiles.items()):
        inside = (100 * i / count for i in range(-(-below * count // 100), -(-above * count // 100)))
        table += [low + (high - low) * (percent - below) / (above - below) for percent in inside]
    return _table([*table, quantiles[100]])


# Requests per hour in percent of a working day's busiest hour. Not published: a plausible day.
_DAY = (22, 16, 12, 10, 9, 10, 16, 30, 56, 82, 96, 100, 88, 90, 98, 99, 95, 84, 66, 56, 50, 44, 36, 28)
FLAT = (1,) * 64


def hourly_load(days: int, first_weekday: int, first_hour: int = 0, weekend: int = 40) -> list[int]:
    """Return the load of each hour; weekday 0 is Monday, a weekend has `weekend` percent of a working day's load."""
    return [
        _DAY[hour % 24] * (weekend if (first_weekday + hour // 24) % 7 > 4 else 100) // 100 or 1
        for hour in range(first_hour, first_hour + 24 * days)
    ]


@dataclass(frozen=True)
class Arrivals:
    """Ascending times from `first` to `last`, inclusive, in any unit; `load` is the rate in equal parts of the span.

    Loads are from 1 to 2**31, and each part of the span is shorter than 2**32 units.
    """

    first: int
    last: int
    load: Sequence[int]

    def chunk(self, draws: Draws, start: int, stop: int, rows: int) -> Ints:
        """Return the times of the requests [start, stop) out of `rows`."""
        shift = 31 - max(self.load).bit_length()
        ends = np.concatenate([[0], np.cumsum(np.asarray(self.load, np.int64))]) << shift
        below, above = int(ends[-1]) * start // rows, int(ends[-1]) * stop // rows
        # The remainder of 64 bits by less than 2**40: uniform to one part in 2**24.
        place = np.sort((draws.words(stop - start) % np.uint64(above - below)).astype(np.int64)) + below
        part = np.searchsorted(ends, place, side="right") - 1
        width = (self.last - self.first) // len(self.load)
        times: Ints = self.first + part * width + (place - ends[part]) * width // np.diff(ends)[part]
        if start == 0:
            times[0] = self.first
        if stop == rows:
            times[-1] = self.last
        return times


def scale_rows(published: Mapping[str, int], rows: int) -> dict[str, int]:
    """Return the rows of each file, in the published proportions and at least 1; the largest file has `rows`."""
    most = max(published.values())
    return {name: max(1, rows * count // most) for name, count in published.items()}
