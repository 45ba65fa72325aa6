"""The look-alikes: the same bytes everywhere, the upstream's spelling on every line, and its known oddities."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from llm_trace_archive.archive import Archive
from llm_trace_archive.errors import BadUse
from llm_trace_archive.samples import GENERATORS, sample_archive, write_upstream


class Shape(NamedTuple):
    """How a file is spelled: what every line matches, and what stands around the lines."""

    line: str
    header: str = ""
    end: str = "\n"
    tail: str = "\n"


N, IDS = r"(0|[1-9]\d*)", r"\[((0|[1-9]\d*)(, (0|[1-9]\d*))*)?\]"
FLOAT = r"(0|[1-9]\d*)\.(0|\d*[1-9])"  # as Python prints it
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
COLUMNS = "Model,Request tokens,Response tokens,Total tokens,Log Type"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
TOKENS = rf"(ChatGPT|GPT-4),{N},{N},{N},(Conversation|API) log"
MOONCAKE = Shape(rf'{{"timestamp": {N}, "input_length": {N}, "output_length": {N}, "hash_ids": {IDS}}}')
QWEN = Shape(
    rf'{{"chat_id": {N}, "parent_chat_id": (-1|{N}), "timestamp": {FLOAT}, "input_length": {N}, '
    rf'"output_length": {N}, "type": "[a-z]+", "turn": {N}, "hash_ids": {IDS}}}'
)
KAVIER = r"SURF,A10,vLLM 0\.9\.0, Llama-3-8B"
AZURE_2023 = Shape(rf"2023-11-16 \d\d:\d\d:\d\d\.\d{{7}},{N},{N}", AZURE, "\r\n", "")
AZURE_2024 = Shape(rf"2024-05-1\d \d\d:\d\d:\d\d(\.(?!000000)\d{{6}})?\+00:00,{N},{N}", AZURE, "\r\n", "\r\n")


def component(name: str) -> Shape:
    return Shape(rf'{{"{name}_id": {N}, "token_length": {N}}}', tail="\n\n")


SHAPES = {
    "azure-2023/AzureLLMInferenceTrace_code.csv": AZURE_2023,
    "azure-2023/AzureLLMInferenceTrace_conv.csv": AZURE_2023,
    "azure-2024/AzureLLMInferenceTrace_code_1week.csv": AZURE_2024,
    "azure-2024/AzureLLMInferenceTrace_conv_1week.csv": AZURE_2024,
    "azure-lmm-2025/AzureLMMInferenceTrace_multimodal.csv.gz": Shape(
        rf"2024-10-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z,{N},{N},{N}", "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens"
    ),
    "burstgpt/BurstGPT_1.csv": Shape(rf"{N},{TOKENS}", f"Timestamp,{COLUMNS}"),
    "burstgpt/BurstGPT_2.csv": Shape(rf"{N}\.0,{TOKENS}", f"Timestamp,{COLUMNS}"),
    "burstgpt/BurstGPT_3.csv": Shape(
        rf"{N}\.0,({UUID}(?=.*Conversation)|(?=.*API)),{N},{TOKENS}", f"Timestamp,Session ID,Elapsed time,{COLUMNS}"
    ),
    "kavier/raw_prefill.csv": Shape(
        rf"{KAVIER},{N},1,{N}\.\d{{3}},{N}\.\d\d",
        "provider,gpu,engine,llm,requested_response_size,response_size,latency_s,throughput_tokens_per_s",
    ),
    "kavier/raw_decode.csv": Shape(
        rf"{KAVIER},{N},{N},{FLOAT},{FLOAT}",
        "provider,gpu,engine,llm,requested_length,response_size,latency_s,throughput_tokens_per_s",
        tail="",
    ),
    "kavier/performance_tracing.csv": Shape(
        rf"2025/06/13 \d\d:\d\d:\d\d\.\d{{3}},{N},{N},{N},{N},{N},{N}",
        "timestamp,prompt_id,input_tokens,output_tokens,size,util_gpu,util_mem",
        "\r\n",
        "\r\n",
    ),
    **{f"mooncake/{name}_trace.jsonl": MOONCAKE for name in ("conversation", "toolagent", "synthetic", "mooncake")},
    **{f"qwen-bailian/qwen_{name}_blksz_16.jsonl": QWEN for name in ("traceA", "traceB", "thinking", "coder")},
    "ragpulse/0_trace.jsonl": Shape(
        rf'{{"timestamp": "{N}", "input_length": {N}, "output_length": {N}, "hash_ids": {{"sys_prompt": {IDS}, '
        rf'"passages_ids": {IDS}, "history": {IDS}, "web_search": {IDS}, "user_input": {IDS}}}, '
        r'"session_id": "[0-9a-z_-]+"}',
        tail="\n\n",
    ),
    "ragpulse/1_sys_prompt.jsonl": component("sys_prompt"),
    "ragpulse/2_passages.jsonl": component("passage"),
    "ragpulse/3_history.jsonl": component("history"),
    "ragpulse/4_user_input.jsonl": component("user_input"),
    "ragpulse/5_web_search.jsonl": component("web_search"),
}

# Rows as the upstreams publish them; azure-2024's first second of a day stands in the upstream's README.
PUBLISHED = {
    "azure-2023/AzureLLMInferenceTrace_code.csv": ["2023-11-16 18:17:03.9799600,4808,10"],
    "azure-2024/AzureLLMInferenceTrace_code_1week.csv": [
        "2024-05-10 00:00:00.009930+00:00,2162,5",
        "2024-05-12 00:00:00+00:00,2399,6",
    ],
    "burstgpt/BurstGPT_1.csv": ["5,ChatGPT,472,18,490,Conversation log", "118,GPT-4,417,276,693,Conversation log"],
    "burstgpt/BurstGPT_3.csv": [
        "19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log"
    ],
    "qwen-bailian/qwen_thinking_blksz_16.jsonl": [
        '{"chat_id": 0, "parent_chat_id": -1, "timestamp": 0.0, "input_length": 502, "output_length": 1494, '
        '"type": "thinking", "turn": 1, "hash_ids": [0, 1, 31]}'
    ],
}

# sha256 over the files of a trace at 64 rows: these must never depend on the machine.
PINS = {
    "azure-2023": "461fab2413b2668a54cade975ed3f4b13418732e40b7dbf415e878f48f6425d8",
    "azure-2024": "e0caefce6e64ea551bb4f9979009c44f0364c44c2c75753ebdb42ea996721884",
    "azure-lmm-2025": "48dde43631371238193404441c71f7a6325bfb92ffd374c062f7ba39541ae133",
    "burstgpt": "0da9f711b96ced5f93564fee361b1bde91c75987b5f03e2b23ee9df830ff655c",
    "kavier": "c1b352069eda7df2cffc0fcb82894269a64c85e64b602b297b9ae8ee0d346e9d",
    "lmsys-chat-1m": "f085dab471c274c55d9ba40d0c54e339099b68e2c93b0d7f4f5428f600b9a2fd",
    "marconi": "e917626b4aa212ad7faf0bd3afece45cfd5be7b224597f4f50ea81faddd6537d",
    "mooncake": "e935d6ae1fa7523faa4a25b2e136101406bb0ddf9b379b3f5e2fb3365cb4fd37",
    "qwen-bailian": "767b6ba1b535b3a490638486108b9f4d23766416a69ec9c77ec672ab8fba051b",
    "ragpulse": "903d30cd1eec5ab6ef78b40d9a45e9157957731bbb32fecea8d6cbc8b3de44d6",
    "weka-claude-code": "cc145946ef308f8a1d57d2ecbca34e55d2887d92ca82ad925bce3f8c6b5ef155",
}

ROWS = 6000
# Their files have no lines; tests of their own look at them.
NOT_LINES = ("lmsys-chat-1m", "marconi", "weka-claude-code")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Look-alikes of every trace."""
    made = tmp_path_factory.mktemp("look-alikes")
    for trace in GENERATORS:
        write_upstream(trace, made, ROWS)
    return made


