"""vLLM 0.33.0: `timed_trace` and `burstgpt` of vllm/benchmarks/datasets/datasets.py."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from support.restated.understood import Understood


def read_timed_trace(path: Path, chunk: int) -> Understood:
    """File order, no rebasing; a prompt is cut to its ids; a blank line is an error, lengths are integers."""
    found = Understood()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert type(row["input_length"]) is int and type(row["output_length"]) is int
        left, prompt = row["input_length"], []
        for one in row.get("hash_ids", []):
            size = min(chunk, left)
            prompt.append((one, size))
            left -= size
            if left <= 0:
                break
        found.add(float(row["timestamp"]), sum(size for _, size in prompt), row["output_length"], prompt)
    return found


def read_burstgpt(path: Path) -> Understood:
    """Columns by position; only rows of GPT-4 with an answer; no times."""
    found = Understood()
    with path.open(newline="") as lines:
        for row in list(csv.reader(lines))[1:]:
            if row[1] == "GPT-4" and int(row[3]) > 0:
                found.add(0, int(row[2]), int(row[3]))
    return found
