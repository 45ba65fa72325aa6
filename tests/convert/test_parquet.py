"""Deterministic Parquet: row groups depend on the rows alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_trace_archive.convert import parquet
from llm_trace_archive.convert.parquet import ParquetSink


def group_sizes(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


def test_a_row_group_has_at_most_524288_rows(tmp_path: Path) -> None:
    batch = pa.record_batch({"n": pa.array(range(1_200_000))})
    with ParquetSink(tmp_path / "table", batch.schema, {}) as sink:
        sink.write(batch)
    assert group_sizes(tmp_path / "table") == [524_288, 524_288, 151_424]


def test_a_row_group_has_about_4_million_ids(tmp_path: Path) -> None:
    ids = pa.ListArray.from_arrays(pa.array(range(0, 6_000_001, 1000), pa.int32()), pa.nulls(6_000_000, pa.int64()))
    batch = pa.record_batch({"ids": ids})
    with ParquetSink(tmp_path / "table", batch.schema, {}) as sink:
        sink.write(batch)
    assert group_sizes(tmp_path / "table") == [4195, 1805]


def test_bytes_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 5000)
    monkeypatch.setattr(parquet, "GROUP_IDS", 40_000)
    rows = 6000
    table = pa.table(
        {
            "model": pa.array(["b", "a", None] * (rows // 3)),
            "hash_ids": pa.array([list(range(n % 40)) for n in range(rows)], pa.list_(pa.int64())),
        }
    )
    schema = pa.schema([("model", pa.dictionary(pa.int32(), pa.string())), ("hash_ids", pa.list_(pa.int64()))])
    digests = set()
    for sizes in ([rows], [1, 2, 3], [700, 1, 6000], [6710]):
        start, turn = 0, 0
        with ParquetSink(tmp_path / "table", schema, {}) as sink:
            while start < rows:
                part = table.slice(start, sizes[turn % len(sizes)] if turn < 50 else rows).combine_chunks()
                for batch in part.to_batches():
                    columns = [batch.column(0).dictionary_encode(), batch.column(1)]
                    sink.write(pa.RecordBatch.from_arrays(columns, schema=schema))
                start, turn = start + part.num_rows, turn + 1
        digests.add(hashlib.sha256((tmp_path / "table").read_bytes()).hexdigest())
        assert len(group_sizes(tmp_path / "table")) == 3
    assert len(digests) == 1
