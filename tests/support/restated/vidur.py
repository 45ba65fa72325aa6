"""Vidur at GitHub 7d47513: vidur/request_generator/trace_replay_request_generator.py."""

from __future__ import annotations

import csv
from pathlib import Path

from support.restated.understood import Understood


def read(path: Path, max_tokens: int) -> Understood:
    """Seconds in file order; at least 1 token each; a prompt is cut to what max_tokens leaves."""
    found = Understood()
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            prompt, answer = max(1, int(row["num_prefill_tokens"])), max(1, int(row["num_decode_tokens"]))
            prompt -= max(0, prompt + answer - max_tokens)
            assert prompt > 0
            found.add(float(row["arrived_at"]), prompt, answer)
    return found
