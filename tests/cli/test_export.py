"""`llm-traces export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_trace_archive.export.registry import all_dialects
from support.command import run_here
from support.programs import Samples, llm_traces


def test_a_file_and_its_text_are_written(samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    done = run_here("export", "mooncake/conversation", "--to", "vllm-timed-trace", "-o", path, cwd=samples.root)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    tokens = sum(row["input_length"] for row in rows)
    assert done.stdout.startswith(f"{path}: {len(rows):,} requests, {tokens:,} input tokens")
    text = (tmp_path / "trace.jsonl.readme.txt").read_text()
    assert "    vllm bench serve --backend vllm --dataset-name timed_trace --dataset-path trace.jsonl" in text
    assert f"--timed-trace-chunk-hash-size 512 --num-prompts {len(rows)}\n" in text
    for each in ("Source: open('mooncake/conversation')", "Licence: Apache-2.0", "Qin et al."):
        assert each in text
    path.unlink()
    (tmp_path / "trace.jsonl.readme.txt").unlink()
    run_here("export", "mooncake/conversation", "--to", "mooncake", "-o", path, "--no-readme", cwd=samples.root)
    assert [each.name for each in tmp_path.iterdir()] == ["trace.jsonl"]


def test_stdout_gets_the_rows_alone(samples: Samples) -> None:
    done = llm_traces("export", "burstgpt/1", "--to", "aiperf-burstgpt", cwd=samples.root)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "Timestamp,Request tokens,Response tokens"
    assert f"stdout: {len(rows):,} requests" in done.stderr
    assert "requests that failed" in done.stderr
    kept = llm_traces("export", "burstgpt/1", "--to", "aiperf-burstgpt", "--keep-failed", cwd=samples.root)
    assert len(kept.stdout.splitlines()) > len(rows) + 1
    assert "left out" not in kept.stderr


def test_the_upstream_file_comes_back(samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "code.csv"
    done = run_here("export", "azure-2023/code", "--to", "upstream", "-o", path, cwd=samples.root)
    assert done.returncode == 0, done.stderr
    (upstream,) = samples.mirror.glob("azure-2023/*code*")
    assert path.read_bytes() == upstream.read_bytes()


def test_a_saved_workload_is_exported_by_its_path(samples: Samples, tmp_path: Path) -> None:
    mine = tmp_path / "mine.parquet"
    run_here("shape", "azure-2023/code", "--limit", "50", "-o", mine, cwd=samples.root)
    done = run_here("export", mine, "--to", "vidur", "-o", tmp_path / "a.csv", cwd=samples.root)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 51
    assert "limit(50)" in (tmp_path / "a.csv.readme.txt").read_text()


def test_the_list_has_every_dialect(tmp_path: Path) -> None:
    done = run_here("export", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if not line.startswith(" ")] == list(all_dialects())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no workload was given"),
        (["azure-2023/code"], "no dialect was given"),
        (["azure-2023/code", "--to", "vllm"], "there is no such dialect"),
        (["azure-2023/code", "--to", "mooncake"], "no request has hash_ids"),
        (["azure-2023", "--to", "vidur"], "needs one workload"),
        (["ragpulse/requests", "--to", "vidur"], "several segments"),
        (["kavier/utilisation", "--to", "kavier"], "not of requests"),
        (["azure-2023/code", "--to", "vidur", "--block-size", "16"], "takes no blocks"),
        (["mooncake/conversation", "--to", "aibrix", "--block-size", "16"], "blocks of 512 tokens only"),
        (["azure-2023/code", "--to", "vidur", "--format", "jsonl"], "has no such format"),
        (["burstgpt/3", "--to", "opendc"], "has several files"),
    ],
)
def test_what_cannot_be_done_is_said(samples: Samples, arguments: list[str], message: str) -> None:
    done = run_here("export", *arguments, cwd=samples.root)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not done.stdout
