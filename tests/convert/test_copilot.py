"""GitHub Copilot's sessions: calls and batches of tools, times in every spelling, and archives that are wrong."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm_trace_archive.convert.formats import copilot
from llm_trace_archive.convert.table import write_table
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream
from llm_trace_archive.demo.lookalikes import write_upstream
from support.golden import assert_golden

TRACE = "github-copilot-2026"
FILE = "date.2026-06-01.tar.gz"
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def archive_of(path: Path, shards: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"manifest.json": b"{}", **shards}.items():
            member = tarfile.TarInfo(f"date=2026-06-01/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def shard(*sessions: dict[str, Any]) -> bytes:
    return gzip.compress("".join(json.dumps(each) + "\n" for each in sessions).encode())


def rows_of(archive: Archive, name: str, path: Path) -> list[dict[str, Any]]:
    workload = archive.recipe(TRACE).workload(name)
    workload = dataclasses.replace(workload, files=workload.files[:1])
    target = path.with_name(f"{name}.parquet")
    write_table(workload, archive.schema(workload), {FILE: path}, target)
    rows: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    return rows


def session(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    turn = {"turn_id": "t", "llm_calls": list(calls), "tool_batches": None}
    return {"session_id": "s", "date": "2026-06-01", "turns": [turn]} | more


CALL = {"message_id": "m", "timestamp": "2026-06-01T10:00:02Z", "duration_ms": 1500.25, "initiator_type": "user"}


@pytest.mark.parametrize("block", [copilot.BLOCK_BYTES, 4096, 999])
def test_rows_are_the_calls_and_batches_wherever_blocks_end(
    block: int, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_upstream(TRACE, tmp_path, 300)
    path = tmp_path / TRACE / FILE
    with tarfile.open(path) as members:
        shards = [members.extractfile(each) for each in members if each.name.endswith(".gz")]
        lines = b"".join(gzip.decompress(each.read()) for each in shards if each).splitlines()
    turns = [(whole, number, turn) for whole in map(json.loads, lines) for number, turn in enumerate(whole["turns"], 1)]
    monkeypatch.setattr(copilot, "BLOCK_BYTES", block)
    calls = [(*each, call) for each in turns for call in each[2]["llm_calls"] or ()]
    for row, (whole, number, turn, call) in zip(rows_of(archive, "calls", path), calls, strict=True):
        tokens, parts = call.get("tokens") or {}, call.get("message_metadata")
        end = round((datetime.fromisoformat(call["timestamp"]) - EPOCH).total_seconds() * 1e6)
        assert {key: row[key] for key in ("session_id", "date", "turn_id", "turn_number", "message_id")} == {
            "session_id": whole["session_id"], "date": whole["date"], "turn_id": turn["turn_id"],
            "turn_number": number, "message_id": call["message_id"],
        }  # fmt: skip
        assert (row["end_us"], row["end_us"] - row["arrival_us"]) == (end, row["latency_us"])
        assert row["latency_us"] == round(1000 * call["duration_ms"])
        wanted = (tokens.get("prompt"), tokens.get("completion"), tokens.get("cached"))
        assert (row["input_tokens"], row["output_tokens"], row["cached_tokens"]) == wanted
        assert row["part_tokens"] == (None if parts is None else [each["token_len"] for each in parts])
    batches = [batch for _, _, turn in turns for batch in turn["tool_batches"] or ()]
    for row, batch in zip(rows_of(archive, "tool-batches", path), batches, strict=True):
        functions = batch["function_calls"]
        assert row["request_id"] == batch["request_id"]
        assert row["tool_names"] == (None if functions is None else [each["name"] for each in functions])
    assert any(row["input_tokens"] is None for row in rows_of(archive, "calls", path))


@pytest.mark.parametrize(
    ("time", "microseconds"),
    [("", 0), (".1", 100_000), (".123456", 123_456), (".123456789", 123_456), (".999999999+00:00", 999_999)],
)
def test_times_have_any_number_of_decimals(time: str, microseconds: int, archive: Archive, tmp_path: Path) -> None:
    text = f"2026-06-01T10:00:02{time}"
    path = archive_of(tmp_path / FILE, {"shard-0000.jsonl.gz": shard(session(CALL | {"timestamp": text}))})
    (row,) = rows_of(archive, "calls", path)
    assert row["end_us"] % 1_000_000 == microseconds


def test_the_last_line_needs_no_end(archive: Archive, tmp_path: Path) -> None:
    content = gzip.compress(json.dumps(session(CALL, CALL)).encode())
    path = archive_of(tmp_path / FILE, {"shard-0000.jsonl.gz": content, "shard-0001.jsonl.gz": shard(session(CALL))})
    assert len(rows_of(archive, "calls", path)) == 3


WRONG = {
    "no-shards": {},
    "no-gzip": {"shard-0000.jsonl.gz": b"{}\n"},
    "cut": {"shard-0000.jsonl.gz": shard(session(CALL))[:-9]},
    "unknown-key": {"shard-0000.jsonl.gz": shard(session(CALL | {"cost": 1}))},
    "text-for-a-number": {"shard-0000.jsonl.gz": shard(session(CALL | {"duration_ms": "1"}))},
    "no-time": {"shard-0000.jsonl.gz": shard(session(CALL | {"timestamp": "yesterday"}))},
    "before-the-epoch": {"shard-0000.jsonl.gz": shard(session(CALL | {"timestamp": "1970-01-01T00:00:00Z"}))},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_archive_is_refused_by_member(case: str, archive: Archive, tmp_path: Path) -> None:
    path = archive_of(tmp_path / FILE, WRONG[case])
    with pytest.raises(BadUpstream) as caught:
        rows_of(archive, "calls", path)
    assert_golden(f"copilot/{case}", str(caught.value))
