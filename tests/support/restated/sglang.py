"""SGLang 0.5.23: sglang/benchmark/datasets/mooncake.py."""

from __future__ import annotations

import json
from pathlib import Path

from support.restated.understood import Understood


def read(path: Path) -> Understood:
    """Sorted by time and rebased; input_length is ignored: a prompt is 128 words for each id."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rows.sort(key=lambda row: row["timestamp"])
    found = Understood()
    for row in rows:
        prompt = [(one, 128) for one in row["hash_ids"]]
        found.add((row["timestamp"] - rows[0]["timestamp"]) / 1000, 128 * len(prompt), row["output_length"], prompt)
    return found
