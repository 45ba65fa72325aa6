"""Round trips of whole files: any upstream file that can be read is restored byte for byte."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_trace_archive.convert import parquet, restore
from llm_trace_archive.convert.formats import csv as csv_format
from llm_trace_archive.convert.table import write_table
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.recipe import Rule, UpstreamFile, Workload
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.build import build_file
from llm_trace_archive.upstream.sources import Sources

FIELDS = [
    ("trace", "dictionary<string>"), ("workload", "dictionary<string>"), ("request_id", "int64"),
    ("arrival_us", "int64"), ("input_tokens", "int32"), ("rate", "float64"), ("model", "dictionary<string>"),
    ("session_id", "string"), ("hash_ids", "list<int64>"), ("more_ids", "list<int64>"),
]  # fmt: skip
SCHEMA = {"name": "t", "fields": [{"name": name, "type": "any", "arrowType": kind} for name, kind in FIELDS]}
TOKENS = st.integers(0, 10_000_000)
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)
ENDS = st.sampled_from(["\n", "\r\n"])


def round_trip(folder: Path, kind: str, rules: list[Rule], content: bytes) -> bytes:
    path, built = folder / f"upstream.{kind}", folder / "built.parquet"
    path.write_bytes(content)
    file = UpstreamFile("t", path.name, "https://example.org/x", None, None, tuple(rules))
    workload = Workload("t", "w", "T", kind, "request", (file,), {}, {}, (), ())
    write_table(workload, SCHEMA, {path.name: path}, built)
    return b"".join(piece for _, pieces in restore.restore_files(workload, Table(built)) for piece in pieces)


CSV_RULES = [
    Rule("arrival_us", "Time", unit="s"),
    Rule("session_id", "Session, or none", empty="null"),
    Rule("input_tokens", "Tokens"),
    Rule("rate", "Rate"),
    Rule("model", "Model", prefix=" "),
]
LINE = TEXT.map(lambda text: text.replace("\r", "").replace("\n", ""))  # no upstream breaks lines within a value
CSV_ROW = st.tuples(st.integers(0, 10**9), st.just("") | LINE, TOKENS, st.integers(0, 10**6), LINE)
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@one_folder
@given(st.lists(CSV_ROW, min_size=1, max_size=20), ENDS, st.integers(0, 6), st.sampled_from(["", "end", "end end"]))
def test_csv_files(tmp_path: Path, rows: list[Any], end: str, places: int, tail: str) -> None:
    """Numbers with any decimals, empty fields, quotes and commas in quotes, line ends, last newline."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(["Time", "Session, or none", "Tokens", "Rate", "Model"])
    for time, session, tokens, rate, model in rows:
        writer.writerow([f"{time / 10**places:.{places}f}", session, tokens, repr(rate / 8), f" {model}"])
    content = text.getvalue().removesuffix(end) + tail.replace("end", end).replace(" ", "")
    assert round_trip(tmp_path, "csv", CSV_RULES, content.encode()) == content.encode()


JSON_RULES = [
    Rule("arrival_us", "timestamp", unit="s"),
    Rule("input_tokens", "count.input"),
    Rule("session_id", "session"),
    Rule("hash_ids", "count.ids.first"),
    Rule("more_ids", "count.ids.second"),
    Rule("model", "model"),
]
IDS = st.lists(st.integers(0, 2**62), max_size=5)
JSON_ROW = st.tuples(st.integers(0, 10**12), TOKENS, TEXT, IDS, IDS, TEXT)


@one_folder
@given(st.lists(JSON_ROW, min_size=1, max_size=20), st.sampled_from(["", "\n", "\n\n"]), st.booleans())
def test_json_lines_files(tmp_path: Path, rows: list[Any], tail: str, as_text: bool) -> None:
    """Nested objects, escapes, empty lists, times as numbers or as text, last newline or blank line."""
    lines = []
    for time, tokens, session, first, second, model in rows:
        stamp = time / 1e6
        if "e" in repr(stamp):
            return
        count = {"input": tokens, "ids": {"first": first, "second": second}}
        shown = str(stamp) if as_text else stamp
        lines.append(json.dumps({"timestamp": shown, "session": session, "count": count, "model": model}))
    content = "\n".join(lines) + tail
    assert round_trip(tmp_path, "jsonl", JSON_RULES, content.encode()) == content.encode()


def test_a_file_with_many_blocks_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 5000)
    monkeypatch.setattr(restore, "BATCH_ROWS", 700)
    rules = [Rule("arrival_us", "t", unit="ms"), Rule("input_tokens", "n")]
    content = b"t,n\n" + b"".join(b"%d,%d\n" % (n, n % 7) for n in range(12_000))
    assert round_trip(tmp_path, "csv", rules, content) == content
    assert pq.read_metadata(tmp_path / "built.parquet").num_row_groups == 3


def test_every_real_file_is_restored(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    """sha256 of every upstream table in the mirror, restored, equals its pin."""
    sources, files = Sources(cache=tmp_path / "cache", mirror=str(mirror), offline=True), 0
    for workload in archive.select():
        if not all((mirror / workload.trace / file.name).exists() for file in workload.files):
            continue
        part = tmp_path / "part.parquet"
        build_file(archive, workload, part, sources)
        for file, pieces in restore.restore_files(workload, Table(part)):
            hashed = hashlib.sha256()
            for piece in pieces:
                hashed.update(piece)
            assert hashed.hexdigest() == file.file.sha256, file.name
            files += 1
    assert files >= 11
