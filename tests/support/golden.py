"""Compare a message with its golden file; `WRITE_GOLDEN=1 pytest` updates the files, for review."""

from __future__ import annotations

import os
import re
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden"


def assert_golden(name: str, text: str, **places: object) -> None:
    """Compare with golden/<name>.txt, where places of this run stand as <label> and ports as <port>."""
    for label, place in places.items():
        text = text.replace(str(place), f"<{label}>")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:<port>", text).rstrip("\n") + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no golden file {name}: WRITE_GOLDEN=1 writes it, for review; the text was:\n{text}"
    assert text == path.read_text(encoding="utf-8")
