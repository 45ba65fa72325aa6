"""Sessions: their context is counted once, whoever puts a prompt together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import llm_trace_archive as lta
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.export.run import export
from support.tables import MakeRequests, requests_in

S = 1_000_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeRequests:
    return requests_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def sessions(make: MakeRequests) -> lta.Requests:
    """One session that grows, is compacted, and goes on; one whose prompt changes; a request without a session."""
    return make(
        session_id=["a", "b", "a", None, "b", "a", "a"],
        arrival_us=[0, S, 10 * S, 11 * S, 12 * S, 20 * S, 30 * S],
        latency_us=[4 * S, None, S, None, S, 2 * S, S],
        input_tokens=[32, 40, 70, 5, 100, 20, 60],
        output_tokens=[10, 10, 10, 10, 10, 10, 10],
        hash_ids=[[1, 2], [7, 8, 9], [1, 2, 3, 4, 5], [6], [7, 50, 51, 52, 53, 54, 55], [30, 31], [30, 32, 33, 34]],
    )


def replayed(path: Path, block: int) -> tuple[list[int], dict[str, list[dict[str, Any]]]]:
    """The whole prompts, as Dynamo puts them together, in the order of the file, and the rows of each session."""
    context: dict[str, int] = {}
    prompts, rows = [], {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert row["input_length"] > 0 and len(row["hash_ids"]) * block >= row["input_length"]
        name = row.get("session_id")
        assert ("timestamp" in row) != ("delay" in row)
        assert ("delay" in row) == (name in context)
        prompts.append(context.get(name, 0) + row["input_length"] if name else row["input_length"])
        if name:
            context[name] = prompts[-1] + row["output_length"]
            rows.setdefault(name, []).append(row)
    return prompts, rows


def test_dynamo_gets_what_each_turn_adds_and_a_new_session_where_it_does_not_go_on(
    sessions: lta.Requests, tmp_path: Path
) -> None:
    done = sessions.export("dynamo-delta", tmp_path / "a.jsonl")
    prompts, rows = replayed(tmp_path / "a.jsonl", 16)
    assert prompts == [32, 40, 70, 5, 100, 20, 60], "the prompts of the table"
    assert sorted(rows) == ["a", "a#2", "b", "b#2"]
    assert [each.get("delay") for each in rows["a"]] == [None, 6000], "after the answer, which took 4 s"
    assert rows["a"][1]["hash_ids"] == [4, 5], "28 new tokens"
    assert [each.get("timestamp") for each in rows["a#2"]] == [20_000, None]
    assert any("2 turns do not continue" in each for each in done.changes)


@pytest.mark.parametrize("block", [32, 64])
def test_deltas_of_blocks_that_are_put_together_give_the_same_prompts(
    sessions: lta.Requests, tmp_path: Path, block: int
) -> None:
    sessions.export("dynamo-delta", tmp_path / "a.jsonl", block_size=block)
    assert replayed(tmp_path / "a.jsonl", block)[0] == [32, 40, 70, 5, 100, 20, 60]


def test_without_ids_no_turn_shares_the_prompt_before(make: MakeRequests, tmp_path: Path) -> None:
    table = make(session_id=["a", "a"], arrival_us=[0, S], input_tokens=[5, 90], output_tokens=[1, 1])
    done = table.export("dynamo-delta", tmp_path / "a.jsonl", mint_unique_blocks=True)
    assert sorted(replayed(tmp_path / "a.jsonl", 512)[1]) == ["a", "a#2"]
    assert any("1 turns do not continue" in each for each in done.changes)


def conversations(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_conversations_have_whole_prompts_on_a_clock_of_their_own(sessions: lta.Requests, tmp_path: Path) -> None:
    sessions.export("aiperf-weka", tmp_path / "a.jsonl")
    found = conversations(tmp_path / "a.jsonl")
    assert [each["id"] for each in found] == ["a", "b", "request-3"]
    first = found[0]
    assert set(first) == {"id", "models", "block_size", "hash_id_scope", "requests"}
    assert (first["block_size"], first["hash_id_scope"], first["models"]) == (16, "local", ["unknown"])
    assert [(each["t"], each["in"], each["out"]) for each in first["requests"]] == [
        (0.0, 32, 10), (10.0, 70, 10), (20.0, 20, 10), (30.0, 60, 10)
    ]  # fmt: skip
    assert [each.get("api_time") for each in found[1]["requests"]] == [None, 1.0]
    assert found[1]["requests"][0]["t"] == 0

    sessions.export("aiperf-weka", tmp_path / "folder")
    files = sorted((tmp_path / "folder").iterdir())
    assert [json.loads(each.read_text()) for each in files] == found
    manifest = json.loads((tmp_path / "aiperf.json").read_text())
    assert manifest == {"path": "folder", "format": "weka_trace"}
    with pytest.raises(BadUse, match="has several files"):
        export(sessions, "aiperf-weka", None)


def test_conversations_need_times(make: MakeRequests, tmp_path: Path) -> None:
    table = make(session_id=["a"], input_tokens=[1], output_tokens=[1])
    with pytest.raises(BadUse, match=r"has no times for aiperf-weka(.|\n)*--arrivals poisson"):
        table.export("aiperf-weka", tmp_path / "a.jsonl")
    assert not list(tmp_path.iterdir())
    table.export("aiperf-weka", tmp_path / "a.jsonl", arrivals="poisson:1")


@pytest.mark.parametrize("dialect", ["aiperf-mooncake", "aiperf-bailian", "blis"])
def test_tools_that_add_up_turns_get_every_request_by_itself(
    sessions: lta.Requests, tmp_path: Path, dialect: str
) -> None:
    name = "a.csv" if dialect == "blis" else "a.jsonl"
    sessions.export(dialect, tmp_path / name)
    text = (tmp_path / name).read_text()
    if dialect == "aiperf-bailian":
        rows = [json.loads(line) for line in text.splitlines()]
        assert {(each["parent_chat_id"], each["turn"]) for each in rows} == {(-1, 1)}
        assert len({each["chat_id"] for each in rows}) == len(rows)
    elif dialect == "aiperf-mooncake":
        assert "session_id" not in text
    else:
        assert {line.split(",")[4] for line in text.splitlines()[1:]} == {""}
