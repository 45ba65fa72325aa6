"""What a replay comes to in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import to_integers

SHARES = {"p50": 50, "p90": 90, "p99": 99}
SLOS = ("ttft", "tpot", "latency")


def summarise(outcomes: pa.Table, left_out: Mapping[str, int], slos: Mapping[str, int]) -> dict[str, Any]:
    """Return the figures of a replay. Times are in ms, rates per second.

    slos  the longest ttft, tpot and latency, in microseconds, that still count as good

    requests_per_s are those sent until the last was sent; drift is sent less scheduled; tpot of a request is
    (latency - ttft) / (tokens of the answer - 1); itl are the gaps between events of all answers; goodput counts
    complete answers within every SLO, per second from the first request sent to the last answer.
    """
    good = outcomes.filter(pc.is_null(outcomes["error"]))
    sent, latency = (_numbers(good[name]) for name in ("sent", "latency"))
    start = pc.min(outcomes["sent"]).as_py() or 0
    end = max([int((sent + latency).max())] if len(good) else [], default=pc.max(outcomes["sent"]).as_py() or 0)
    seconds = max(end - start, 1) / 1e6
    asked = (pc.max(outcomes["scheduled"]).as_py() or 0) / 1e6
    sending = ((pc.max(outcomes["sent"]).as_py() or 0) - start) / 1e6
    streamed = good.filter(pc.is_valid(good["ttft"]))
    ttft = _numbers(streamed["ttft"])
    tokens = _numbers(pc.coalesce(streamed["output_tokens"], streamed["events"]))
    long = tokens > 1
    tpot = (_numbers(streamed["latency"]) - ttft)[long] / (tokens[long] - 1)
    gaps = _numbers(pc.list_flatten(good["gaps"]))
    reasons = Counter(outcomes["error"].drop_null().to_pylist())
    figures: dict[str, Any] = {
        "requests": len(outcomes),
        "complete": len(good),
        "failed": len(outcomes) - len(good),
        "reasons": dict(reasons.most_common(5)),
        "left_out": dict(left_out),
        "waited_for_a_place": pc.sum(pc.greater(outcomes["waited"], 0)).as_py() or 0,
        "seconds": round(seconds, 3),
        "requests_per_s": round(len(outcomes) / sending, 3) if sending else None,
        "requests_per_s_asked": round(len(outcomes) / asked, 3) if asked else None,
        "input_tokens_per_s": _rate(good["input_tokens"], seconds),
        "output_tokens_per_s": _rate(pc.coalesce(good["output_tokens"], good["events"]), seconds),
        "cached_tokens": pc.sum(good["cached_tokens"]).as_py(),
        "drift_ms": _spread(_numbers(pc.subtract(outcomes["sent"], outcomes["scheduled"]))),
        "ttft_ms": _spread(ttft),
        "tpot_ms": _spread(tpot),
        "itl_ms": _spread(gaps),
        "latency_ms": _spread(latency),
    }
    if slos:
        within = np.ones(len(good), bool)
        limits = {name: slos.get(name, 1 << 62) for name in SLOS}
        within &= latency <= limits["latency"]
        within &= _numbers(good["ttft"]) <= limits["ttft"]
        all_tokens = np.maximum(_numbers(pc.coalesce(good["output_tokens"], good["events"])), 2)
        within &= (latency - _numbers(good["ttft"])) <= limits["tpot"] * (all_tokens - 1.0)
        figures["slos_ms"] = {name: limit / 1000 for name, limit in slos.items()}
        figures["goodput_per_s"] = round(int(within.sum()) / seconds, 3)
        figures["good_share"] = round(int(within.sum()) / max(len(outcomes), 1), 4)
    return figures


def _numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    return to_integers(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)


def _rate(column: pa.ChunkedArray, seconds: float) -> float | None:
    total = pc.sum(column).as_py()
    return None if total is None else round(total / seconds, 1)


def _spread(values: np.ndarray[Any, Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    found = np.percentile(values, list(SHARES.values())) / 1000
    return {name: round(float(each), 3) for name, each in zip(SHARES, found, strict=True)} | {
        "max": round(float(values.max()) / 1000, 3)
    }
