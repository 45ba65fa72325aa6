"""GitHub Copilot's sessions: a gzip tar of gzipped JSON Lines, where a line is a session with turns and their calls.

A row is either a call of a model or a batch of tools: a recipe maps the fields of one kind, `calls.*` or `batches.*`,
and those of the session and the turn around them. Two fields of a call are computed: the upstream's timestamp is the
end of a call, so `start_us` is its duration earlier; both count from the epoch of the workload.

Sessions are parsed by Arrow in blocks of whole lines, on two threads while the next block is decompressed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ...core.recipe import UpstreamFile, Workload
from . import tar
from .layout import FieldTexts, Layout, OpenFile, check_fields

BLOCK_BYTES = 8 << 20
LONGEST_LINE = 256 << 20
THREADS = 2
_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
_PART = pa.struct({"type": _TEXT, "role": _TEXT, "sequenceId": _INT, "token_len": _INT})
_TOKENS = {"total": _INT, "prompt": _INT, "completion": _INT, "cached": _INT, "cached_pct": _FLOAT}
_CALL = {
    "message_id": _TEXT,
    "timestamp": _TEXT,
    "duration_ms": _FLOAT,
    "initiator_type": _TEXT,
    "model": _TEXT,
    "result": _TEXT,
    "status_code": _TEXT,
    "tokens": pa.struct(_TOKENS),
    "message_metadata": pa.list_(_PART),
}
_FUNCTION = {"name": _TEXT, "status": _INT, "duration_ms": _FLOAT}
_BATCH = {
    "timestamp": _TEXT,
    "duration_ms": _FLOAT,
    "auto_continue": pa.bool_(),
    "result": _TEXT,
    "request_id": _TEXT,
    "function_calls": pa.list_(pa.struct(_FUNCTION)),
}
_TURN = {"turn_id": _TEXT, "llm_calls": pa.list_(pa.struct(_CALL)), "tool_batches": pa.list_(pa.struct(_BATCH))}
_SESSION = pa.schema({"session_id": _TEXT, "date": _TEXT, "turns": pa.list_(pa.struct(_TURN))})
_AROUND = ("session_id", "date", "turn_id", "turn_number")
FIELDS = {
    "calls": (
        *(
            f"calls.{name}"
            for name in ("end_us", "start_us", *_CALL)
            if name not in ("timestamp", "tokens", "message_metadata")
        ),
        *(f"calls.tokens.{name}" for name in _TOKENS),
        *(f"calls.message_metadata.{field.name}" for field in _PART),
    ),
    "batches": (
        *(f"batches.{name}" for name in ("end_us", *_BATCH) if name not in ("timestamp", "function_calls")),
        *(f"batches.function_calls.{name}" for name in _FUNCTION),
    ),
}


def read_layout(workload: Workload, file: UpstreamFile, path: Path) -> Layout:
    """Return the layout, the same for every file. Raises BadUpstream if the recipe maps other fields."""
    check_fields(workload, file, [*_AROUND, *FIELDS[_kind(file)]])
    return Layout("copilot")


def _kind(file: UpstreamFile) -> str:
    return "batches" if any(name.startswith("batches.") for name in file.fields) else "calls"


def read_batches(source: OpenFile) -> Iterator[pa.RecordBatch]:
    """Yield rows, the calls or the batches of some sessions at a time. Raises BadUpstream."""
    kind = _kind(source.file)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[tuple[str, Future[pa.Table]]] = deque()
        for name, block in _blocks(source):
            waiting.append((name, pool.submit(_parse, block)))
            if len(waiting) > THREADS:
                yield from _rows(source, kind, *waiting.popleft())
        while waiting:
            yield from _rows(source, kind, *waiting.popleft())


def _blocks(source: OpenFile) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of all shards in blocks, each with the name of its shard."""
    found = False
    for member in tar.members(source.workload, source.file, source.path):
        if not member.name.endswith(".jsonl.gz"):
            continue
        found, rest = True, b""
        try:
            with gzip.open(member) as stream:
                while piece := stream.read(BLOCK_BYTES):
                    end = piece.rfind(b"\n") + 1
                    if end:
                        yield member.name, rest + piece[:end]
                    rest = piece[end:] if end else rest + piece
                    if len(rest) > LONGEST_LINE:
                        raise source.error("has a line that is too long", member=member.name)
        except (OSError, EOFError, zlib.error) as error:
            raise source.error("can't be decompressed", member=member.name, reason=str(error)[:200]) from None
        if rest.strip():
            yield member.name, rest
    if not found:
        raise source.error("has no shards", expected="members such as date=2026-06-01/shard-0000.jsonl.gz")


