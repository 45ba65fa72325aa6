"""Imported logs: ready-made recipes, bad logs, wrong recipes, and what an anonymised log keeps."""

# ruff: noqa: E501  (lines of logs are long)

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import llm_trace_archive as lta
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.workload.logs.importing import find_recipe, ready_made
from support.command import run_here
from support.golden import assert_golden

S = 1_000_000
NS = 1_780_000_000 * 1_000_000_000  # a time in 2026


def span(number: int, attributes: dict[str, Any], start: int = 0, **more: Any) -> dict[str, Any]:
    def value(each: Any) -> dict[str, Any]:
        return {"intValue": str(each)} if isinstance(each, int) else {"stringValue": each}

    listed = [{"key": f"gen_ai.{key}", "value": value(each)} for key, each in attributes.items()]
    times = {"startTimeUnixNano": str(NS + start), "endTimeUnixNano": str(NS + start + 2_500_000_000)}
    return {"traceId": "t", "spanId": f"{number:016x}", **times, "attributes": [*listed, *more.get("others", [])]}


def otlp(*spans: dict[str, Any]) -> str:
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}) + "\n"


NEW = {"operation.name": "chat", "provider.name": "openai", "request.model": "m", "conversation.id": "c1"}
NEW |= {"usage.input_tokens": 100, "usage.output_tokens": 7, "usage.cache_read.input_tokens": 64}
OLD = {"operation.name": "chat", "system": "openai", "request.model": "m", "usage.prompt_tokens": 5}
OLD |= {"usage.completion_tokens": 6}
VLLM = """INFO 07-28 10:00:00 [api_server.py:1] Started server process [1]
(APIServer pid=1) INFO 07-28 10:00:01 [logger.py:41] Received request cmpl-1: prompt: 'secret: x', params: SamplingParams(n=1, max_tokens=9), prompt_token_ids: [1, 2, 3], prompt_embeds shape: None, lora_request: None.
INFO 07-28 10:00:02 [logger.py:41] Received request cmpl-2: prompt: 'y', params: SamplingParams(n=1), prompt_token_ids: None, lora_request: None.
INFO 07-28 10:00:04 [logger.py:80] Generated response cmpl-1 (streaming complete): output: 'a', output_token_ids: [7, 8], finish_reason: stop
INFO 07-28 10:00:05 [logger.py:80] Generated response cmpl-2: output: 'b', output_token_ids: None, finish_reason: abort
"""
SGLANG = [
    {"timestamp": "2026-05-01T10:00:00.25", "event": "request.received", "rid": "a", "obj": {"input_ids": [1, 2]}},
    {"timestamp": "2026-05-01T10:00:03.00", "event": "request.finished", "rid": "a", "obj": {}, "out": {"meta_info": {
        "prompt_tokens": 2, "completion_tokens": 5, "cached_tokens": 1, "e2e_latency": 2.75, "finish_reason": {"type": "stop"}}}},
]  # fmt: skip
SGLANG_TEXT = """[2026-05-01 10:00:00 TP0] Prefill batch, #new-seq: 1
[2026-05-01 10:00:01] Receive: obj=GenerateReqInput(rid='abc', http_worker_ipc=None, text='hi')
[2026-05-01 10:00:04] Finish: obj=GenerateReqInput(rid='abc', text='hi'), out={'text': 'x', 'meta_info': {'id': 'abc', 'finish_reason': {'type': 'length', 'length': 5}, 'prompt_tokens': 12, 'weight_version': 'default', 'completion_tokens': 5, 'cached_tokens': 3, 'e2e_latency': 2.5}}
"""


def aiperf(number: int, phase: str = "profiling", error: Any = None) -> str:
    metrics: dict[str, Any] = {
        "input_sequence_length": {"value": 550, "unit": "tokens"}, "output_sequence_length": {"value": 9, "unit": "tokens"},
        "time_to_first_token": {"value": 255.5, "unit": "ms"},
    }  # fmt: skip
    metadata = {
        "session_num": number, "x_correlation_id": f"c{number}", "conversation_id": "c", "turn_index": 0,
        "request_start_ns": NS + number * 10**9, "request_end_ns": NS + number * 10**9 + 5 * 10**8,
        "benchmark_phase": phase, "was_cancelled": False,
    }  # fmt: skip
    return json.dumps({"metadata": metadata, "metrics": {} if error else metrics, "error": error}) + "\n"


def guidellm(start: float) -> dict[str, Any]:
    return {
        "request_id": str(start), "request_start_time": 1_780_000_000 + start, "request_end_time": 1_780_000_001.5 + start,
        "time_to_first_token_ms": 20.25, "prompt_tokens": 128, "output_tokens": 64, "cached_tokens": None,
    }  # fmt: skip


