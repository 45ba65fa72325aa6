"""Saved workloads: their bytes, what they say of themselves, and their checks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_trace_archive as lta
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.workload.notes import notes
from llm_trace_archive.workload.records import database
from llm_trace_archive.workload.save import apply_chain, check_saved
from support.tables import ARCHIVE, MakeRequests, requests_in

S = 1_000_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeRequests:
    return requests_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lta.ShapeWarning)
        yield


@pytest.fixture
def shaped(make: MakeRequests) -> lta.Requests:
    """A chain of many steps on two workloads."""
    times = [at * S // 3 for at in range(400)]
    first = make(
        arrival_us=times,
        input_tokens=[at % 90 for at in range(400)],
        session_id=[f"s{at % 40}" for at in range(400)],
        hash_ids=[[0, at % 25, at] for at in range(400)],
    )
    second = make("mooncake/conversation", arrival_us=times, hash_ids=[[0, at % 9] for at in range(400)])
    left = first.filter("input_tokens > 3").scale(2, sessions="keep").thin(0.5, by="prefix", seed=7)
    return left.merge(second.window("10s", "1min").rebase()).repeat("3min")


def test_a_saved_workload_opens_as_it_was_saved(shaped: lta.Requests, tmp_path: Path) -> None:
    shaped.save(tmp_path / "mine.parquet")
    opened = lta.open(str(tmp_path / "mine.parquet"))
    assert isinstance(opened, lta.Requests)
    assert opened.arrow().equals(shaped.arrow())
    assert opened.chain == shaped.chain
    assert [each.workload for each in opened.source.origins] == ["burstgpt/1", "mooncake/conversation"]
    assert opened.citation == shaped.citation
    assert "BurstGPT" in opened.citation and "Mooncake" in opened.citation
    assert opened.licence == "CC-BY-4.0; Apache-2.0"
    again = opened.limit(5)
    again.save(tmp_path / "fewer.parquet")
    assert lta.open(str(tmp_path / "fewer.parquet")).chain == f"{shaped.chain}.limit(5)"


def test_the_same_chain_gives_the_same_bytes_whatever_the_threads(shaped: lta.Requests, tmp_path: Path) -> None:
    digests = set()
    for threads in (1, 4, 4):
        database().execute(f"SET threads = {threads}")
        shaped.save(tmp_path / "mine.parquet")
        digests.add(hash_file(tmp_path / "mine.parquet"))
    database().execute("RESET threads")
    assert len(digests) == 1


STEPS = st.one_of(
    st.tuples(st.just("filter"), st.sampled_from([("input_tokens > 20",), ("session_id <> 's3' OR failed",)])),
    st.tuples(st.just("window"), st.tuples(st.integers(0, 40), st.integers(41, 200))),
    st.tuples(st.just("limit"), st.tuples(st.integers(1, 300))),
    st.tuples(st.just("max_context"), st.tuples(st.integers(20, 120), st.sampled_from(["drop", "clip"]))),
    st.tuples(
        st.just("thin"),
        st.tuples(
            st.sampled_from([0.2, 0.5, 0.8, 1]), st.sampled_from(["session", "prefix", "request"]), st.integers(0, 9)
        ),
    ),
    st.tuples(st.just("scale"), st.tuples(st.floats(0.1, 10))),
    st.just(("rebase", ())),
    st.tuples(st.just("shift"), st.tuples(st.sampled_from(["1h", 3, "250ms"]))),
    st.tuples(st.just("repeat"), st.tuples(st.sampled_from(["3min", "5min"]))),
)


@settings(max_examples=10)
@given(steps=st.lists(STEPS, min_size=1, max_size=4), merged=st.booleans())
def test_any_chain_gives_the_same_bytes_again(
    make: MakeRequests, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]], merged: bool
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    tables = {
        name: make(
            name,
            arrival_us=[at * S // 3 for at in range(300)],
            input_tokens=[at * 7 % 90 for at in range(300)],
            output_tokens=[at * 5 % 40 for at in range(300)],
            session_id=[f"s{at * at % 37}" for at in range(300)],
            hash_ids=[[0, at % 25, at] for at in range(300)],
        )
        for name in ("burstgpt/1", "azure-2023/code")
    }
    shaped = tables["burstgpt/1"]
    with contextlib.suppress(BadUse):  # such as a window in which nothing is left
        for name, arguments in steps:
            shaped = getattr(shaped, name)(*arguments)
        shaped = shaped.merge(tables["azure-2023/code"]) if merged else shaped
    database().execute("SET threads = 1")
    shaped.save(folder / "mine.parquet")
    database().execute("SET threads = 4")
    results = list(check_saved(ARCHIVE, folder / "mine.parquet", tables.__getitem__))
    database().execute("RESET threads")
    assert [result for result in results if not result.holds] == []
    assert results[-1].name == "rebuilt from its sources"


def test_a_file_says_where_it_comes_from_and_how(shaped: lta.Requests, tmp_path: Path) -> None:
    shaped.save(tmp_path / "mine.parquet")
    said = {key.decode(): text.decode() for key, text in pq.read_metadata(tmp_path / "mine.parquet").metadata.items()}
    told = json.loads(said["shaped"])
    assert told["chain"].startswith(
        "open('burstgpt/1').filter('input_tokens > 3').scale(rate=2, sessions='keep').thin("
    )
    assert "seed=7, depth=2" in told["chain"]
    assert told["origins"][0]["recipe"] == ARCHIVE.recipe("burstgpt").workload("1").digest
    assert set(told["versions"]) == {"llm-trace-archive", "duckdb", "pyarrow"}
    assert "epoch" not in said


def test_arrivals_keep_their_date_until_they_are_moved(make: MakeRequests, tmp_path: Path) -> None:
    table = make("azure-2023/code", arrival_us=[0, 60 * S, 120 * S])
    for shaped, epoch in ((table.limit(3), "2023-11-16T00:00:00"), (table.rebase(), None)):
        shaped.save(tmp_path / "mine.parquet")
        assert lta.open(str(tmp_path / "mine.parquet")).source.epoch == epoch
    table.limit(3).save(tmp_path / "mine.parquet")
    opened = lta.open(str(tmp_path / "mine.parquet"))
    assert isinstance(opened, lta.Requests)
    assert opened.window("2023-11-16 00:01", duration="1s").arrow().num_rows == 1


def test_a_saved_workload_is_checked(shaped: lta.Requests, tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    shaped.save(path)
    results = list(check_saved(ARCHIVE, path))
    assert all(result.holds for result in results)
    assert {result.check for result in results} >= {"integrity", "schema", "keys"}


@pytest.mark.parametrize(
    ("column", "value", "finding"),
    [("request_id", 3, "repeat a key"), ("input_tokens", -1, "rows whose input_tokens is not at least 0")],
)
def test_wrong_rows_are_found(shaped: lta.Requests, tmp_path: Path, column: str, value: int, finding: str) -> None:
    path = tmp_path / "mine.parquet"
    shaped.save(path)
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    values[7] = value
    at = table.schema.get_field_index(column)
    said = pq.read_metadata(path).metadata
    wrong = table.set_column(at, table.schema.field(at), [values]).replace_schema_metadata({"shaped": said[b"shaped"]})
    pq.write_table(wrong, path)
    assert [result.name for result in check_saved(ARCHIVE, path) if not result.holds and finding in result.name]


def test_damage_is_found(shaped: lta.Requests, tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    shaped.save(path)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert not all(result.holds for result in check_saved(ARCHIVE, path))


def test_a_saved_workload_is_rebuilt_from_its_sources(make: MakeRequests, tmp_path: Path) -> None:
    times = [at * S for at in range(100)]
    tables = {
        "burstgpt/1": make(arrival_us=times, failed=[at % 7 == 0 for at in range(100)]),
        "azure-2023/code": make("azure-2023/code", arrival_us=times),
    }
    shaped = tables["burstgpt/1"].view("succeeded").limit(50).merge(tables["azure-2023/code"].window(5, 9).rebase())
    shaped = shaped.shift("1h").scale(requests_per_s=1.5)
    path = tmp_path / "mine.parquet"
    shaped.save(path)
    assert all(result.holds for result in check_saved(ARCHIVE, path, tables.__getitem__))
    tables["azure-2023/code"] = make("azure-2023/code", arrival_us=[2 * each for each in times])
    findings = [result.name for result in check_saved(ARCHIVE, path, tables.__getitem__) if not result.holds]
    assert findings == ["rebuilt from its sources"]


@pytest.mark.parametrize(
    "chain", ["open('a').arrow()", "open('a').filter(__import__('os'))", "exec('1')", "open(", "open('a').merge(7)"]
)
def test_nothing_but_steps_is_applied(make: MakeRequests, chain: str) -> None:
    with pytest.raises(BadUse, match="is not a chain of steps"):
        apply_chain(chain, lambda name: make(arrival_us=[0]))


def test_another_file_is_no_saved_workload(make: MakeRequests, tmp_path: Path) -> None:
    pq.write_table(make(arrival_us=[0]).arrow(), tmp_path / "other.parquet")
    with pytest.raises(BadUse, match="is not a workload that was saved"):
        lta.open(str(tmp_path / "other.parquet"))
    (tmp_path / "text.parquet").write_text("PAR1 no")
    with pytest.raises(BadUse, match="is not a workload that was saved"):
        lta.open(str(tmp_path / "text.parquet"))


def test_nothing_is_half_written(shaped: lta.Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.parquet"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("llm_trace_archive.convert.parquet.ParquetSink.write", full)
    with pytest.raises(BadUse, match="can't be written: No space left"):
        shaped.save(path)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["mine.parquet"]


def test_what_spoils_a_benchmark_is_noted(make: MakeRequests, tmp_path: Path) -> None:
    table = make(
        arrival_us=[0, 0, 0, 3 * S, 3 * S, 6 * S],
        failed=[True, False, None, None, None, None],
        input_tokens=[0, 0, 5, 5, None, 5],
        output_tokens=[1, 0, 1, 1, 1, 1],
    )
    assert notes(table) == [
        "1 of 6 requests failed; filter('NOT failed') leaves them out",
        "2 of 6 requests have 0 input_tokens; filter('input_tokens > 0') leaves them out",
        "1 of 6 requests have 0 output_tokens; filter('output_tokens > 0') leaves them out",
        "3 of 6 requests arrive at the very time of another: arrivals come in steps of 3s",
    ]
    assert notes(make("azure-2023/code", arrival_us=[1, 2, 3])) == []
    assert notes(make("kavier/prefill", input_tokens=[1]))[0] == "kavier/prefill: requests have no arrivals"
    assert notes(make("marconi/lmsys", arrival_us=[1]))[0] == "marconi/lmsys: arrivals are synthetic"
    assert any("may not be redistributed" in note for note in notes(make("lmsys-chat-1m/requests", input_tokens=[1])))
    with pytest.warns(lta.ShapeWarning, match="1 of 6 requests failed"):
        table.save(tmp_path / "mine.parquet")


def test_hit_ratios_of_a_table(make: MakeRequests) -> None:
    table = make(hash_ids=[[1], [1], [1], [1]], model=["a", "b", "a", "b"], arrival_us=[0, 1, 2, 3])
    found = table.hit_ratio(share=1)
    assert found and found.unlimited == 0.75
    by_model = table.hit_ratio(by="model", gib=1, model="llama-3-8b")
    assert by_model and by_model.unlimited == 0.5
    assert set(by_model.parts) == {"a", "b"}
    assert make(arrival_us=[0]).hit_ratio() is None
    with pytest.raises(BadUse, match="there is no column user"):
        table.hit_ratio(by="user")
    # Merged tables share one cache and no ids.
    merged = table.merge(make("mooncake/conversation", hash_ids=[[1]], arrival_us=[1])).hit_ratio(blocks=1)
    assert merged and not merged.parts and merged.unlimited == 3 / 5


def test_merged_workloads_share_a_clock_in_every_figure(make: MakeRequests, tmp_path: Path) -> None:
    first = make("azure-2023/code", arrival_us=[10 * S, 20 * S, 30 * S])
    second = make("azure-2023/conversation", arrival_us=[12 * S, 22 * S, 28 * S])
    merged = first.merge(second)
    merged.save(tmp_path / "mine.parquet")
    for table in (merged, lta.open(str(tmp_path / "mine.parquet"))):
        assert isinstance(table, lta.Requests)
        arrivals = table.profile().arrivals
        assert arrivals and arrivals.seconds == 20
        assert not table.profile().segments
        assert table.rate("10s").arrow().column("requests").to_pylist() == [2, 3, 1]
    # The date is gone once arrivals are moved.
    start = first.profile().arrivals
    assert start and start.start == "2023-11-16T00:00:10"
    moved = first.rebase().profile().arrivals
    assert moved and moved.start is None
