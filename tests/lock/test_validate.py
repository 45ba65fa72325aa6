"""`llm-traces validate`: every figure with what was published and what was found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_trace_archive.checks.figures import check_figures
from llm_trace_archive.checks.result import Result
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.core.table import Table
from support.programs import Samples, llm_traces


def workload(expect: dict[str, object], published: tuple[dict[str, object], ...] = ()) -> Workload:
    return Workload("t", "w", "T", "csv", "request", (), {}, expect, published, ())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table(
            {
                "arrival_us": pa.array([0, 3, 3, 3_600_000_000, 1]),
                "segment": pa.array([0, 0, 0, 0, 1]),
                "input_tokens": pa.array([1, 2, 3, 4, 10], pa.int32()),
                "output_tokens": pa.array([2, 4, 6, 8, 10], pa.int32()),
                "latency_us": pa.array([1_000_000, 1_000_000, 2_000_000, 2_000_000, None]),
                "model": pa.array(["a", "a", "b", None, "b"]).dictionary_encode(),
                "failed": pa.array([True, False, None, False, True]),
                "session_id": pa.array(["x", "x", "x", "y", None]),
                "hash_ids": pa.array([[1, 2], [1, 2, 3], [], [1], None], pa.list_(pa.int64())),
            }
        ),
        path,
    )
    return path


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ({"rows": 5}, [5]),
        ({"count": {"failed": 2, "session_id": 4, "hash_ids": 6}}, [2, 4, 6]),
        ({"distinct": {"hash_ids": 3, "model": 2}}, [3, 2]),
        ({"sum": {"input_tokens": 20}}, [20]),
        ({"range": {"input_tokens": [1, 10], "hash_ids": [1, 3]}}, [1, 10, 1, 3]),
        ({"values": {"model": {"a": 2, "b": 2}}}, [2, 2]),
        ({"arrivals": "non-decreasing", "segments": 2}, ["non-decreasing", 2]),
    ],
)
def test_expectations_hold(table: Path, expect: dict[str, object], found: list[object]) -> None:
    every = list(check_figures(workload(expect), Table(table)))
    assert [figure.found for figure in every] == found and all(figure.holds for figure in every)


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        ({"rows": 6}, [5]),
        ({"arrivals": "strictly increasing"}, ["non-decreasing"]),
        ({"segments": 3}, [2]),
        ({"arrivals": "strictly increasing", "segments": 2}, ["non-decreasing", 2]),
        ({"values": {"model": {"a": 2}}}, [2, 2]),
        ({"values": {"model": {"a": 2, "b": 2, "c": 1}}}, [2, 2, 0]),
    ],
)
def test_expectations_that_do_not_hold(table: Path, expect: dict[str, object], found: list[object]) -> None:
    every = list(check_figures(workload(expect), Table(table)))
    assert [figure.found for figure in every] == found and not all(figure.holds for figure in every)


PUBLISHED: list[tuple[dict[str, object], float]] = [
    ({"figure": "mean", "column": "input_tokens"}, 4),
    ({"figure": "median", "column": "input_tokens"}, 3),
    ({"figure": "percentile", "q": 90, "column": "input_tokens"}, 7.6),
    ({"figure": "sd", "column": "input_tokens"}, 3.5355339),
    ({"figure": "min", "column": "input_tokens"}, 1),
    ({"figure": "max", "column": "input_tokens"}, 10),
    ({"figure": "count", "column": "latency_us"}, 4),
    ({"figure": "distinct", "column": "session_id"}, 2),
    ({"figure": "span_s"}, 3600),
    ({"figure": "hourly_min"}, 1),
    ({"figure": "hourly_max"}, 4),
    ({"figure": "turns_mean"}, 2),
    ({"figure": "turns_median"}, 2),
    ({"figure": "turns_max"}, 3),
    ({"figure": "single_turns"}, 1),
    ({"figure": "succeeded"}, 2),
    ({"figure": "succeeded_per_s", "window_s": [0, 0.000002]}, 0),
    ({"figure": "succeeded_per_s", "window_s": [0, 2]}, 0.5),
    ({"figure": "prefix_hit_ratio"}, 0.5),
    ({"figure": "lru_hit_ratio", "share": 0.7}, 1 / 3),
]


@pytest.mark.parametrize(("figure", "value"), PUBLISHED)
def test_published_figures(table: Path, figure: dict[str, object], value: float) -> None:
    published = figure | {"value": value, "tolerance": 1e-6, "source": "by hand"}
    (found,) = check_figures(workload({}, (published,)), Table(table))
    assert found.holds, found
    (other,) = check_figures(workload({}, (published | {"value": value + 1},)), Table(table))
    assert not other.holds


def test_figures_by_group(table: Path) -> None:
    median = {"figure": "median", "column": "output_tokens", "by": "model", "value": {"a": 3, "b": 8, "c": 1}}
    rate = {"figure": "median_output_rate", "by": "model", "value": {"a": 3}}
    rest = {"tolerance": 0, "source": "by hand"}
    every = list(check_figures(workload({}, (median | rest, rate | rest)), Table(table)))
    assert [figure.found for figure in every] == [3, 8, "no such rows", 3]
    assert [figure.holds for figure in every] == [True, True, False, True]


def test_a_table_without_rows_has_no_figures(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"input_tokens": pa.array([], pa.int32()), "session_id": pa.array([], pa.string())}), path)
    assert Table(path).rows == 0
    mean = {"figure": "mean", "column": "input_tokens", "value": 1, "tolerance": 0, "source": "s"}
    expect = {"sum": {"input_tokens": 3}, "range": {"input_tokens": [0, 1]}}
    every = list(check_figures(workload(expect, (mean,)), Table(path)))
    assert all(not figure.holds for figure in every) and len(every) == 4


def test_a_figure_is_printed_with_value_tolerance_and_source() -> None:
    assert str(Result("published", "mean of x", 2048, 0.5, 2047.848, "the paper")) == (
        "mean of x: expected 2,048 ± 0.5, found 2,047.848  (the paper)"
    )


def test_validate_prints_every_result_and_finds_damage(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    llm_traces("build", "kavier", "mooncake", "--mirror", samples.mirror, cwd=clone, check=True)
    done = llm_traces("validate", cwd=clone)
    assert done.returncode == 0 and "DIFFERS" not in done.stdout
    assert f"{len(Archive(clone).select(['kavier', 'mooncake']))} workloads, 0 findings" in done.stdout
    path = (clone / "data/kavier/decode.parquet").resolve()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    done = llm_traces("validate", "kavier", cwd=clone)
    assert done.returncode == 1 and "3 workloads, 0 findings" not in done.stdout
    assert "DIFFERS  integrity     sha256: expected" in done.stdout.split("\nkavier/decode")[1].split("\nkavier/")[0]
    path.write_bytes(b"PAR1")
    done = llm_traces("validate", "kavier/decode", cwd=clone)
    assert done.returncode == 1 and "DIFFERS  integrity     bytes" in done.stdout and "Traceback" not in done.stderr
    done = llm_traces("validate", "burstgpt/1", cwd=clone)
    assert (
        done.returncode == 1 and "burstgpt/1: the content is not here; next: llm-traces get burstgpt/1" in done.stderr
    )


def test_all_published_figures_hold_on_the_real_files(archive: Archive, empty_archive: Archive, mirror: Path) -> None:
    shutil.copy(archive.root / "CITATION.cff", empty_archive.root)
    llm_traces("build", "--jobs", "2", "--mirror", mirror, "--offline", cwd=empty_archive.root)
    done = llm_traces("validate", cwd=empty_archive.root)
    assert done.returncode == 0 and "DIFFERS" not in done.stdout, done.stdout
    assert done.stdout.count("  ok  ") > 100 and "blocks: len(hash_ids)" in done.stdout
