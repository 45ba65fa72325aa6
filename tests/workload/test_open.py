"""Opening workloads in a clone: what comes out, and what names stand for."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import llm_trace_archive as lta
from support.command import run_here
from support.programs import Samples


@pytest.fixture(autouse=True)
def _in_samples(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)


def test_a_workload_opens_with_all_its_columns(samples: Samples) -> None:
    table = lta.open("azure-2023/code").arrow()
    assert table.equals(pq.read_table(samples.root / "data/azure-2023/code.parquet"))


@pytest.mark.parametrize("names", [("azure-2023",), ("azure-2023/code", "azure-2023/conversation")])
def test_several_workloads_open_as_one_table_of_the_canonical_columns(names: tuple[str, ...], samples: Samples) -> None:
    opened = lta.open(*names)
    assert isinstance(opened, lta.Requests)
    columns = opened.schema.names
    assert columns == [each["name"] for each in opened.source.archive.canonical["fields"]]
    paths = [samples.root / f"data/azure-2023/{name}.parquet" for name in ("code", "conversation")]
    rows = [row for path in paths for row in pq.read_table(path, columns=columns).to_pylist()]
    assert opened.arrow().to_pylist() == rows


def test_a_trace_stands_for_its_requests_each_once() -> None:
    assert lta.open("mooncake").names == ["mooncake/conversation", "mooncake/toolagent", "mooncake/synthetic"]
    assert lta.open("kavier").names == ["kavier/prefill", "kavier/decode"]
    with pytest.raises(lta.Problem, match="has the same requests as mooncake/toolagent"):
        lta.open("mooncake/toolagent", "mooncake/arxiv")


def test_another_kind_of_table_opens_without_the_methods_of_requests() -> None:
    opened = lta.open("kavier/utilisation")
    assert not isinstance(opened, lta.Requests)
    assert not hasattr(opened, "rate")
    assert opened.head(3).num_rows == 3
    with pytest.raises(lta.Problem, match="kavier/utilisation: not a table of requests"):
        lta.open("kavier/prefill", "kavier/utilisation")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("burstgtp",), "burstgtp: no such trace\n  nearest    burstgpt"),
        (("azure-2023/cod",), "azure-2023/cod: no such workload\n  nearest    azure-2023/code"),
        (("../azure-2023",), "..: no such trace"),
        (("mine.parquet",), "mine.parquet: no such file"),
        ((), "no name was given"),
    ],
)
def test_an_unknown_name_is_one_message(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(lta.Problem) as caught:
        lta.open(*names)
    assert message in str(caught.value)


def test_absent_content_is_one_error_that_names_each_workload(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples.clone(tmp_path))
    with pytest.raises(lta.Absent) as caught:
        lta.open("azure-2023", "mooncake/conversation")
    names = ("azure-2023/code", "azure-2023/conversation", "mooncake/conversation")
    assert caught.value.workloads == names
    assert f"llm-traces get {' '.join(names)}" in str(caught.value)
    assert "fetch=True" in str(caught.value)


def test_content_of_a_clone_is_fetched_by_git_annex(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = samples.clone(tmp_path)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(samples.mirror))
    assert lta.open("azure-2023/code", fetch=True).arrow().num_rows == 182
    assert (clone / "data/azure-2023/code.parquet").resolve().is_relative_to(clone / ".git/annex/objects")


def test_corrupt_content_of_a_clone_is_one_message(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "archive"
    shutil.copytree(samples.root, root, symlinks=False, ignore=shutil.ignore_patterns(".git"))
    content = root / "data/azure-2023/code.parquet"
    right = content.read_bytes()
    content.chmod(0o644)
    monkeypatch.chdir(root)
    assert lta.open("azure-2023/code").arrow().num_rows == 182  # and remembers it
    for wrong in (right[: len(right) // 2], right[:100] + bytes([right[100] ^ 1]) + right[101:], b""):
        content.write_bytes(wrong)
        with pytest.raises(lta.Problem, match="azure-2023/code: the content is corrupt"):
            lta.open("azure-2023/code")
        ran = run_here("head", "azure-2023/code", cwd=root)
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr


def test_content_that_can_not_be_compared_and_not_be_read_is_one_message(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "archive"
    shutil.copytree(samples.root, root, symlinks=False, ignore=shutil.ignore_patterns(".git", "datapackage.json"))
    content = root / "data/azure-2023/code.parquet"
    content.chmod(0o644)
    content.write_bytes(content.read_bytes()[:1000])
    monkeypatch.chdir(root)
    with pytest.raises(lta.Problem, match="azure-2023/code: the rows can't be read"):
        lta.open("azure-2023/code").arrow()


# -- frames -----------------------------------------------------------------------------------------------------------


def test_batches_of_two_tables_can_be_read_in_turn() -> None:
    opened = lta.open("azure-2023/code")
    batches = opened.batches(50)
    first = next(batches)
    assert lta.open("ragpulse").arrow().num_rows > 0
    assert opened.head(5).num_rows == 5
    assert sum(each.num_rows for each in batches) == 182 - first.num_rows


def test_pandas_has_nullable_numbers() -> None:
    frame = lta.open("mooncake/conversation").pandas()
    assert frame.dtypes["arrival_us"] == pd.Int64Dtype()
    assert frame.dtypes["turn"] == pd.Int32Dtype()
    assert frame.dtypes["failed"] == pd.BooleanDtype()
    assert frame.dtypes["trace"] == pd.CategoricalDtype(["mooncake"])
    assert frame.turn.isna().all()


def test_polars_and_duckdb_are_lazy() -> None:
    opened = lta.open("azure-2023/code")
    frame = opened.polars()
    assert isinstance(frame, pl.LazyFrame)
    total = sum(opened.arrow()["input_tokens"].to_pylist())
    assert frame.select(pl.col("input_tokens").sum()).collect().item() == total
    relation = opened.duckdb()
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    assert duckdb.sql("SELECT sum(input_tokens) FROM relation").fetchall() == [(total,)]
    connection = duckdb.connect()
    assert opened.duckdb(connection).count("*").fetchall() == [(182,)]


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_library_that_is_not_installed_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(lta.Problem) as caught:
        getattr(lta.open("azure-2023/code"), library)()
    assert f"pip install 'llm-trace-archive[{library}]'" in str(caught.value)


def test_rows_keep_the_order_of_the_file(samples: Samples) -> None:
    path = samples.root / "data/burstgpt/1.parquet"
    assert lta.open("burstgpt/1").arrow()["request_id"].to_pylist() == list(range(pq.read_metadata(path).num_rows))


# -- what a paper needs -----------------------------------------------------------------------------------------------


def test_what_a_paper_needs() -> None:
    opened = lta.open("azure-2023", "mooncake")
    assert opened.licence == "CC-BY-4.0; Apache-2.0"
    assert [line.partition(",")[0] for line in opened.citation.splitlines()] == ["Patel et al.", "Qin et al."]
    assert opened.bibtex.count("@misc{") == 2
    assert "doi = {10.1109/ISCA59077.2024.00019}" in opened.bibtex
    assert "Mooncake FAST'25 traces" in str(opened.info)
    builds = [each["build"]["pins"] for each in opened.provenance["workloads"]]
    assert len(builds) == 5 and all(pin["sha256"] for pins in builds for pin in pins)


def test_bibtex_escapes_what_tex_reads(samples: Samples) -> None:
    from llm_trace_archive.core.archive import Archive
    from llm_trace_archive.workload.origin import Origin, bibtex

    origin = Origin("gone/x", "", "", "MIT", True, "Q & A 100% _of_ #1", "measured")
    assert r"note = {Q \& A 100\% \_of\_ \#1}" in bibtex(Archive(samples.root), [origin])


def test_the_traces_print_as_the_command_prints_them(samples: Samples) -> None:
    traces = lta.traces()
    assert run_here("list", "--wide", cwd=samples.root).stdout.startswith(str(traces) + "\n")
    assert traces.arrow().num_rows == len(traces.polars()) == len(traces.pandas()) == len(traces)
    assert traces.arrow().schema.field("rows").type == pa.int64()
    assert {str(each.workload) for each in traces if each.workload.same_requests_as} == {
        "mooncake/arxiv",
        "marconi-kavier/all",
    }


def test_the_archive_of_the_environment_comes_first(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_TRACES_ARCHIVE", str(samples.root))
    assert lta.open("azure-2023/code").source.archive.root == samples.root
    monkeypatch.setenv("LLM_TRACES_ARCHIVE", str(tmp_path))
    with pytest.raises(lta.Problem, match="is not inside an archive"):
        lta.traces()
