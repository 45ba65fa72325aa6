"""The card that `load_dataset` reads: the exact files, the absent ones left out, and how to get the first ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset_builder
from datasets.data_files import resolve_pattern

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.card import front_matter
from support.programs import ROOT
from support.small_archive import publish


def default_paths(card: str) -> list[str]:
    config = next(each for each in yaml.safe_load(card)["configs"] if each["config_name"] == "default")
    return [str(path) for path in config["data_files"][0]["path"]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    workloads = {"one": ("one.csv", 5), "two": ("two.csv", 7)}
    return publish(tmp_path_factory.mktemp("card"), "https://example.org", workloads)[0]


def test_the_default_config_takes_the_exact_files(archive: Archive, tmp_path: Path) -> None:
    patterns = default_paths(front_matter(archive, archive.lock))
    folder = tmp_path / "data/demo"
    folder.mkdir(parents=True)
    for name in ("one.parquet", "one.parquet.bak", "one.parquets", "one.parque", "xone.parquet"):
        (folder / name).write_bytes(b"")
    (folder / "two.parquet").symlink_to("nowhere")
    found, absent = patterns
    assert resolve_pattern(found, str(tmp_path)) == [str(folder / "one.parquet")]
    with pytest.raises(FileNotFoundError):
        resolve_pattern(absent, str(tmp_path))


def test_load_dataset_skips_what_is_absent_and_takes_no_copy(archive: Archive, tmp_path: Path) -> None:
    root = Path(shutil.copytree(archive.root, tmp_path / "archive", symlinks=True))
    (root / ".huggingface.yaml").unlink()  # a clone without set-up has none
    (root / "README.md").write_text(f"---\n{front_matter(archive, archive.lock)}---\n")
    (root / "data/demo/two.parquet").unlink()
    (root / "data/demo/two.parquet").symlink_to("nowhere")
    shutil.copyfile(root / "data/demo/one.parquet", root / "data/demo/one.parquet.bak")
    files = load_dataset_builder(str(root), cache_dir=str(tmp_path / "cache")).config.data_files
    assert [Path(path).name for path in files["train"]] == ["one.parquet"]


def test_the_first_lines_of_the_card_say_what_to_do() -> None:
    first, second, *_ = (ROOT / "README.md").read_text().splitlines()[1:]
    assert "load_dataset" in first and "llm-traces get" in second


def test_readers_that_the_docs_name_read_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/datalad.md: DuckDB skips links to absent content, Polars needs a list without them."""
    (tmp_path / "data/demo").mkdir(parents=True)
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "data/demo/one.parquet")
    (tmp_path / "data/demo/two.parquet").symlink_to("../../.git/annex/objects/none")
    monkeypatch.chdir(tmp_path)
    assert duckdb.sql("SELECT count(*) FROM 'data/*/*.parquet'").fetchall() == [(2,)]
    with pytest.raises(FileNotFoundError):
        pl.scan_parquet("data/*/*.parquet").collect()
    paths = [path for path in Path("data").glob("*/*.parquet") if path.exists()]
    every = pl.scan_parquet(paths, extra_columns="ignore", missing_columns="insert")
    assert every.select(pl.len()).collect().item() == 2
