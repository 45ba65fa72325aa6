"""Tools that can't be installed here, by strict restatements of their rules in tests/support/restated."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import llm_trace_archive as lta
from support.restated import aibrix, blis, opendc, sglang, splitwise_sim, trace_replayer, vidur, vllm
from support.restated.understood import Understood
from support.tables import MakeRequests, requests_in

S = 1_000_000
SIZES = (16, 64, 512)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeRequests:
    return requests_in(tmp_path_factory.mktemp("tables"))


def workload(make: MakeRequests, block: int, rows: int = 120) -> lta.Requests:
    """Requests of prompts that share their beginnings, partial last blocks, failures, and odd times."""
    draw = random.Random(block)
    at, prompts, tokens = 0, [], []
    for _ in range(rows):
        ids = [draw.randrange(2) + 10 * depth for depth in range(draw.randrange(1, 6))]
        prompts.append(ids)
        tokens.append(len(ids) * block - draw.choice([0, 0, 1, block // 2, block - 1]))
    times = [at := at + draw.choice([0, 1, 999, S, 7 * S]) for _ in range(rows)]
    failed = [draw.random() < 0.1 for _ in range(rows)]
    return make(
        arrival_us=[5 * S + each for each in times],
        input_tokens=tokens,
        output_tokens=[0 if bad else draw.randrange(1, 50) for bad in failed],
        latency_us=[draw.randrange(1, 10**7) for _ in range(rows)],
        failed=failed,
        hash_ids=prompts,
        block_tokens=[block] * rows,
    )


def rows_of(table: lta.Requests) -> list[tuple[float, int, int, list[int]]]:
    rows = table.fetch(
        "SELECT arrival_us, input_tokens, output_tokens, hash_ids FROM rows WHERE NOT failed ORDER BY request_id"
    )
    return [((us - rows[0][0]) / 1e6, tokens, answer, ids) for us, tokens, answer, ids in rows]


def check(table: lta.Requests, found: Understood, precision: float | None, tokens: bool = True) -> None:
    expected = rows_of(table)
    assert len(found.times) == len(expected), "rows were lost"
    assert found.outputs == [answer for _, _, answer, _ in expected]
    if tokens:
        assert found.inputs == [tokens for _, tokens, _, _ in expected]
    if precision is not None:
        assert found.times == pytest.approx([time for time, _, _, _ in expected], abs=precision)


def shared(one: Sequence[object], two: Sequence[object]) -> int:
    """How many items two lists share from the front."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


def check_sharing(table: lta.Requests, found: Understood, size: int, own: int) -> None:
    """Two prompts share as many blocks as they share in the table."""
    rows = rows_of(table)
    for (a, one), (b, two) in itertools.combinations(enumerate(found.prompts), 2):
        same, ids = shared(one, two), shared(rows[a][3], rows[b][3])
        common = min(ids * own, rows[a][1], rows[b][1])
        least = common // size
        assert least <= same <= least + (common % size > 0), (rows[a], rows[b], one, two)


@pytest.mark.parametrize("block", SIZES)
def test_vllm(make: MakeRequests, tmp_path: Path, block: int) -> None:
    table = workload(make, block)
    table.export("vllm-timed-trace", tmp_path / "a.jsonl")
    found = vllm.read_timed_trace(tmp_path / "a.jsonl", block)
    check(table, found, 1e-6)
    check_sharing(table, found, block, block)
    table.export("vllm-burstgpt", tmp_path / "a.csv")
    check(table, vllm.read_burstgpt(tmp_path / "a.csv"), None)


@pytest.mark.parametrize("block", SIZES)
def test_trace_replayer(make: MakeRequests, tmp_path: Path, block: int) -> None:
    table = workload(make, block)
    table.export("trace-replayer", tmp_path / "a.jsonl")
    found = trace_replayer.read(tmp_path / "a.jsonl")
    check(table, found, 1e-6)
    check_sharing(table, found, 16, block)


@pytest.mark.parametrize("block", SIZES)
def test_aibrix(make: MakeRequests, tmp_path: Path, block: int) -> None:
    table = workload(make, block)
    done = table.export("aibrix", tmp_path / "a.jsonl")
    found = aibrix.read(tmp_path / "a.jsonl", int(done.command.split("--duration-ms ")[1].split()[0]))
    check(table, found, 0.000501)
    check_sharing(table, found, 512, block)


@pytest.mark.parametrize(
    ("dialect", "ending", "read", "precision"),
    [
        ("vidur", "csv", lambda path: vidur.read(path, 10_000), 1e-6),
        ("splitwise-sim", "csv", splitwise_sim.read, 1e-6),
        ("blis", "csv", lambda path: blis.read(path.with_suffix(".yaml"), path), 0),
    ],
)
def test_simulators(
    make: MakeRequests, tmp_path: Path, dialect: str, ending: str, read: Callable[[Path], Understood], precision: float
) -> None:
    table = workload(make, 16)
    table.export(dialect, tmp_path / f"a.{ending}")
    check(table, read(tmp_path / f"a.{ending}"), precision or 1e-9)


def test_sglang_gets_sharing_and_times_but_prompts_of_its_own_length(make: MakeRequests, tmp_path: Path) -> None:
    table = workload(make, 64)
    table.export("sglang-mooncake", tmp_path / "a.jsonl")
    found = sglang.read(tmp_path / "a.jsonl")
    check(table, found, 0.000501, tokens=False)
    check_sharing(table, found, 64, 64)
    assert "prompts of its own length" in (tmp_path / "a.jsonl.readme.txt").read_text()


def test_opendc(make: MakeRequests, tmp_path: Path) -> None:
    table = workload(make, 16)
    table.export("opendc", tmp_path / "folder")
    rows = table.fetch("SELECT request_id, arrival_us, latency_us FROM rows WHERE NOT failed ORDER BY request_id")
    expected = [(one, (us - rows[0][1]) // 1000, max(1, round(latency / 1000))) for one, us, latency in rows]
    found = opendc.read(tmp_path / "folder")
    assert [each[0] for each in found] == [each[0] for each in expected]
    assert all(abs(a - b) <= 1 for one, two in zip(found, expected, strict=True) for a, b in zip(one, two, strict=True))
