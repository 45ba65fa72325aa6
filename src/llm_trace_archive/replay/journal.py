"""What was measured: a journal that is complete to the last second, and the workload it becomes."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..convert.parquet import ParquetSink
from ..core.errors import BadUse
from ..core.files import output
from ..workload.requests import Requests
from ..workload.save import KEY, REPLAYED

ENDING = ".journal"
OWN = [
    ("scheduled_us", pa.int64(), "us"),
    ("drift_us", pa.int64(), "us"),
    ("waited_us", pa.int64(), "us"),
    ("input_tokens_asked", pa.int64(), "token"),
    ("output_tokens_asked", pa.int64(), "token"),
    ("output_events", pa.int64(), ""),
    ("gaps_us", pa.list_(pa.int64()), "us"),
    ("status", pa.int64(), ""),
    ("error", pa.string(), ""),
]
MEASURED = ("arrival_us", "input_tokens", "output_tokens", "cached_tokens", "failed", "latency_us", "ttft_us")


@dataclass
class Outcome:
    """What became of a request. Times in microseconds, sent and scheduled since the start; None: not known.

    place   in the plan
    waited  for a free place under the cap on requests in flight
    gaps    between one event with text and the next
    """

    place: int
    scheduled: int
    sent: int
    waited: int = 0
    ttft: int | None = None
    latency: int | None = None
    events: int = 0
    gaps: list[int] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    status: int | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there was no complete answer."""
        return self.error is not None


NAMES = ("place", "scheduled", "sent", "waited", "ttft", "latency", "events", "gaps", "input_tokens", "output_tokens",
         "cached_tokens", "status", "error")  # fmt: skip
SCHEMA = pa.schema([(name, pa.int64()) for name in NAMES[:7]] + [("gaps", pa.list_(pa.int64()))]
                   + [(name, pa.int64()) for name in NAMES[8:12]] + [("error", pa.string())])  # fmt: skip


class Journal:
    """Outcomes on disk. What was flushed can be read after the process was killed: see `read_journal`."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        self._held: list[Outcome] = []
        try:
            self._stream = path.open("xb")
        except FileExistsError:
            raise BadUse(
                str(path),
                "exists: a run that was killed left it",
                next="add --finish to the same command, which makes the file of it; or delete it",
            ) from None
        schema = SCHEMA.with_metadata({"about": json.dumps(about)})
        self._writer = pa.ipc.new_stream(self._stream, schema)

    def add(self, outcome: Outcome) -> None:
        """Add an outcome, which reaches the disk with the next flush."""
        self._held.append(outcome)

    def flush(self) -> None:
        """Write what was added."""
        held, self._held = self._held, []
        if held:
            columns = [pa.array([getattr(each, name) for each in held], SCHEMA.field(name).type) for name in NAMES]
            self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        self._stream.flush()

    def close(self) -> None:
        """Write the rest."""
        self.flush()
        self._writer.close()
        self._stream.close()


def read_journal(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Return the outcomes of a journal up to where it breaks off, and what it is about. Raises BadUse."""

    def batches(reader: pa.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                yield reader.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):  # the end, or where the process was killed
                return

    try:
        with path.open("rb") as stream, pa.ipc.open_stream(stream) as reader:
            about = json.loads(reader.schema.metadata[b"about"])
            return pa.Table.from_batches(batches(reader), SCHEMA), about
    except (OSError, pa.ArrowInvalid, ValueError, LookupError, TypeError) as error:
        raise BadUse(str(path), "is no journal of a replay", reason=str(error)[:200]) from None


def write_workload(requests: Requests, rows: pa.Table, outcomes: pa.Table, about: dict[str, Any], path: Path) -> None:
    """Write outcomes as a workload of one's own: the requests as they were sent, and what the server did.

    rows  of the plan. What the server did not count is null. Raises BadUse if the file can't be written.
    """
    outcomes = outcomes.sort_by([("sent", "ascending"), ("place", "ascending")])
    sent = rows.take(outcomes["place"])
    asked = {name: sent[name] for name in ("input_tokens", "output_tokens")}
    failed = pc.is_valid(outcomes["error"])
    columns = {name: sent[name] for name in requests.schema.names} | {
        "request_id": sent["request_id"],
        "arrival_us": outcomes["sent"],
        "input_tokens": pc.coalesce(outcomes["input_tokens"], asked["input_tokens"]),
        "output_tokens": pc.if_else(failed, outcomes["output_tokens"], _count(outcomes)),
        "cached_tokens": outcomes["cached_tokens"],
        "failed": failed,
        "latency_us": outcomes["latency"],
        "ttft_us": outcomes["ttft"],
        "segment": pa.nulls(len(sent), pa.int16()).fill_null(0),
        "scheduled_us": outcomes["scheduled"],
        "drift_us": pc.subtract(outcomes["sent"], outcomes["scheduled"]),
        "waited_us": outcomes["waited"],
        "input_tokens_asked": asked["input_tokens"],
        "output_tokens_asked": asked["output_tokens"],
        "output_events": outcomes["events"],
        "gaps_us": outcomes["gaps"],
        "status": outcomes["status"],
        "error": outcomes["error"],
    }
    own = [pa.field(name, kind, metadata={"unit": unit} if unit else None) for name, kind, unit in OWN]
    canonical = [field for field in requests.schema if field.name not in {each.name for each in own}]
    schema = pa.schema([*canonical, *own])
    table = pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)
    origins = [each.as_dict() for each in requests.source.origins]
    facts = {
        "schema_version": str(requests.source.archive.canonical["version"]),
        "licence": requests.licence,
        "citation": requests.citation,
        "arrivals": "measured",
        KEY: json.dumps(
            {
                "chain": f"{REPLAYED}{requests.chain})",
                "origins": origins,
                "replay": about,
                "versions": {name: importlib.metadata.version(name) for name in ("llm-trace-archive", "pyarrow")},
            },
            sort_keys=True,
            ensure_ascii=False,
        ),
    }
    with output(path) as part, ParquetSink(part, schema, facts) as sink:
        for batch in table.to_batches():
            sink.write(batch)


def _count(outcomes: pa.Table) -> pa.ChunkedArray:
    """Return the tokens of the answers as the server counted them; where it did not, an event counts as one."""
    return pc.coalesce(outcomes["output_tokens"], outcomes["events"])
