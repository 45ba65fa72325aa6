"""JSON Lines with lists and objects: what a file shows is kept, and lines that disagree are refused."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm_trace_archive.convert import restore
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.core.table import Table
from llm_trace_archive.demo.lookalikes import write_upstream
from llm_trace_archive.lock.build import build_file
from llm_trace_archive.upstream.sources import Sources
from support.golden import assert_golden

TRACE = "tracelab"
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def workload_of(archive: Archive, content: bytes, folder: Path) -> Workload:
    """Write a file to a mirror in `folder`, and return the workload of it alone."""
    path = folder / "mirror" / TRACE / "rounds.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    whole = archive.recipe(TRACE).workload("rounds")
    file = dataclasses.replace(whole.files[0], name=path.name, sha256=hash_file(path)[0], bytes=None, also=())
    return dataclasses.replace(whole, files=(file,), expect={}, published=())


def build(archive: Archive, content: bytes, folder: Path) -> list[dict[str, Any]]:
    """Build the rows of a file, and check that it is restored."""
    workload = workload_of(archive, content, folder)
    sources = Sources(folder / "cache", mirror=str(folder / "mirror"), offline=True)
    build_file(archive, workload, folder / "built.parquet", sources)
    with Table(folder / "built.parquet") as table:
        ((_, pieces),) = restore.restore_files(workload, table)
        assert b"".join(pieces) == content
    rows: list[dict[str, Any]] = pq.read_table(folder / "built.parquet").to_pylist()
    return rows


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    import gzip

    folder = tmp_path_factory.mktemp("tracelab")
    write_upstream(TRACE, folder, 60)
    with gzip.open(folder / TRACE / "syfi_coding_trace.jsonl.gz") as stream:
        return [json.loads(line) for line in stream]


def text_of(records: list[dict[str, Any]], **style: Any) -> bytes:
    return "".join(json.dumps(each, **style) + "\n" for each in records).encode()


STYLES = [{"separators": (",", ":")}, {}, {"separators": (",", ":"), "ensure_ascii": False}, {"ensure_ascii": False}]


@pytest.mark.parametrize("style", STYLES)
def test_any_consistent_spelling_is_restored(
    style: dict[str, Any], records: list[dict[str, Any]], archive: Archive, tmp_path: Path
) -> None:
    changed = [each | {"store": "Zoé"} for each in records]
    rows = build(archive, text_of(changed, **style).rstrip(b"\n"), tmp_path)
    assert [row["store"] for row in rows] == ["Zoé"] * len(records)
    assert [json.loads(row["tools"]) for row in rows] == [each["tools"] for each in records]


def test_missing_values_are_left_out_or_null_as_in_the_file(
    records: list[dict[str, Any]], archive: Archive, tmp_path: Path
) -> None:
    changed = [{"project": None, "turn_id": None} | each | {"user": None} for each in records]
    changed = [{key: each[key] for key in changed[0]} for each in changed]
    assert {row["user"] for row in build(archive, text_of(changed), tmp_path)} == {None}


def test_a_request_arrives_with_the_last_of_its_inputs(
    records: list[dict[str, Any]], archive: Archive, tmp_path: Path
) -> None:
    rows = build(archive, text_of(records), tmp_path)
    for row, record in zip(rows, records, strict=True):
        inputs = [e["timestamp"] for e in record["timing_events"] if e["event_type"] in ("user_message", "tool_result")]
        since = (datetime.fromisoformat(max(inputs)) - EPOCH).total_seconds()
        assert row["arrival_us"] == round(since * 1000) * 1000
        assert row["input_tokens"] == row["cached_tokens"] + row["new_tokens"]


def change(records: list[dict[str, Any]], **members: Any) -> bytes:
    return text_of([records[0], records[1] | members, *records[2:]])


@pytest.mark.parametrize(
    ("case", "members"),
    [
        ("unknown-key", {"cost": 1}),
        ("text-for-a-number", {"output_tokens": "7"}),
        ("decimals-for-an-integer", {"output_tokens": 7.0}),
        ("two-spellings-of-missing", {"reasoning_output_tokens": "", "user": ""}),
        ("null", {"output_tokens": None}),
        ("events-without-time", {"timing_events": [{"event_type": "user_message"}]}),
        ("events-no-list", {"timing_events": "none"}),
    ],
)
def test_a_bad_line_is_refused_by_number_and_key(
    case: str, members: dict[str, Any], records: list[dict[str, Any]], archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(BadUpstream) as caught:
        build(archive, change(records, **members), tmp_path)
    assert_golden(f"records/{case}", str(caught.value))


@pytest.mark.parametrize("content", [b"[]\n", b"{}\n", b"{\n", b"x\n"])
def test_a_file_that_is_something_else_is_refused(content: bytes, archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(BadUpstream):
        build(archive, content, tmp_path)


def test_the_real_rows_are_restored(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    real = mirror.parent / "next" / TRACE / "example_sessions_sanitized_round_trace.jsonl"
    if not real.exists():
        pytest.skip(f"real rounds: no {real}")
    rows = build(archive, real.read_bytes(), tmp_path)
    assert len(rows) == 19
    for row in (row for row in rows if row["provider"] == "claude"):
        parts = row["claude_uncached_tokens"] + row["claude_cache_creation_tokens"] + row["claude_cache_read_tokens"]
        assert (row["input_tokens"], row["cached_tokens"]) == (parts, row["claude_cache_read_tokens"])