def _parse(block: bytes) -> pa.Table:
    if not block.strip():
        return _SESSION.empty_table()
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=_SESSION, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid as error:
        unknown = _unknown(block)  # which Arrow does not name
        raise pa.ArrowInvalid(f"unknown key {unknown}" if unknown else str(error)) from None


def _unknown(block: bytes) -> str:
    """Return the path of the first key that no session has; empty if there is none."""

    def walk(value: Any, kind: pa.DataType, path: str) -> Iterator[str]:
        if pa.types.is_list(kind) and isinstance(value, list):
            for each in value:
                yield from walk(each, kind.value_type, f"{path}[]")
        elif pa.types.is_struct(kind) and isinstance(value, dict):
            for key, each in value.items():
                if kind.get_field_index(key) < 0:
                    yield f"{path}.{key}".lstrip(".")
                else:
                    yield from walk(each, kind.field(key).type, f"{path}.{key}")

    try:
        return next(
            (each for line in block.splitlines() for each in walk(json.loads(line), pa.struct(_SESSION), "")), ""
        )
    except (ValueError, RecursionError):
        return ""


def _rows(source: OpenFile, kind: str, name: str, parsed: Future[pa.Table]) -> Iterator[pa.RecordBatch]:
    try:
        sessions = parsed.result()
    except pa.ArrowInvalid as error:
        raise source.error("can't be read as JSON Lines", member=name, reason=str(error)[:300]) from None
    for batch in sessions.combine_chunks().to_batches():
        rows = _explode(source, kind, name, batch)
        if rows.num_rows:
            yield rows


def _explode(source: OpenFile, kind: str, name: str, sessions: pa.RecordBatch) -> pa.RecordBatch:
    turns, of_session = sessions.column("turns"), pc.list_parent_indices(sessions.column("turns"))
    flat = turns.flatten()
    items = flat.field("llm_calls" if kind == "calls" else "tool_batches")
    of_turn = pc.list_parent_indices(items)
    session = of_session.take(of_turn)
    first = turns.offsets.take(pc.cast(session, pa.int64()))
    columns = {
        "session_id": sessions.column("session_id").take(session),
        "date": sessions.column("date").take(session),
        "turn_id": flat.field("turn_id").take(of_turn),
        "turn_number": pc.add(
            pc.subtract(pc.cast(of_turn, _INT), pc.cast(pc.subtract(first, turns.offsets[0]), _INT)), 1
        ),
    }
    rows = items.flatten()
    columns[f"{kind}.end_us"] = ends = _microseconds(source, name, rows.field("timestamp"))
    for field in _CALL if kind == "calls" else _BATCH:
        if field == "tokens":
            columns |= {f"calls.tokens.{each}": pc.struct_field(rows.field(field), each) for each in _TOKENS}
        elif field in ("message_metadata", "function_calls"):
            columns |= _lists(f"{kind}.{field}", rows.field(field))
        elif field != "timestamp":
            columns[f"{kind}.{field}"] = rows.field(field)
    if kind == "calls":
        durations = pc.cast(pc.round(pc.multiply(columns["calls.duration_ms"], 1000.0)), _INT)
        columns["calls.start_us"] = pc.subtract(ends, durations)
    return pa.RecordBatch.from_arrays(
        [each.combine_chunks() if isinstance(each, pa.ChunkedArray) else each for each in columns.values()],
        names=list(columns),
    )


def _lists(name: str, lists: pa.ListArray) -> dict[str, pa.Array]:
    """Return a list of objects as lists of their members, null where the list is."""
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    mask = lists.is_null() if lists.null_count else None
    return {
        f"{name}.{field.name}": pa.ListArray.from_arrays(
            offsets, pc.struct_field(lists.flatten(), field.name), mask=mask
        )
        for field in lists.type.value_type
    }


def _microseconds(source: OpenFile, member: str, times: pa.Array) -> pa.Array:
    """Return dates and times in UTC, with 0 to 9 decimals, as microseconds since the epoch of the workload."""
    epoch = datetime.fromisoformat(source.workload.properties["epoch"]).replace(tzinfo=UTC)
    plain = pc.replace_substring_regex(times, r"(Z|\+00:00)$", "")
    try:
        moments = pc.cast(plain, pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        raise source.error("has a time that can't be read", member=member, reason=str(error)[:200]) from None
    microseconds = pc.floor_temporal(moments, unit="microsecond")
    since = pc.divide(pc.cast(microseconds, _INT), 1000)
    return pc.subtract(since, int(epoch.timestamp()) * 1_000_000)


def write(layout: Layout, texts: Iterator[FieldTexts]) -> Iterator[bytes]:
    """Raise NotImplementedError: a table has the calls or the batches, and so not all of a file."""
    raise NotImplementedError