def content(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def check_shape(path: Path, shape: Shape) -> list[str]:
    """The lines, after a check of everything around them and of the spelling of each."""
    text = content(path)
    stripped = text.rstrip("\r\n")
    assert text[len(stripped) :] == shape.tail
    first, *lines = stripped.split(shape.end)
    if shape.header:
        assert first == shape.header
    else:
        lines = [first, *lines]
    odd = [line for line in lines if not re.fullmatch(shape.line, line)]
    assert not odd, f"{len(odd)} of {len(lines)} lines are spelled otherwise, such as {odd[0]!r}"
    return lines


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


@pytest.mark.parametrize("trace", GENERATORS)
def test_same_bytes_everywhere(trace: str, tmp_path: Path) -> None:
    digests = []
    for name in ("once", "again"):
        write_upstream(trace, tmp_path / name, 64)
        files = sorted((tmp_path / name / trace).iterdir())
        digests.append(hashlib.sha256(b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)).hexdigest())
    assert digests[0] == digests[1]
    assert digests[0] == PINS[trace]


@pytest.mark.parametrize("rows", [1, 10, 70_000])
@pytest.mark.parametrize("trace", [trace for trace in GENERATORS if trace not in NOT_LINES])
def test_any_number_of_rows(trace: str, rows: int, tmp_path: Path) -> None:
    write_upstream(trace, tmp_path, rows)
    lines = {name: len(check_shape(tmp_path / name, SHAPES[name])) for name in SHAPES if name.startswith(f"{trace}/")}
    assert min(lines.values()) > 0
    if trace == "ragpulse":
        lines = {"components": sum(lines.values()) - lines["ragpulse/0_trace.jsonl"]}
    if rows > 1000:
        assert max(lines.values()) == pytest.approx(rows, rel=0.01)