LITELLM = {
    "request_id": "r1", "call_type": "acompletion", "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05", "spend": 0.1,
    "prompt_tokens": 10, "completion_tokens": 4, "startTime": "2026-05-01T10:00:00.123456Z", "model": "gpt-x",
    "endTime": "2026-05-01T10:00:01.123456Z", "completionStartTime": "2026-05-01T10:00:00.323456Z", "status": "success",
    "custom_llm_provider": "openai", "session_id": "s", "metadata": {"usage_object": {"cache_read_input_tokens": 8}},
}  # fmt: skip
TRACELAB = {
    "provider": "codex", "session_id": "codex:1", "model": "gpt", "input_tokens_total": 30, "prefix_tokens": 20,
    "output_tokens": 3, "reasoning_output_tokens": 1, "first_input_event_type": "user_message", "tools": [{}, {}],
    "timing_events": [{"event_type": "user_message", "timestamp": "2026-06-01T05:40:20.151Z"}],
}  # fmt: skip
# By recipe: a log of the format, and what its rows must have.
LOGS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "otel-genai": (
        otlp(span(1, NEW, 10**9), span(9, {"operation.name": "invoke_agent", "usage.input_tokens": 100}))
        + otlp(span(2, OLD, others=[{"key": "error.type", "value": {"stringValue": "timeout"}}])),
        [
            {"arrival_us": 0, "latency_us": 2_500_000, "input_tokens": 5, "output_tokens": 6, "failed": True},
            {"arrival_us": S, "input_tokens": 100, "cached_tokens": 64, "session_id": "c1", "turn": 1, "failed": False,
             "provider": "openai", "model": "m", "request_type": "chat"},
        ],
    ),
    "vllm": (
        VLLM,
        [
            {"arrival_us": 0, "latency_us": 3 * S, "input_tokens": 3, "output_tokens": 2, "failed": False},
            {"arrival_us": S, "latency_us": 3 * S, "input_tokens": None, "output_tokens": None, "failed": True},
        ],
    ),
    "sglang": (
        "".join(json.dumps(each) + "\n" for each in SGLANG),
        [{"arrival_us": 250_000, "latency_us": 2_750_000, "input_tokens": 2, "cached_tokens": 1, "finish_reason": "stop"}],
    ),
    "sglang-text": (
        SGLANG_TEXT,
        [{"arrival_us": 0, "latency_us": 2_500_000, "input_tokens": 12, "output_tokens": 5, "cached_tokens": 3,
          "finish_reason": "length"}],
    ),
    "aiperf": (
        aiperf(0, "warmup") + aiperf(1) + aiperf(2, error={"code": 500, "type": "E", "message": "m"}),
        [
            {"arrival_us": 0, "latency_us": S // 2, "ttft_us": 255_500, "input_tokens": 550, "output_tokens": 9,
             "session_id": "c1", "failed": False, "cancelled": False},
            {"arrival_us": S, "latency_us": S // 2, "input_tokens": None, "failed": True},
        ],
    ),
    "guidellm": (
        json.dumps({"benchmarks": [
            {"requests": {"successful": [guidellm(1)], "incomplete": [], "errored": [guidellm(0)]}},
            {"requests": {"successful": [guidellm(9)], "incomplete": [], "errored": []}},
        ]}, indent=1),
        [
            {"segment": 0, "arrival_us": 0, "latency_us": 1_500_000, "failed": True, "outcome": "errored"},
            {"segment": 0, "arrival_us": S, "ttft_us": 20_250, "input_tokens": 128, "failed": False},
            {"segment": 1, "arrival_us": 9 * S, "output_tokens": 64},
        ],
    ),
    "litellm": (
        json.dumps([LITELLM, LITELLM, LITELLM | {"request_id": "r2", "call_type": "aembedding"}]),
        [{"arrival_us": 123_456, "latency_us": S, "ttft_us": 200_000, "input_tokens": 10, "cached_tokens": 8,
          "failed": False, "provider": "openai", "session_id": "s"}],
    ),
    "tracelab": (
        json.dumps(TRACELAB) + "\n",
        [{"arrival_us": 151_000, "input_tokens": 30, "cached_tokens": 20, "output_tokens": 3, "tools": 2, "agent": "codex"}],
    ),
    "csv": (
        "timestamp,input_tokens,output_tokens\n2026-05-01 10:00:01+02:00,5,6\n2026-05-01T08:00:00Z,7,\n",
        [
            {"arrival_us": 0, "input_tokens": 7, "output_tokens": None},
            {"arrival_us": S, "input_tokens": 5, "output_tokens": 6},
        ],
    ),
}  # fmt: skip


