"""SplitwiseSim 8f99e7d: trace.py makes a Request of each row, whose columns are its arguments."""

from __future__ import annotations

import csv
from pathlib import Path

from support.restated.understood import Understood

COLUMNS = {
    "request_id", "request_type", "application_id", "arrival_timestamp", "batch_size", "prompt_size", "token_size"
}  # fmt: skip


def read(path: Path) -> Understood:
    """Seconds, never going back; another column is an error; ids are those of the rows."""
    found = Understood()
    with path.open(newline="") as lines:
        reader = csv.DictReader(lines)
        assert set(reader.fieldnames or ()) == COLUMNS
        for number, row in enumerate(reader):
            assert (int(row["request_id"]), row["request_type"], row["application_id"]) == (number, "2", "0")
            assert not found.times or found.times[-1] <= float(row["arrival_timestamp"])
            found.add(float(row["arrival_timestamp"]), int(row["prompt_size"]), int(row["token_size"]))
    return found
