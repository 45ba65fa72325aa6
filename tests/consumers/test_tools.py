"""The tools judge: their own parsers read every row of what is exported for them, and count the table's tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace_archive as lta
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.export.run import Exported
from llm_trace_archive.workload.open import open_requests
from support.programs import Samples
from support.tools import read_with

pytestmark = pytest.mark.tools
# With blocks of 512 and 16 tokens, blocks of whole 64 tokens and sub-agents, no blocks, and failures.
MOONCAKE, QWEN, WEKA, AZURE, BURST = (
    "mooncake/conversation", "qwen-bailian/chat", "weka-claude-code/requests", "azure-2023/code", "burstgpt/3"
)  # fmt: skip
TIMED = [MOONCAKE, QWEN, AZURE, BURST]
BLOCKS = [(MOONCAKE, 512), (QWEN, 16), (WEKA, 64)]


class Tables:
    """Tables of look-alikes."""

    def __init__(self, samples: Samples) -> None:
        self._archive = Archive(samples.root)

    def __getitem__(self, name: str) -> lta.Requests:
        return open_requests(self._archive, name)


@pytest.fixture(scope="session")
def tables(samples: Samples) -> Tables:
    return Tables(samples)


@pytest.fixture
def wishes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a table without arrivals needs."""
    return {"arrivals": "poisson:0.2,3"} if request.node.callspec.params["name"] == WEKA else {}


def sums(table: lta.Requests, keep: str = "output_tokens > 0 AND input_tokens > 0") -> tuple[int, int, int]:
    """Rows and tokens by a SELECT of its own."""
    ((rows, input_tokens, output_tokens),) = table.fetch(
        f"SELECT count(*), sum(input_tokens), sum(output_tokens) FROM rows WHERE NOT coalesce(failed, false) AND {keep}"
    )
    return rows, int(input_tokens), int(output_tokens)


def times(table: lta.Requests) -> list[float]:
    rows = table.fetch(
        "SELECT arrival_us FROM rows WHERE NOT coalesce(failed, false) AND output_tokens > 0 AND input_tokens > 0"
        " ORDER BY arrival_us"
    )
    return [(us - rows[0][0]) / 1e6 for (us,) in rows]


def agree(found: dict[str, Any], done: Exported, expected: tuple[int, int, int]) -> None:
    assert (found["rows"], found["input"], found["output"]) == expected
    assert (done.rows, done.input_tokens, done.output_tokens) == expected


@pytest.mark.parametrize("name", [*TIMED, WEKA])
def test_aiperf_reads_mooncake(tables: Tables, tmp_path: Path, name: str, wishes: dict[str, Any]) -> None:
    done = tables[name].export("aiperf-mooncake", tmp_path / "a.jsonl.gz", **wishes)
    found = read_with("aiperf", "mooncake", tmp_path / "a.jsonl.gz", dict(BLOCKS).get(name, 512))
    agree(found, done, sums(tables[name]))
    if not wishes:
        assert found["times"] == pytest.approx(times(tables[name]), abs=0.0005001)


@pytest.mark.parametrize("name", [*TIMED, WEKA])
def test_aiperf_reads_bailian(tables: Tables, tmp_path: Path, name: str, wishes: dict[str, Any]) -> None:
    done = tables[name].export("aiperf-bailian", tmp_path / "a.jsonl", **wishes)
    found = read_with("aiperf", "bailian", tmp_path / "a.jsonl", 16)
    agree(found, done, sums(tables[name]))
    assert found["sessions"] == found["rows"], "the context of a session would be added up"


@pytest.mark.parametrize("name", TIMED)
def test_aiperf_reads_burstgpt(tables: Tables, tmp_path: Path, name: str) -> None:
    done = tables[name].export("aiperf-burstgpt", tmp_path / "a.csv")
    found = read_with("aiperf", "burstgpt", tmp_path / "a.csv", 512)
    agree(found, done, sums(tables[name], "input_tokens > 0"))
    assert found["times"] == pytest.approx(times(tables[name]), abs=1e-5)