def imported(folder: Path, text: str, recipe: str = "csv", **options: Any) -> lta.Requests:
    (folder / "log").write_text(text, encoding="utf-8")
    return lta.import_log(folder / "log", recipe, folder / "mine.parquet", **options)


def mine(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text)
    return str(folder / "mine.toml")


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
@pytest.mark.parametrize("name", LOGS)
def test_a_ready_made_recipe_reads_its_log(name: str, tmp_path: Path) -> None:
    text, expected = LOGS[name]
    rows = imported(tmp_path, text, name).arrow().to_pylist()
    assert [{key: row[key] for key in each} for row, each in zip(rows, expected, strict=True)] == expected
    assert [row["request_id"] for row in rows] == list(range(len(rows)))


def test_every_ready_made_recipe_is_tried_and_short() -> None:
    assert set(ready_made()) == set(LOGS)
    for name in ready_made():
        assert len(find_recipe(name).read_text().splitlines()) <= 60, name


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_an_imported_log_is_a_workload_like_any_other(tmp_path: Path) -> None:
    requests = imported(tmp_path, LOGS["otel-genai"][0], "otel-genai")
    assert (requests.epoch, requests.licence) == ("2026-05-28T20:26:40", "LicenseRef-unpublished")
    assert "input tokens, mean" in str(requests.profile())
    assert requests.rate("1s").arrow().num_rows == 2
    requests.filter("NOT failed").rebase().save(tmp_path / "part.parquet")
    assert len(lta.open(str(tmp_path / "part.parquet")).arrow()) == 1
    for name in ("mine", "part"):
        found = run_here("validate", tmp_path / f"{name}.parquet", "--deep", cwd=tmp_path)
        assert (found.returncode, found.stderr) == (0, "")
    both = requests.merge(lta.open(str(tmp_path / "part.parquet")))
    assert len(both.arrow()) == 3


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    imported(tmp_path, LOGS["otel-genai"][0], "otel-genai")
    first = (tmp_path / "mine.parquet").read_bytes()
    imported(tmp_path, LOGS["otel-genai"][0], "otel-genai")
    assert (tmp_path / "mine.parquet").read_bytes() == first


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_a_compressed_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.gz").write_bytes(gzip.compress(LOGS["csv"][0].encode()))
    assert len(lta.import_log(tmp_path / "log.gz", "csv", tmp_path / "mine.parquet").arrow()) == 2


# -- bad logs ---------------------------------------------------------------------------------------------------------

HEADER = "timestamp,input_tokens,output_tokens\n"


def lines(count: int) -> str:
    return "".join(f"2026-05-01T08:00:{n % 60:02}Z,{n},1\n" for n in range(count))


def test_what_is_left_out_is_reported(tmp_path: Path) -> None:
    text = HEADER + lines(59) + "2026-05-01T08:00:01Z,-4,1\n2026-05-01T08:00:01Z,5\nnever,5,6\n"
    with pytest.warns(lta.ShapeWarning) as warned:
        requests = imported(tmp_path, text, max_broken=0.1)
    assert len(requests.arrow()) == 59
    assert_golden("import/left-out", "\n".join(sorted({str(each.message) for each in warned})))


