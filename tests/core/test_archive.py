"""What counts as content that is here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_trace_archive.columns.pointer import LARGEST_POINTER
from llm_trace_archive.core.archive import Archive

KEY = "SHA256-s4--" + "0" * 64
POINTER = f"/annex/objects/{KEY}\n".encode()

CASES: list[tuple[str, Callable[[Path], object], bool]] = [
    ("a Parquet file", lambda path: path.write_bytes(b"PAR1"), True),
    ("damage, which a check reports", lambda path: path.write_bytes(b"/annex is not a pointer"), True),
    ("an empty file", lambda path: path.write_bytes(b""), True),
    ("a pointer", lambda path: path.write_bytes(POINTER), False),
    ("a pointer with an extension", lambda path: path.write_bytes(POINTER + b"/annex/more\n"), False),
    ("a link as text", lambda path: path.write_text(f"../../.git/annex/objects/8V/1q/{KEY}/{KEY}"), False),
    ("too large for a pointer", lambda path: path.write_bytes(POINTER.ljust(LARGEST_POINTER + 1)), True),
    ("a dangling link", lambda path: path.symlink_to("nowhere"), False),
    ("a link to itself", lambda path: path.symlink_to(path.name), False),
    ("nothing", lambda path: None, False),
]


@pytest.mark.parametrize(("make", "is_here"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_content_is_here_if_it_is_no_pointer(tmp_path: Path, make: Callable[[Path], object], is_here: bool) -> None:
    make(tmp_path / "table.parquet")
    assert Archive(tmp_path).has_content("table.parquet") is is_here
