"""When each request is to be sent, and how long it and its answer are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..columns.arrays import to_integers
from ..core.errors import BadUse
from ..workload.requests import Requests

_Array: TypeAlias = npt.NDArray[Any]
NEEDED = ("arrival_us", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Plan:
    """The requests to send, in order of their arrival.

    rows       the requests of the workload, with the canonical columns
    at_us      when each is to be sent, from 0
    inputs     tokens of each prompt
    outputs    tokens of each answer
    previous   closed loop: the request whose answer each waits for, or -1
    think_us   closed loop: time between that answer and this request
    left_out   requests of the workload that can't be sent, by reason
    """

    rows: pa.Table
    at_us: _Array
    inputs: _Array
    outputs: _Array
    previous: _Array
    think_us: _Array
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.at_us)


def make_plan(requests: Requests, *, closed: bool = False, keep_failed: bool = False) -> Plan:
    """Return when the requests of a workload are to be sent.

    closed       let a turn wait for the answer of the one before, and then for the recorded think time: its arrival
                 less the end of the one before; less its arrival where no latency is known
    keep_failed  send requests that failed where they were recorded, too

    Raises BadUse for several workloads that are not merged, without arrivals, and in closed loop without sessions.
    """
    requests.require_one_table("replay")
    rows = requests.arrow()
    left_out = {}
    if not keep_failed:
        failed = pc.equal(rows["failed"], True)
        left_out["failed where they were recorded"] = pc.sum(failed).as_py() or 0
        rows = rows.filter(pc.invert(pc.fill_null(failed, False)))
    known = pc.and_(pc.greater(rows["input_tokens"], 0), pc.greater(rows["output_tokens"], 0))
    known = pc.fill_null(known, False)
    left_out["have no length, or one of 0"] = len(rows) - (pc.sum(known).as_py() or 0)
    rows = rows.filter(known)
    name = ", ".join(requests.names)
    if not len(rows):
        raise BadUse(name, "has no request with an input and an output", next=f"llm-traces profile {name}")
    if rows["arrival_us"].null_count:
        raise BadUse(
            name, "has requests without an arrival, so there is no time to send them at", next="llm-traces list"
        )
    rows = rows.take(pc.sort_indices(rows, [("arrival_us", "ascending"), ("request_id", "ascending")])).combine_chunks()
    arrival, inputs, outputs = (to_integers(rows[each].combine_chunks()).astype(np.int64) for each in NEEDED)
    previous, think = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
    if closed:
        if rows["session_id"].null_count == len(rows):
            raise BadUse(name, "has no sessions, so no turn to wait for", next="leave --closed-loop out")
        latency = to_integers(rows["latency_us"].combine_chunks())
        last: dict[tuple[int, str], int] = {}
        segments = to_integers(rows["segment"].combine_chunks())
        for at, session in enumerate(rows["session_id"].to_pylist()):
            if session is None:
                continue
            key = int(segments[at]), session
            if (before := last.get(key, -1)) >= 0:
                previous[at] = before
                think[at] = max(0, arrival[at] - arrival[before] - latency[before])
            last[key] = at
    left_out = {reason: count for reason, count in left_out.items() if count}
    return Plan(rows, arrival - arrival[0], inputs, outputs, previous, think, left_out)