def test_too_many_broken_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUse) as caught:
        imported(tmp_path, HEADER + lines(50) + "never,5,6\n")
    assert_golden("import/broken", str(caught.value), folder=tmp_path)
    assert not (tmp_path / "mine.parquet").exists()


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUse) as caught:
        imported(tmp_path, '{"metadata": {}, "level": "info"}\n' * 3, "aiperf")
    assert_golden("import/something-else", str(caught.value), folder=tmp_path)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "[", "\0\0\0", '{"metadata": 1}\n', "[1, 2]", '"text"\n', "[" * 100_000, "\udc80"]
)
@pytest.mark.parametrize("name", LOGS)
def test_garbage_is_refused_without_a_traceback(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text, errors="surrogateescape")
    found = run_here("import", "log", "--recipe", name, "-o", "mine.parquet", cwd=tmp_path)
    assert (found.returncode, "Traceback" in found.stderr) == (2, False), found.stderr
    assert not (tmp_path / "mine.parquet").exists()


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_clocks_that_run_back_and_repeated_ids(tmp_path: Path) -> None:
    spans = [span(n % 6, NEW | {"usage.input_tokens": n}, (7 - n) * 10**9) for n in range(8)]
    rows = imported(tmp_path, "".join(map(otlp, spans)), "otel-genai").arrow().to_pylist()
    assert [row["arrival_us"] // S for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["input_tokens"] for row in rows] == [5, 4, 3, 2, 1, 0]
    assert [row["turn"] for row in rows] == [1, 2, 3, 4, 5, 6]


RECIPES = {
    "no-log": "[columns]\narrival_us = { from = 't' }\n",
    "unknown-key": "[log]\nlines = 'json'\nline = 1\n",
    "unknown-column": "[log]\nlines = 'json'\n[columns]\narival_us = { from = 't' }\n",
    "not-toml": "[log\n",
    "canonical-described": "[log]\nlines = 'json'\n[columns]\nmodel = { from = 'm', type = 'string', title = 'M', meaning = 'M.' }\n",
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_wrong_recipe_is_refused_by_line(case: str, tmp_path: Path) -> None:
    with pytest.raises(BadUse) as caught:
        imported(tmp_path, "{}\n", mine(tmp_path, RECIPES[case]))
    assert_golden(f"import/recipe-{case}", str(caught.value), folder=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["log"],
        ["missing", "--recipe", "csv", "-o", "mine.parquet"],
        ["log", "--recipe", "nothing", "-o", "mine.parquet"],
        ["log", "--recipe", "csv", "-o", "mine.csv"],
        ["log", "--recipe", "csv", "-o", "no-folder/mine.parquet"],
        ["log", "--recipe", "csv", "-o", "mine.parquet", "--max-broken", "3"],
        ["log", "--recipe", "csv", "-o", "mine.parquet", "--round-times", "soon"],
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOGS["csv"][0])
    found = run_here("import", *arguments, cwd=tmp_path)
    assert (found.returncode, "Traceback" in found.stderr, found.stdout) == (2, False, "")


# -- anonymised -------------------------------------------------------------------------------------------------------

OWN = """
[log]
lines = "json"
times = { t = "s" }
prompt = { from = ["prompt"], bytes = 4 }
[columns]
arrival_us = { from = "t" }
session_id = { from = "user" }
model = { from = "model" }
note = { from = "note", type = "string", title = "Note", meaning = "Text." }
tag = { from = "tag", type = "dictionary<string>", title = "Tag", meaning = "A category." }
"""
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
ROWS = [
    {"t": 1.25, "user": "jo@example.org", "model": "m", "note": "call me", "tag": "x", "prompt": "aaaabbbbcc"},
    {"t": 2.75, "user": "jo@example.org", "model": "m", "note": "or not", "tag": "x", "prompt": "aaaabbbbdddd"},
    {"t": 3.0, "user": "al@example.org", "model": "m", "note": "", "tag": SECRET, "prompt": "xxxxbbbb"},
]


def test_an_anonymised_log_has_no_names_texts_or_dates(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    mine(tmp_path, OWN)
    command = ("import", "log", "--recipe", "mine.toml", "-o", "mine.parquet", "--anonymise", "--round-times", "500ms")
    found = run_here(*command, cwd=tmp_path)
    assert found.returncode == 1, found.stderr
    assert SECRET not in found.stdout + found.stderr
    assert_golden("import/anonymised", found.stderr)
    table = pq.read_table(tmp_path / "mine.parquet")
    rows = table.to_pylist()
    assert "note" not in table.column_names
    assert [row["arrival_us"] for row in rows] == [0, 1_500_000, 1_500_000]
    assert [row["hash_ids"] for row in rows] == [[0, 1], [0, 1, 2], [3, 4]]
    assert rows[0]["session_id"] == rows[1]["session_id"] != rows[2]["session_id"]
    content = (tmp_path / "mine.parquet").read_bytes()
    for text in (b"example.org", b"call me", b"aaaa", b"epoch"):
        assert text not in content


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_a_salt_keeps_ids_equal_between_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, recipe = json.dumps(ROWS[0]) + "\n", mine(tmp_path, OWN)

    def session() -> str:
        found = imported(tmp_path, text, recipe, anonymise=True).arrow().column("session_id")[0].as_py()
        return str(found)

    assert session() != session()
    monkeypatch.setenv("LLM_TRACES_SALT", "of ours")
    assert session() == session()


@pytest.mark.filterwarnings("ignore::llm_trace_archive.ShapeWarning")
def test_the_real_rows_of_tracelab_are_imported(mirror: Path, tmp_path: Path) -> None:
    real = mirror.parent / "next" / "tracelab" / "example_sessions_sanitized_round_trace.jsonl"
    if not real.exists():
        pytest.skip(f"real rounds: no {real}")
    shutil.copy(real, tmp_path / "log")
    table = lta.import_log(tmp_path / "log", "tracelab", tmp_path / "mine.parquet").arrow()
    claude = [row for row in table.to_pylist() if row["session_id"].startswith("claude:92ee5b8a")]
    assert len(table) == 19
    assert (claude[0]["input_tokens"], claude[0]["cached_tokens"], claude[0]["output_tokens"]) == (32272, 27217, 931)
