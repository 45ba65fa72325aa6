"""trace-replayer 84c9193: the Bailian reader of src/dataset.rs."""

from __future__ import annotations

import json
from pathlib import Path

from support.restated.understood import Understood

BLOCK = 16
FIELDS = {
    "chat_id": int, "parent_chat_id": int, "timestamp": float, "input_length": int, "output_length": int,
    "type": str, "turn": int, "hash_ids": list,
}  # fmt: skip


def read(path: Path) -> Understood:
    """Seconds in file order; every field is required and typed; a blank line, no ids or too many end it."""
    found = Understood()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        for name, kind in FIELDS.items():
            assert isinstance(row[name], kind), name
        ids = row["hash_ids"]
        assert 0 < len(ids) <= -(-row["input_length"] // BLOCK)
        assert not found.times or found.times[-1] <= row["timestamp"]
        prompt = [(one, min(BLOCK, row["input_length"] - BLOCK * n)) for n, one in enumerate(ids)]
        found.add(row["timestamp"], sum(size for _, size in prompt), row["output_length"], prompt)
    return found
