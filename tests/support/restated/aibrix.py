"""AIBrix e3e10f9: generate_from_mooncake_jsonl of benchmarks/generator/workload_generator/workload_generator.py."""

from __future__ import annotations

import json
from pathlib import Path

from support.restated.understood import Understood

CHUNK = 512


def read(path: Path, duration_ms: int) -> Understood:
    """Reading ends at the first time after the duration; a chunk of 512 tokens for each id, cut to the input length."""
    found = Understood()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert type(row["timestamp"]) is int
        if row["timestamp"] > duration_ms:
            break
        assert type(row["output_length"]) is int and row["output_length"] > 0
        ids = row["hash_ids"]
        assert CHUNK * (len(ids) - 1) < row["input_length"] <= CHUNK * len(ids)
        prompt = [(one, min(CHUNK, row["input_length"] - CHUNK * n)) for n, one in enumerate(ids)]
        found.add(row["timestamp"] / 1000, sum(size for _, size in prompt), row["output_length"], prompt)
    return found