@pytest.mark.parametrize("name", [QWEN, WEKA, BURST])
def test_conversations_are_read_by_aiperf_guidellm_and_dynamo(tables: Tables, tmp_path: Path, name: str) -> None:
    table = tables[name]
    block = dict(BLOCKS).get(name, 64)
    done = table.export("aiperf-weka", tmp_path / "folder")
    expected = sums(table, "input_tokens > 0")
    agree(read_with("aiperf", "weka", tmp_path / "folder", block), done, expected)
    if name != BURST:  # without blocks, no GuideLLM and no Dynamo
        table.export("aiperf-weka", tmp_path / "a.jsonl")
        agree(read_with("dynamo", "weka", tmp_path / "a.jsonl", block), done, expected)
    if name == QWEN:
        agree(read_with("guidellm", "weka", tmp_path / "a.jsonl", block), done, expected)


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_dynamo_replays_requests(tables: Tables, tmp_path: Path, name: str, block: int, wishes: dict[str, Any]) -> None:
    done = tables[name].export("dynamo", tmp_path / "a.jsonl", **wishes)
    agree(read_with("dynamo", "mooncake", tmp_path / "a.jsonl", block), done, sums(tables[name]))


@pytest.mark.parametrize(("name", "block"), [(QWEN, 16), (WEKA, 64), (WEKA, 128)])
def test_dynamo_replays_what_each_turn_adds(
    tables: Tables, tmp_path: Path, name: str, block: int, wishes: dict[str, Any]
) -> None:
    done = tables[name].export("dynamo-delta", tmp_path / "a.jsonl", block_size=block, **wishes)
    agree(read_with("dynamo", "mooncake-delta", tmp_path / "a.jsonl", block), done, sums(tables[name]))
    assert '"delay"' in (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize("name", [QWEN, AZURE])
def test_guidellm_makes_the_prompts(tables: Tables, tmp_path: Path, name: str) -> None:
    done = tables[name].export("guidellm", tmp_path / "a.jsonl")
    kind = "mooncake" if name == QWEN else "trace_synthetic"
    found = read_with("guidellm", kind, tmp_path / "a.jsonl", 16)
    agree(found, done, sums(tables[name]))
    assert found["prompts"] == done.input_tokens
    assert found["times"] == pytest.approx(times(tables[name]), abs=1e-5)


@pytest.mark.parametrize("name", TIMED)
def test_inference_perf_reads_azures_columns(tables: Tables, tmp_path: Path, name: str) -> None:
    done = tables[name].export("inference-perf", tmp_path / "a.csv")
    found = read_with("inference_perf", tmp_path / "a.csv")
    agree(found, done, sums(tables[name]))
    assert found["times"] == pytest.approx(times(tables[name]), abs=1e-5)


@pytest.mark.parametrize("name", TIMED)
def test_vidur_reads_the_columns_of_its_package(tables: Tables, tmp_path: Path, name: str) -> None:
    done = tables[name].export("vidur", tmp_path / "a.csv")
    longest = done.command.split("max_tokens ")[1].split()[0]
    found = read_with("vidur", tmp_path / "a.csv", longest)
    agree(found, done, sums(tables[name]))
    assert found["times"] == pytest.approx(times(tables[name]), abs=1e-5)


@pytest.mark.parametrize("name", [QWEN, WEKA, AZURE])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_kavier_reads_lengths(tables: Tables, tmp_path: Path, name: str, ending: str) -> None:
    done = tables[name].export("kavier", tmp_path / f"a.{ending}")
    found = read_with("kavier", tmp_path / f"a.{ending}")
    agree(found, done, sums(tables[name]))
    ((sessions,),) = tables[name].fetch("SELECT count(DISTINCT session_id) FROM rows")
    assert found["sessions"] == sessions


def test_opendcs_tables_have_the_columns_that_kavier_writes(tables: Tables, tmp_path: Path) -> None:
    done = tables[BURST].export("opendc", tmp_path / "folder")
    assert read_with("kavier", tmp_path / "folder") == {"tasks": done.rows, "fragments": done.rows}


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_kvcache_simulator_and_libcachesim_see_the_same_blocks(
    tables: Tables, tmp_path: Path, name: str, block: int, wishes: dict[str, Any]
) -> None:
    table = tables[name]
    done = table.export("kvcache-simulator", tmp_path / "a.jsonl.gz", **wishes)
    found = read_with("kvcache", tmp_path / "a.jsonl.gz")
    rows, input_tokens, _ = sums(table)
    assert (found["rows"], found["input"], found["block"]) == (rows, input_tokens, block)
    assert (done.rows, done.input_tokens) == (rows, input_tokens)
    table.export("libcachesim", tmp_path / "a.csv", **wishes)
    assert read_with("libcachesim", tmp_path / "a.csv") == {each: found[each] for each in ("blocks", "distinct")}
