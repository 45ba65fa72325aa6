"""Stock readers: one line reads all requests of an archive, and each file says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from llm_trace_archive.core.archive import Archive
from support.programs import Samples

REQUESTS = "data/*/*.parquet"


@pytest.fixture(scope="module")
def archive(samples: Samples) -> Archive:
    return Archive(samples.root)


@pytest.fixture(scope="module")
def input_tokens(archive: Archive) -> int:
    """The sum over all requests, by the lock."""
    sums = [each["facts"]["input_tokens"] or 0 for each in archive.locked.values() if each["table"] == "request"]
    assert len(sums) > 20
    return sum(sums)


def test_duckdb_reads_all_requests(archive: Archive, input_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.root)
    sql = f"SELECT sum(input_tokens) FROM read_parquet('{REQUESTS}', union_by_name=true)"
    assert duckdb.sql(sql).fetchall() == [(input_tokens,)]


def test_polars_reads_all_requests(archive: Archive, input_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.root)
    every = pl.scan_parquet(REQUESTS, extra_columns="ignore", missing_columns="insert")
    assert every.select(pl.col("input_tokens").sum()).collect().item() == input_tokens
    diagonal = pl.concat([pl.scan_parquet(path) for path in archive.root.glob(REQUESTS)], how="diagonal")
    assert diagonal.select(pl.col("input_tokens").sum()).collect().item() == input_tokens


def test_pandas_reads_all_requests(archive: Archive, input_tokens: int) -> None:
    every = pd.concat(pd.read_parquet(path) for path in archive.root.glob(REQUESTS))
    assert every["input_tokens"].sum() == input_tokens


def test_only_requests_match_the_pattern(archive: Archive) -> None:
    requests = {each["path"] for each in archive.locked.values() if each["table"] == "request"}
    assert {str(path.relative_to(archive.root)) for path in archive.root.glob(REQUESTS)} == requests
    assert any(each["path"].count("/") == 3 for each in archive.locked.values())


def test_counts_of_tokens_do_not_overflow(archive: Archive) -> None:
    """Polars sums int32 as int32 and wraps without a word: 16 times Mooncake's tokens gave -1,978,266,128."""
    for each in archive.locked.values():
        schema = ds.dataset(archive.root / each["path"]).schema
        for field in schema:
            if field.name.endswith("_tokens") and field.name != "block_tokens" and str(field.type).startswith("int"):
                assert str(field.type) == "int64", (each["name"], field.name)
    column = pl.scan_parquet(archive.root / "data/burstgpt/3.parquet").select("input_tokens")
    most = pl.concat([column.select(pl.lit(2**31 - 1, dtype=column.collect_schema()["input_tokens"]))] * 2)
    assert most.sum().collect().item() == 2**32 - 2


def test_every_file_says_what_it_is(archive: Archive) -> None:
    for name, resource in archive.locked.items():
        path = archive.root / resource["path"]
        (workload,) = archive.select([name])
        metadata = {key.decode(): value.decode() for key, value in pq.read_metadata(path).metadata.items()}
        recipe = archive.recipe(workload.trace)
        facts = {
            "trace": workload.trace,
            "workload": workload.name,
            "licence": recipe.licence["spdx"],
            "citation": recipe.cite,
            "recipe_digest": workload.digest,
        }
        facts |= {key: str(workload.properties[key]) for key in ("epoch", "zone") if key in workload.properties}
        assert metadata.items() >= facts.items()
        units = {field["name"]: field["unit"] for field in archive.schema(workload)["fields"] if "unit" in field}
        assert json.loads(metadata["units"]) == units
        fields = {field.name: field.metadata[b"unit"].decode() for field in pq.read_schema(path) if field.metadata}
        assert fields == units

        read = duckdb.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
        assert {key.decode(): value.decode() for key, value in read}.items() >= metadata.items() - {"ARROW:schema"}
        assert pl.read_parquet_metadata(path).items() >= facts.items()


def test_prose_does_not_change_the_facts_of_a_file(archive: Archive, tmp_path: Path) -> None:
    for name in ("burstgpt", "ragpulse"):
        recipe = archive.recipe(name)
        before = [(each.facts(), each.digest) for each in recipe.workloads]
        folder = tmp_path / name
        (folder / "recipes").mkdir(parents=True)
        (folder / "schemas").symlink_to(archive.root / "schemas")
        text = recipe.file.read_text().replace('meaning = "', 'meaning = "In other words: ')
        text = text.replace('what = "', 'what = "Or: ')
        (folder / "recipes" / recipe.file.name).write_text(text)
        assert [(each.facts(), each.digest) for each in Archive(folder).recipe(name).workloads] == before