def test_every_file_has_a_shape(folder: Path) -> None:
    files = {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*") if path.parent.name not in NOT_LINES}
    assert files == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_spelling(name: str, folder: Path) -> None:
    assert check_shape(folder / name, SHAPES[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shapes_are_the_published_ones(name: str) -> None:
    for line in PUBLISHED[name]:
        assert re.fullmatch(SHAPES[name].line, line)


@pytest.mark.parametrize("name", SHAPES)
def test_real_files_have_the_same_shape(name: str, mirror: Path) -> None:
    if not (mirror / name).exists():
        pytest.skip(f"{name} is not in the mirror")
    assert check_shape(mirror / name, SHAPES[name])


def times(path: Path) -> list[Any]:
    if path.suffix == ".jsonl":
        return [float(each["timestamp"]) for each in records(path)]
    found = table(path)[next(iter(table(path)))]
    return [float(each) for each in found] if path.name.startswith("Burst") else found


@pytest.mark.parametrize(
    "name", [n for n, shape in SHAPES.items() if re.search("imes?tamp", shape.line + shape.header, re.I)]
)
def test_arrivals_are_in_order(name: str, folder: Path) -> None:
    found = times(folder / name)
    assert len(found) > 100
    resets = sum(b < a for a, b in pairwise(found))
    assert resets == (1 if name.startswith("ragpulse") else 0)
    if name.startswith("azure-2023"):
        assert len(set(found)) == len(found)


def test_azure_2024_leaves_out_fractions_of_zero(folder: Path, tmp_path: Path) -> None:
    write_upstream("azure-2024", tmp_path, 10)
    for at in (tmp_path, folder):
        for name in ("code", "conv"):
            text = content(at / f"azure-2024/AzureLLMInferenceTrace_{name}_1week.csv")
            whole = len(re.findall(r":\d\d\+00:00", text))
            assert 0 < whole < text.count("\n") / 2


def test_gzip_keeps_the_name(folder: Path) -> None:
    data = (folder / "azure-lmm-2025/AzureLMMInferenceTrace_multimodal.csv.gz").read_bytes()
    assert data[4:8] == b"\0\0\0\0"  # no time
    assert data[10:].startswith(b"AzureLMMInferenceTrace_multimodal.csv\0")


@pytest.mark.parametrize(("number", "share"), [(1, 0.0178), (2, 0.0192), (3, 0.0726)])
def test_burstgpt_failures(number: int, share: float, folder: Path) -> None:
    path = folder / f"burstgpt/BurstGPT_{number}.csv"
    request, response, total = (column(path, f"{each} tokens") for each in ("Request", "Response", "Total"))
    assert (request + response == total).all()
    assert (response == 0).mean() == pytest.approx(share, abs=0.012)
    assert ((request == 0) & (response == 0)).any()
    assert ((request > 0) & (response == 0)).any()
    assert (request[response > 0] > 0).all()


def test_burstgpt_sessions(tmp_path: Path) -> None:
    write_upstream("burstgpt", tmp_path, 100_000)
    found = table(tmp_path / "burstgpt/BurstGPT_3.csv")
    turns = Counter(each for each in found["Session ID"] if each)
    assert np.mean(list(turns.values())) == pytest.approx(4.18, rel=0.15)
    assert np.median(list(turns.values())) == 2
    assert Counter(found["Log Type"])["Conversation log"] == pytest.approx(4372, rel=0.1)
    assert Counter(found["Model"])["GPT-4"] == pytest.approx(14787, rel=0.1)


def test_burstgpt_ramp(tmp_path: Path) -> None:
    write_upstream("burstgpt", tmp_path, 60_000)
    at = column(tmp_path / "burstgpt/BurstGPT_1.csv", "Timestamp")
    rate = [((at >= a * 180) & (at < b * 180)).sum() / (b - a) for a, b in ((0, 400), (4550, 4950))]
    assert 50 < rate[1] / rate[0] < 200


def blocks_are_dense(rows: list[dict[str, Any]], block: int) -> float:
    """The share of blocks seen before, after a check that ids are dense in the order of their first appearance."""
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
def test_shared_blocks(name: str, ratio: float, folder: Path) -> None:
    rows = records(folder / f"{name}.jsonl")
    assert blocks_are_dense(rows, 512 if name.startswith("mooncake") else 16) == pytest.approx(ratio, abs=0.08)


def test_mooncake_steps_and_first_block(folder: Path) -> None:
    rows = records(folder / "mooncake/conversation_trace.jsonl")
    steps = np.diff(sorted({row["timestamp"] for row in rows}))
    assert set(steps.tolist()) <= set(range(2997, 3004))
    assert len(set(steps.tolist())) >= 3
    assert all(row["hash_ids"][0] == 0 for row in rows)
    assert len(rows) / (len(steps) + 1) == pytest.approx(10.2, rel=0.1)


@pytest.mark.parametrize("name", ["traceA", "thinking", "coder"])
def test_qwen_chats(name: str, folder: Path) -> None:
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


def test_qwen_types(folder: Path) -> None:
    for name, types in (("traceA", {"text", "search", "image", "file"}), ("traceB", {"api", "text"})):
        assert {row["type"] for row in records(folder / f"qwen-bailian/qwen_{name}_blksz_16.jsonl")} == types


def test_ragpulse_components(folder: Path) -> None:
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


def test_ragpulse_weeks_and_sessions(folder: Path) -> None:
    rows = records(folder / "ragpulse/0_trace.jsonl")
    at = [int(row["timestamp"]) for row in rows]
    reset = next(n for n in range(1, len(at)) if at[n] < at[n - 1])
    assert (at[0], at[reset - 1], at[reset], at[-1]) == (82, 604453, 0, 604603)
    assert reset / len(rows) == pytest.approx(3800 / 7106, abs=0.01)
    names = [row["session_id"] for row in rows]
    assert names[reset - 1] == names[reset]  # one goes on over the reset
    assert {"123", "python_tester"} <= set(names[:reset])
    turns = Counter(names)
    assert np.mean(list(turns.values())) == pytest.approx(1.78, abs=0.25)
    assert all(re.fullmatch(r"175[78]\d{9}-[0-9a-z]{12}", name) for name in names[reset:])


def test_kavier_figures_follow_from_each_other(folder: Path) -> None:
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
def test_tokens_are_near_the_published_ones(
    name: str, of: str, mean: float, median: float | None, folder: Path
) -> None:
    found = column(folder / name, of)
    assert found.mean() == pytest.approx(mean, rel=0.1)
    if median is not None:
        assert np.median(found) == pytest.approx(median, rel=0.1)


def test_unknown_trace(tmp_path: Path) -> None:
    with pytest.raises(BadUse, match="no look-alikes") as error:
        write_upstream("burst", tmp_path)
    assert "burstgpt" in error.value.details["there are"]


def comments(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def test_archive_of_look_alikes(archive: Archive, tmp_path: Path) -> None:
    made = sample_archive(archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9/", rows=50)
    assert list(made.recipes) == [n for n, each in archive.recipes.items() if (each.derived_from or n) in GENERATORS]
    for name, recipe in made.recipes.items():
        assert recipe.synthetic
        assert recipe.title.endswith("(synthetic look-alike)")
        assert recipe.description.startswith("Generated look-alikes, not the published data.")
        assert recipe.anomalies == archive.recipe(name).anomalies
        assert comments(recipe.file) == comments(archive.recipe(name).file)
        for workload in recipe.workloads:
            assert set(workload.expect) <= {"rows", "arrivals", "segments", "relations", "references"}
            assert workload.published == ()
            original = archive.recipe(name).workload(workload.name)
            assert {each.rules for each in workload.files} == {each.rules for each in original.files}
            for file in workload.files:
                data = (tmp_path / "mirror" / file.trace / file.name).read_bytes()
                blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                pin = (file.git_blob,) if workload.listed else (file.sha256, file.bytes)
                assert pin == ((blob,) if workload.listed else (hashlib.sha256(data).hexdigest(), len(data)))
                assert file.url == f"http://127.0.0.1:9/{file.trace}/{file.name}"
    assert made.recipe("burstgpt").workload("3").expect["rows"] == 50
    assert made.recipe("ragpulse").workload("requests").expect["segments"] == 2
    assert {each.name for each in made.root.iterdir()} >= {
        "recipes",
        "schemas",
        "LICENSE.txt",
        ".gitattributes",
        ".datalad",
    }


def test_archive_of_chosen_traces(archive: Archive, tmp_path: Path) -> None:
    made = sample_archive(archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9", 20, ["kavier"])
    assert list(made.recipes) == ["kavier"]
    with pytest.raises(BadUse, match="not empty"):
        sample_archive(archive, made.root, tmp_path / "mirror", "http://127.0.0.1:9")
    with pytest.raises(BadUse, match="no recipe with look-alikes"):
        sample_archive(archive, tmp_path / "other", tmp_path / "mirror", "http://127.0.0.1:9", traces=["nothing"])
    assert not (tmp_path / "other").exists()
