"""Replays against a real HTTP server on loopback, which is quick, slow or faulty."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

import llm_trace_archive as lta
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.replay.journal import read_journal
from llm_trace_archive.replay.plan import make_plan
from llm_trace_archive.replay.prompts import Prompts
from llm_trace_archive.replay.run import Options, finish_run, read_slos, run
from llm_trace_archive.workload.open import open_requests
from support.command import run_here
from support.programs import BIN, Samples
from support.token_server import token_server

pytest.importorskip("aiohttp")


@pytest.fixture
def few(samples: Samples) -> lta.Requests:
    """Twelve short requests within about a second, with prefix blocks."""
    found = open_requests(Archive(samples.root), "mooncake/conversation")
    return found.filter("output_tokens < 60 AND input_tokens < 20000").limit(12).scale(requests_per_s=15)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with token_server(first_s=0.02, gap_s=0.001) as served:
        yield served


def replay(requests: lta.Requests, output: Path, url: str, **options: Any) -> dict[str, Any]:
    return run(requests, Options(url, "m", **options), output, lambda line: None)


def seen(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/seen") as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


def test_the_result_is_a_workload_with_what_the_server_did(
    few: lta.Requests, url: str, tmp_path: Path, samples: Samples
) -> None:
    output, before = tmp_path / "run.parquet", len(seen(url))
    figures = replay(few, output, url, slo="ttft=10s,tpot=1s")
    assert (figures["requests"], figures["complete"], figures["good_share"]) == (12, 12, 1.0)
    assert figures["ttft_ms"]["p50"] > 20
    source = few.arrow()
    bodies = seen(url)[before:]
    assert sorted(each["max_tokens"] for each in bodies) == sorted(source["output_tokens"].to_pylist())
    assert all(each["min_tokens"] == each["max_tokens"] and each["ignore_eos"] for each in bodies)
    opened = open_requests(Archive(samples.root), str(output))
    rows = opened.arrow().sort_by("request_id")
    assert rows["request_id"].to_pylist() == source["request_id"].to_pylist()
    for name in ("input_tokens", "output_tokens", "hash_ids", "block_tokens"):
        assert rows[name].to_pylist() == source[name].to_pylist(), name  # the server counts words
    assert set(rows["cached_tokens"].to_pylist()) == {3}
    assert set(rows["failed"].to_pylist()) == {False}
    for row in rows.to_pylist():
        assert 20_000 <= row["ttft_us"] <= row["latency_us"]
        assert len(row["gaps_us"]) == row["output_tokens"] - 1 == row["output_events"] - 1
        assert row["drift_us"] == row["arrival_us"] - row["scheduled_us"] >= 0
    assert [row["scheduled_us"] for row in rows.to_pylist()] == make_plan(few).at_us.tolist()
    assert opened.profile().latency_us is not None
    checked = run_here("validate", output, cwd=samples.root)
    assert checked.returncode == 0, checked.stdout
    assert not list(tmp_path.glob("*.journal"))


def test_prompts_share_text_exactly_as_far_as_ids_agree(few: lta.Requests) -> None:
    plan = make_plan(few)
    prompts, again = Prompts(plan), Prompts(plan)
    texts = [prompts.text(at).split() for at in range(len(plan))]
    assert [len(each) for each in texts] == plan.inputs.tolist()
    assert texts == [again.text(at).split() for at in reversed(range(len(plan)))][::-1]
    ids, sizes = plan.rows["hash_ids"].to_pylist(), plan.rows["block_tokens"].to_pylist()
    for a in range(len(plan)):
        for b in range(a):
            shared = next((n for n, pair in enumerate(zip(ids[a], ids[b], strict=False)) if pair[0] != pair[1]), None)
            shared = min(len(ids[a]), len(ids[b])) if shared is None else shared
            same = next((n for n, pair in enumerate(zip(texts[a], texts[b], strict=False)) if pair[0] != pair[1]), None)
            limit = min(len(texts[a]), len(texts[b]))
            same = limit if same is None else same
            assert same >= min(shared * sizes[a], limit)
            assert same < (shared + 1) * sizes[a] or same == limit  # a word may be the same by chance


def test_prompts_have_exactly_the_tokens_of_a_tokenizer(few: lta.Requests, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    words = " ".join(["the server sends many short answers to every client and waits for more work " * 20])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>"]
    )
    tokenizer.train_from_iterator(
        [words + " lock book tree house river stone cloud bread light sound paper" * 9], trainer
    )
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    plan = make_plan(few)
    prompts = Prompts(plan, tmp_path / "tokenizer.json")
    for at in range(len(plan)):
        assert len(tokenizer.encode(prompts.text(at)).ids) == plan.inputs[at]
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(BadUse, match="is no tokenizer"):
        Prompts(plan, tmp_path / "none.json")


@pytest.mark.parametrize("endpoint", ["completions", "chat", "tgi"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_endpoints(few: lta.Requests, url: str, tmp_path: Path, endpoint: str, is_streamed: bool) -> None:
    figures = replay(
        few.limit(4), tmp_path / "r.parquet", url, endpoint=endpoint, is_streamed=is_streamed, extras=False
    )
    assert (figures["complete"], figures["reasons"]) == (4, {})
    assert not any("min_tokens" in each for each in seen(url)[-4:])
    rows = pq.read_table(tmp_path / "r.parquet")
    if is_streamed or endpoint == "completions":
        assert rows["output_tokens"].to_pylist() == rows["output_tokens_asked"].to_pylist()
    assert (rows["ttft_us"].null_count == 0) == is_streamed


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "429 Too Many Requests"),
        ("500", "500 Internal Server Error"),
        ("hang", "no complete answer within 1 s"),
        ("broken", "JSONDecodeError"),
        ("list", "AttributeError"),
        ("nested", "RecursionError"),
        ("cut", "Client"),
        ("error", "out of memory"),
    ],
)
def test_faults_are_counted_and_never_fatal(few: lta.Requests, tmp_path: Path, fault: str, reason: str) -> None:
    with token_server(fault=fault, at=(1, 3)) as url:
        figures = replay(few, tmp_path / "run.parquet", url, timeout=1.0 if fault == "hang" else 60)
    assert (figures["requests"], figures["failed"]) == (12, 2)
    assert all(reason in each for each in figures["reasons"])
    rows = pq.read_table(tmp_path / "run.parquet")
    failed = rows.filter(rows["failed"])
    assert len(failed) == 2
    assert failed["latency_us"].null_count == 2


def test_a_server_that_dies_and_one_that_never_was(few: lta.Requests, tmp_path: Path) -> None:
    with token_server() as url:
        pass
    figures = replay(few, tmp_path / "run.parquet", url)
    assert figures["failed"] == 12
    assert any("Cannot connect" in each for each in figures["reasons"])


def test_a_closed_loop_waits_for_the_answer_and_the_think_time(samples: Samples, tmp_path: Path) -> None:
    found = open_requests(Archive(samples.root), "qwen-bailian/chat")
    (session, _), *_ = found.fetch("SELECT session_id, count(*) n FROM rows GROUP BY 1 ORDER BY n DESC, 1 LIMIT 1")
    some = found.filter(f"session_id = '{session}' AND output_tokens < 2000").limit(3).scale(requests_per_s=10)
    with token_server(first_s=0.3) as url:
        replay(some, tmp_path / "run.parquet", url, closed=True)
    rows = pq.read_table(tmp_path / "run.parquet").sort_by("request_id").to_pylist()
    arrivals = some.arrow()["arrival_us"].to_pylist()
    assert len(rows) > 1
    for (before, after), (a, b) in zip(pairwise(rows), pairwise(arrivals), strict=True):
        wait = after["arrival_us"] - before["arrival_us"] - before["latency_us"]
        assert b - a <= wait <= b - a + 200_000
    with pytest.raises(BadUse, match="has no sessions"):
        make_plan(open_requests(Archive(samples.root), "azure-2023/code"), closed=True)


def test_the_cap_makes_requests_wait_and_counts_them(few: lta.Requests, tmp_path: Path) -> None:
    with token_server(first_s=0.1) as url:
        figures = replay(few.scale(50), tmp_path / "run.parquet", url, at_once=2)
    rows = pq.read_table(tmp_path / "run.parquet")
    spans = [(row["arrival_us"], row["arrival_us"] + row["latency_us"]) for row in rows.to_pylist()]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) == 2
    assert figures["waited_for_a_place"] >= 8
    assert rows["waited_us"].to_pylist().count(0) <= 4


def test_a_key_is_sent_in_a_header_and_kept_out_of_everything(few: lta.Requests, tmp_path: Path) -> None:
    with token_server(key="another") as url:
        ran = command(
            "azure-2023/code", "--limit", 2, "--url", url, out=tmp_path / "r.parquet", cwd=tmp_path, key="s3cret-s3cret"
        )
    assert "401 Unauthorized" in ran.stdout
    assert "s3cret" not in ran.stdout + ran.stderr
    assert b"s3cret" not in (tmp_path / "r.parquet").read_bytes()
    with token_server(key="s3cret-s3cret", fault="error", at=(0,)) as url:
        ran = command(
            "azure-2023/code", "--limit", 2, "--url", url, out=tmp_path / "e.parquet", cwd=tmp_path, key="s3cret-s3cret"
        )
    assert "out of memory for" in ran.stdout and "s3cret" not in ran.stdout + ran.stderr
    assert b"s3cret" not in (tmp_path / "e.parquet").read_bytes()


def test_a_count_that_no_answer_can_have_is_none(few: lta.Requests, tmp_path: Path) -> None:
    with token_server(fault="huge", at=(1,)) as url:
        assert replay(few, tmp_path / "run.parquet", url)["failed"] == 0


ARCHIVE: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _archive(samples: Samples) -> None:
    ARCHIVE["LLM_TRACES_ARCHIVE"] = str(samples.root)


def command(*arguments: object, out: Path, cwd: Path, key: str = "") -> subprocess.CompletedProcess[str]:
    words = [BIN / "llm-traces", "replay", *arguments, "--approximate", "-o", out]
    environment = os.environ | ARCHIVE | {"LLM_TRACES_API_KEY": key}
    return subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_what_was_recorded(few: lta.Requests, tmp_path: Path, stop: int) -> None:
    output = tmp_path / "run.parquet"
    with token_server() as url:
        words = ["replay", "mooncake/conversation", "--url", url, "--rate", "20", "--limit", "400", "--approximate"]
        started = [BIN / "llm-traces", *words, "-o", output]
        process = subprocess.Popen(started, env=os.environ | ARCHIVE, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        journal = tmp_path / "run.parquet.journal"
        while not (journal.exists() and len(read_some(journal)) > 5):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(stop)
        said, _ = process.communicate(timeout=20)
    if stop == signal.SIGKILL:
        assert not output.exists()
        again = command(*words[1:-1], out=output, cwd=tmp_path)
        assert again.returncode == 2
        assert "--finish" in again.stderr
        said = command(*words[1:-1], "--finish", out=output, cwd=tmp_path).stdout
    assert not journal.exists()
    rows = pq.read_table(output)
    assert 5 < len(rows) < 400
    assert f"{len(rows):,} requests; next: llm-traces profile" in said


def read_some(journal: Path) -> Any:
    try:
        return read_journal(journal)[0]
    except BadUse:
        return []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["azure-2023/code", "--url", "localhost:1"], "'localhost:1' is no URL"),
        (["azure-2023/code"], "--url: is missing"),
        (["azure-2023/code", "--url", "http://localhost:1", "--endpoint", "x"], "there_are|completions"),
        (["azure-2023/code", "--url", "http://localhost:1", "--slo", "x=1"], "'x=1' is no limit"),
        (["kavier/prefill", "--url", "http://localhost:1"], "without an arrival"),
        (["azure-2023/code", "--finish"], "is no journal of a replay"),
    ],
)
def test_wrong_use_is_one_message(samples: Samples, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run_here(
        "replay",
        *arguments,
        "--approximate",
        "-o",
        tmp_path / "r.parquet",
        cwd=tmp_path,
        LLM_TRACES_ARCHIVE=str(samples.root),
    )
    assert done.returncode == 2
    assert any(each in done.stderr for each in message.split("|"))
    assert list(tmp_path.iterdir()) == []


def test_limits_of_goodput() -> None:
    assert read_slos("ttft=200ms,tpot=50ms,latency=10s") == {"ttft": 200_000, "tpot": 50_000, "latency": 10_000_000}


def test_a_journal_of_another_run_is_refused(few: lta.Requests, url: str, tmp_path: Path) -> None:
    output = tmp_path / "run.parquet"
    code = "import sys, os; from llm_trace_archive.replay.journal import Journal, Outcome; from pathlib import Path\n"
    code += "j = Journal(Path(sys.argv[1]), {'plan': 5}); j.add(Outcome(0, 0, 1)); j.flush(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, f"{output}.journal"], check=False)
    with pytest.raises(BadUse, match="is of another run"):
        finish_run(few, Options("", ""), output, print)
