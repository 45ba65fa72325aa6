"""BLIS, inference-sim f90a1e3: LoadTraceV2 of sim/workload/tracev2.go."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from support.restated.understood import Understood

COLUMNS = [
    "request_id", "client_id", "tenant_id", "slo_class", "session_id", "round_index", "prefix_group", "prefix_length",
    "streaming", "input_tokens", "output_tokens", "text_tokens", "image_tokens", "audio_tokens", "video_tokens",
    "reason_ratio", "model", "deadline_us", "server_input_tokens", "arrival_time_us", "send_time_us",
    "first_chunk_time_us", "last_chunk_time_us", "num_chunks", "status", "error_message", "finish_reason",
]  # fmt: skip
HEADER = {"trace_version", "time_unit", "created_at", "mode", "warm_up_requests", "workload_seed", "workload_spec"}
TEXTS = {"client_id", "tenant_id", "slo_class", "session_id", "prefix_group", "model", "status", "error_message",
         "finish_reason"}  # fmt: skip


def read(header: Path, data: Path) -> Understood:
    """Microseconds by position; unknown keys of the header are an error; prompts of a session would be added up."""
    known = yaml.safe_load(header.read_text())
    assert set(known) <= HEADER and known["mode"] in ("real", "generated", "replayed")
    assert (known["trace_version"], known["time_unit"]) == (2, "microseconds")
    found = Understood()
    with data.open(newline="") as lines:
        names, *rows = csv.reader(lines)
        assert names == COLUMNS
        for cells in rows:
            row = dict(zip(COLUMNS, cells, strict=True))
            assert row["streaming"] in ("true", "false") and 0 <= float(row["reason_ratio"]) <= 1
            numbers = {name: int(row[name]) for name in COLUMNS if name not in TEXTS | {"streaming", "reason_ratio"}}
            assert min(numbers.values()) >= 0 and row["session_id"] == row["prefix_group"] == ""
            tokens = numbers["prefix_length"] + numbers["input_tokens"]
            found.add(numbers["arrival_time_us"] / 1e6, tokens, numbers["output_tokens"])
    return found
