"""The look-alikes have the known oddities and the published statistics of their upstreams."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_trace_archive.demo.lookalikes import load_sample, sample_traces, write_upstream

ROWS = 6000


def content(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


@cache
def table(path: Path) -> dict[str, list[str]]:
    header, *lines = content(path).splitlines()
    rows = [line.split(",") for line in lines]
    return {name: [row[n] for row in rows] for n, name in enumerate(header.split(","))}


@cache
def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(path).splitlines() if line]


def column(path: Path, name: str) -> np.ndarray:
    values = [each[name] for each in records(path)] if path.suffix == ".jsonl" else table(path)[name]
    return np.array(values, float)


def arrivals(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [float(each["timestamp"]) for each in records(path)]
    found = table(path)[next(iter(table(path)))]
    return [float(each) for each in found] if path.name.startswith("Burst") else found


@pytest.mark.parametrize(
    "name",
    [
        f"{trace}/{name}"
        for trace in sample_traces()
        for name, shape in load_sample(trace).SHAPES.items()
        if re.search("imes?tamp", shape.line + shape.header, re.I)
    ],
)
def test_arrivals_are_in_order(name: str, folder: Path) -> None:
    found = arrivals(folder / name)
    assert len(found) > 100
    resets = sum(b < a for a, b in pairwise(found))
    assert resets == (1 if name.startswith("ragpulse") else 0)
    if name.startswith("azure-2023"):
        assert len(set(found)) == len(found)


def test_azure_2024_omits_fractions_of_zero(folder: Path, tmp_path: Path) -> None:
    write_upstream("azure-2024", tmp_path, 10)
    for at in (tmp_path, folder):
        for name in ("code", "conv"):
            text = content(at / f"azure-2024/AzureLLMInferenceTrace_{name}_1week.csv")
            whole = len(re.findall(r":\d\d\+00:00", text))
            assert 0 < whole < text.count("\n") / 2


def test_gzip_files_have_their_name_and_no_time(folder: Path) -> None:
    data = (folder / "azure-lmm-2025/AzureLMMInferenceTrace_multimodal.csv.gz").read_bytes()
    assert data[4:8] == b"\0\0\0\0"  # no time
    assert data[10:].startswith(b"AzureLMMInferenceTrace_multimodal.csv\0")


@pytest.mark.parametrize(("number", "share"), [(1, 0.0178), (2, 0.0192), (3, 0.0726)])
def test_burstgpt_has_the_published_shares_of_failures(number: int, share: float, folder: Path) -> None:
    path = folder / f"burstgpt/BurstGPT_{number}.csv"
    request, response, total = (column(path, f"{each} tokens") for each in ("Request", "Response", "Total"))
    assert (request + response == total).all()
    assert (response == 0).mean() == pytest.approx(share, abs=0.012)
    assert ((request == 0) & (response == 0)).any()
    assert ((request > 0) & (response == 0)).any()
    assert (request[response > 0] > 0).all()


def test_burstgpt_has_the_published_sessions(tmp_path: Path) -> None:
    write_upstream("burstgpt", tmp_path, 100_000)
    found = table(tmp_path / "burstgpt/BurstGPT_3.csv")
    turns = Counter(each for each in found["Session ID"] if each)
    assert np.mean(list(turns.values())) == pytest.approx(4.18, rel=0.15)
    assert np.median(list(turns.values())) == 2
    assert Counter(found["Log Type"])["Conversation log"] == pytest.approx(4372, rel=0.1)
    assert Counter(found["Model"])["GPT-4"] == pytest.approx(14787, rel=0.1)


def test_burstgpt_has_the_published_ramp(tmp_path: Path) -> None:
    write_upstream("burstgpt", tmp_path, 60_000)
    at = column(tmp_path / "burstgpt/BurstGPT_1.csv", "Timestamp")
    rate = [((at >= a * 180) & (at < b * 180)).sum() / (b - a) for a, b in ((0, 400), (4550, 4950))]
    assert 50 < rate[1] / rate[0] < 200


def share_of_known_blocks(rows: list[dict[str, Any]], block: int) -> float:
    """Check that ids are dense by first appearance; return the share of blocks seen before."""
    next_id = hits = total = 0
    for row in rows:
        ids = row["hash_ids"]
        assert len(ids) == len(set(ids)) == -(-row["input_length"] // block)
        fresh = [each for each in ids if each >= next_id]
        assert ids[len(ids) - len(fresh) :] == fresh == list(range(next_id, next_id + len(fresh)))
        next_id, hits, total = next_id + len(fresh), hits + len(ids) - len(fresh), total + len(ids)
    return hits / total


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("mooncake/conversation_trace", 0.366), ("mooncake/toolagent_trace", 0.553), ("mooncake/synthetic_trace", 0.640),
     ("mooncake/mooncake_trace", 0.553), ("qwen-bailian/qwen_traceA_blksz_16", 0.579),
     ("qwen-bailian/qwen_traceB_blksz_16", 0.542), ("qwen-bailian/qwen_coder_blksz_16", 0.664),
     ("qwen-bailian/qwen_thinking_blksz_16", 0.462)],
)  # fmt: skip
def test_prompts_share_the_published_part_of_their_blocks(name: str, ratio: float, folder: Path) -> None:
    rows = records(folder / f"{name}.jsonl")
    assert share_of_known_blocks(rows, 512 if name.startswith("mooncake") else 16) == pytest.approx(ratio, abs=0.08)


def test_mooncake_arrives_in_steps_and_shares_the_first_block(folder: Path) -> None:
    rows = records(folder / "mooncake/conversation_trace.jsonl")
    steps = np.diff(sorted({row["timestamp"] for row in rows}))
    assert set(steps.tolist()) <= set(range(2997, 3004))
    assert len(set(steps.tolist())) >= 3
    assert all(row["hash_ids"][0] == 0 for row in rows)
    assert len(rows) / (len(steps) + 1) == pytest.approx(10.2, rel=0.1)


@pytest.mark.parametrize("name", ["traceA", "thinking", "coder"])
def test_qwen_turns_extend_their_parents(name: str, folder: Path) -> None:
    rows = records(folder / f"qwen-bailian/qwen_{name}_blksz_16.jsonl")
    by_id = {row["chat_id"]: row for row in rows}
    assert max(row["turn"] for row in rows) > 3
    for row in rows:
        assert (row["turn"] == 1) == (row["parent_chat_id"] == -1)
        if row["turn"] > 1:
            parent = by_id[row["parent_chat_id"]]
            assert (parent["turn"], parent["type"]) == (row["turn"] - 1, row["type"])
            full = len(parent["hash_ids"]) - 1
            assert row["hash_ids"][:full] == parent["hash_ids"][:full]
            assert row["hash_ids"][full] != parent["hash_ids"][full]


def test_qwen_has_the_published_types(folder: Path) -> None:
    for name, types in (("traceA", {"text", "search", "image", "file"}), ("traceB", {"api", "text"})):
        assert {row["type"] for row in records(folder / f"qwen-bailian/qwen_{name}_blksz_16.jsonl")} == types


def test_ragpulse_prompts_consist_of_components(folder: Path) -> None:
    lengths: dict[int, int] = {}
    kinds: dict[str, set[int]] = {}
    for name in ("1_sys_prompt", "2_passages", "3_history", "4_user_input", "5_web_search"):
        for number, length in (each.values() for each in records(folder / f"ragpulse/{name}.jsonl")):
            assert number not in lengths
            lengths[number] = length
            kinds.setdefault(name[2:], set()).add(number)
    assert set(lengths) == set(range(len(lengths)))
    assert len(lengths) == pytest.approx(ROWS, rel=0.02)
    rows = records(folder / "ragpulse/0_trace.jsonl")
    for row in rows:
        for kind, ids in row["hash_ids"].items():
            assert kinds[kind.removesuffix("_ids")].issuperset(ids)
        parts = sum(lengths[each] for ids in row["hash_ids"].values() for each in ids)
        assert 6 <= row["input_length"] - parts <= 12
    assert any(row["hash_ids"]["web_search"] for row in rows)


def test_ragpulse_has_two_weeks_and_a_session_across_both(folder: Path) -> None:
    rows = records(folder / "ragpulse/0_trace.jsonl")
    at = [int(row["timestamp"]) for row in rows]
    reset = next(n for n in range(1, len(at)) if at[n] < at[n - 1])
    assert (at[0], at[reset - 1], at[reset], at[-1]) == (82, 604453, 0, 604603)
    assert reset / len(rows) == pytest.approx(3800 / 7106, abs=0.01)
    names = [row["session_id"] for row in rows]
    assert names[reset - 1] == names[reset]  # one session spans the reset
    assert {"123", "python_tester"} <= set(names[:reset])
    turns = Counter(names)
    assert np.mean(list(turns.values())) == pytest.approx(1.78, abs=0.25)
    assert all(re.fullmatch(r"175[78]\d{9}-[0-9a-z]{12}", name) for name in names[reset:])


def test_kavier_throughput_follows_from_tokens_and_latency(folder: Path) -> None:
    for name, asked in (("prefill", "requested_response_size"), ("decode", "requested_length")):
        path = folder / f"kavier/raw_{name}.csv"
        tokens = column(path, asked) + column(path, "response_size")
        assert column(path, "throughput_tokens_per_s") == pytest.approx(tokens / column(path, "latency_s"), abs=0.0051)
    text = content(folder / "kavier/raw_decode.csv")
    assert re.search(r"\.\d\n", text), "some decimals must end early"
    assert content(folder / "kavier/performance_tracing.csv").rstrip().endswith(",0,4736,0,10000,98,100")


AZURE_IN, AZURE_OUT = "ContextTokens", "GeneratedTokens"


@pytest.mark.parametrize(
    ("name", "of", "mean", "median"),
    [
        ("azure-2023/AzureLLMInferenceTrace_code.csv", AZURE_IN, 2048, 1469),
        ("azure-2023/AzureLLMInferenceTrace_code.csv", AZURE_OUT, 28, 13),
        ("azure-2023/AzureLLMInferenceTrace_conv.csv", AZURE_IN, 1155, 1020),
        ("azure-2023/AzureLLMInferenceTrace_conv.csv", AZURE_OUT, 211, 129),
        ("azure-2024/AzureLLMInferenceTrace_code_1week.csv", AZURE_IN, 2511, 1930),
        ("azure-2024/AzureLLMInferenceTrace_code_1week.csv", AZURE_OUT, 23, 8),
        ("azure-2024/AzureLLMInferenceTrace_conv_1week.csv", AZURE_IN, 1632, 928),
        ("azure-2024/AzureLLMInferenceTrace_conv_1week.csv", AZURE_OUT, 106, 41),
        ("qwen-bailian/qwen_traceB_blksz_16.jsonl", "input_length", 915, 574),
        ("qwen-bailian/qwen_traceB_blksz_16.jsonl", "output_length", 92, 39),
        ("qwen-bailian/qwen_traceA_blksz_16.jsonl", "input_length", 2331, 1046),
        ("qwen-bailian/qwen_traceA_blksz_16.jsonl", "output_length", 430, 375),
        ("qwen-bailian/qwen_coder_blksz_16.jsonl", "input_length", 5748, 4540),
        ("mooncake/conversation_trace.jsonl", "input_length", 12035, 6909),
        ("mooncake/conversation_trace.jsonl", "output_length", 343, 350),
        ("mooncake/toolagent_trace.jsonl", "input_length", 8596, None),
        ("mooncake/toolagent_trace.jsonl", "output_length", 182, None),
        ("ragpulse/0_trace.jsonl", "input_length", 2944, 3139),
        ("ragpulse/0_trace.jsonl", "output_length", 283, 234),
    ],
)
def test_tokens_have_nearly_the_published_mean_and_median(
    name: str, of: str, mean: float, median: float | None, folder: Path
) -> None:
    found = column(folder / name, of)
    assert found.mean() == pytest.approx(mean, rel=0.1)
    if median is not None:
        assert np.median(found) == pytest.approx(median, rel=0.1)
