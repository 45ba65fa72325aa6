"""Which requests a tool gets: left out, rebased, ordered, counted, refused."""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import llm_trace_archive as lta
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.export.blocks import Folding, Regrouping
from llm_trace_archive.export.page import bring_up_to_date, list_text
from llm_trace_archive.export.registry import all_dialects
from llm_trace_archive.workload.records import database
from support.programs import ROOT
from support.tables import MakeRequests, requests_in
from support.tmpfs import run_on_tmpfs

S = 1_000_000


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeRequests:
    return requests_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def timed(make: MakeRequests) -> lta.Requests:
    """Five requests with blocks of 16; the last block is partial, whole, or has no id."""
    return make(
        arrival_us=[7 * S, 7 * S + 1500, 8 * S, 9 * S, 10 * S],
        input_tokens=[40, 32, 33, 5, 20],
        output_tokens=[1, 2, 3, 4, 5],
        hash_ids=[[1, 2, 3], [1, 2], [1, 2], None, [9, 8]],
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- times and order ---------------------------------------------------------------------------------------------------


def test_times_count_from_the_first_request_that_stays(timed: lta.Requests, tmp_path: Path) -> None:
    done = timed.filter("request_id > 0").export("mooncake", tmp_path / "a.jsonl")
    assert [each["timestamp"] for each in lines(tmp_path / "a.jsonl")] == [0, 999, 1999, 2999]  # 998.5 and so on
    assert any("7.001500 s" in each for each in done.changes)


def test_requests_are_in_order_of_arrival(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=[5 * S, None, 3 * S, 3 * S], input_tokens=[1, 2, 3, 4], output_tokens=[1] * 4)
    done = table.export("vidur", tmp_path / "a.csv")
    assert [line.split(",")[:2] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]] == [
        ["0.000000", "3"],
        ["0.000000", "4"],
        ["2.000000", "1"],
    ]
    assert done.left_out == {"have no arrival": 1}
    assert any("order of arrival" in each for each in done.changes)


def test_two_clocks_are_refused(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=[5, 0], segment=[0, 1], input_tokens=[1, 2], output_tokens=[1, 1])
    with pytest.raises(BadUse, match=r"several segments(.|\n)*--filter 'segment = 0'(.|\n)*--to vidur"):
        table.export("vidur", tmp_path / "a.csv")


def test_arrivals_are_drawn_only_where_there_are_none(make: MakeRequests, tmp_path: Path) -> None:
    table = make(input_tokens=[1] * 4000, output_tokens=[1] * 4000)
    with pytest.raises(BadUse, match=r"no request has arrival_us(.|\n)*--arrivals poisson"):
        table.export("vidur", tmp_path / "a.csv")
    done = table.export("vidur", tmp_path / "a.csv", arrivals="poisson:4,7")
    times = pa.csv.read_csv(tmp_path / "a.csv")["arrived_at"].to_numpy()
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1 / 4, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 4, rel=0.1)
    assert any("synthetic" in each for each in done.changes)
    table.export("vidur", tmp_path / "b.csv", arrivals="poisson:4,8")
    assert (tmp_path / "a.csv").read_bytes() != (tmp_path / "b.csv").read_bytes()
    for wish in ("poisson", "poisson:0", "poisson:-1,2", "gamma:1"):
        with pytest.raises(BadUse, match="no process of arrivals"):
            table.export("vidur", tmp_path / "a.csv", arrivals=wish)
    with pytest.raises(BadUse, match="has arrivals"):
        make(arrival_us=[1], input_tokens=[1], output_tokens=[1]).export(
            "vidur", tmp_path / "a.csv", arrivals="poisson:1"
        )


# -- which requests ----------------------------------------------------------------------------------------------------


def test_requests_that_a_tool_cannot_replay_are_left_out_and_counted(make: MakeRequests, tmp_path: Path) -> None:
    table = make(
        arrival_us=range(6),
        input_tokens=[10, 0, 30, None, 50, 60],
        output_tokens=[0, 2, 3, 4, 0, None],
        failed=[True, False, False, None, False, True],
    )
    done = table.export("vidur", tmp_path / "a.csv")
    assert done.left_out == {
        "failed": 2,
        "have no prompt: 0 or unknown input tokens": 2,
        "have no answer: 0 or unknown output tokens": 1,
    }
    assert (done.rows, done.input_tokens, done.output_tokens) == (1, 30, 3)
    readme = (tmp_path / "a.csv.readme.txt").read_text()
    assert "left out: 2 requests that failed" in readme

    kept = table.export("vidur", tmp_path / "a.csv", keep_failed=True)
    assert kept.rows == 3
    tokens = [line.split(",")[1:3] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert tokens == [["10", "1"], ["30", "3"], ["60", "1"]]
    assert any("output_tokens is raised to 1 where a request failed: 2" in each for each in kept.changes)


def test_a_table_without_a_request_for_the_tool_is_refused(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=[1], input_tokens=[10], output_tokens=[3], failed=[True])
    with pytest.raises(BadUse, match=r"no request can be exported(.|\n)*1 failed"):
        table.export("vidur", tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())


def test_a_refusal_names_the_column_and_the_dialects_that_would_do(make: MakeRequests, tmp_path: Path) -> None:
    with pytest.raises(BadUse, match=r"no request has arrival_us, input_tokens, hash_ids\n  these would do  canonical"):
        make(output_tokens=[3]).export("mooncake", tmp_path / "a.jsonl")
    with pytest.raises(BadUse, match=r"no such dialect\n  there are  .*vidur"):
        make(output_tokens=[3]).export("vidurr", tmp_path / "a.jsonl")


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_every_prompt_has_as_many_ids_as_blocks(timed: lta.Requests, tmp_path: Path) -> None:
    done = timed.export("mooncake", tmp_path / "a.jsonl")
    rows = lines(tmp_path / "a.jsonl")
    assert all(len(each["hash_ids"]) == math.ceil(each["input_length"] / 16) for each in rows)
    assert [each["hash_ids"][:2] for each in rows[:3]] == [[1, 2]] * 3
    assert [rows[2]["hash_ids"][2], rows[3]["hash_ids"][0]] == [10, 11], "the first ids that are free"
    assert any(each.startswith("2 requests have ids for a part") for each in done.changes)


def test_ids_are_never_invented(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=[0, 1], input_tokens=[1000, 3], output_tokens=[3, 3])
    with pytest.raises(BadUse, match=r"no request has hash_ids(.|\n)*--mint-unique-blocks"):
        table.export("mooncake", tmp_path / "a.jsonl")
    done = table.export("mooncake", tmp_path / "a.jsonl", mint_unique_blocks=True)
    first, second = (set(each["hash_ids"]) for each in lines(tmp_path / "a.jsonl"))
    assert (len(first), len(second), first & second) == (2, 1, set())
    assert any("minted" in each for each in done.changes)
    with pytest.raises(BadUse, match="has ids of its own"):
        make(arrival_us=[0], input_tokens=[3], output_tokens=[3], hash_ids=[[1]]).export(
            "mooncake", tmp_path / "a.jsonl", mint_unique_blocks=True
        )


@pytest.mark.parametrize(("size", "message"), [(24, "which give no blocks of 24"), (0, "at least 1 token")])
def test_sizes_that_cannot_be_made_are_refused(timed: lta.Requests, tmp_path: Path, size: int, message: str) -> None:
    with pytest.raises(BadUse, match=message):
        timed.export("mooncake", tmp_path / "a.jsonl", block_size=size)


prompts = st.lists(st.lists(st.integers(0, 2), max_size=9), min_size=1, max_size=8)


def shared(one: list[int], two: list[int]) -> int:
    """How many leading blocks two prompts share."""
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


@given(
    ids=prompts,
    size=st.sampled_from([2, 4, 8, 12, 16]),
    partial=st.integers(0, 3),
    is_tree=st.booleans(),
    data=st.data(),
)
def test_regrouped_blocks_share_exactly_what_the_tables_blocks_share(
    ids: list[list[int]], size: int, partial: int, is_tree: bool, data: st.DataObject
) -> None:
    own = 4
    tokens = [max(1, own * len(each) - (partial if each else 0)) for each in ids]
    covered = [each if data.draw(st.booleans()) else each[:-1] for each in ids]  # only whole blocks may have ids
    largest = max((one for each in covered for one in each), default=-1)
    grouping = Regrouping(own, largest, size, one_size=True, is_tree=is_tree)
    batch = pa.table(
        {
            "input_tokens": pa.array(tokens, pa.int64()),
            "hash_ids": pa.array(covered, pa.list_(pa.int64())),
        }
    )
    connection = database().cursor()
    connection.register("batch", batch)
    complete = connection.sql(grouping.complete("SELECT * FROM batch")).to_arrow_table()["ids"].combine_chunks()
    made = (Folding(grouping.per_group)(complete) if grouping.folds else complete).to_pylist()

    assert [len(each) for each in made] == [math.ceil(n / size) for n in tokens]
    sizes: dict[int, set[int]] = {}
    for each, n in zip(made, tokens, strict=True):
        for place, one in enumerate(each):
            sizes.setdefault(one, set()).add(min(size, n - place * size))
    assert all(len(each) == 1 for each in sizes.values()), "an id stands for several sizes"
    if is_tree:
        before: dict[int, set[tuple[int, ...]]] = {}
        for each in made:
            for place, one in enumerate(each):
                before.setdefault(one, set()).add(tuple(each[:place]))
        assert all(len(each) == 1 for each in before.values()), "an id follows several others"
    for a in range(len(ids)):
        for b in range(a):
            common = min(shared(covered[a], covered[b]) * own, tokens[a], tokens[b])
            most = common // size
            if common == tokens[a] == tokens[b] and len(covered[a]) == len(covered[b]) == math.ceil(common / own):
                most = len(made[a])  # the same prompt, its partial last block included
            assert shared(made[a], made[b]) == most


def test_folding_is_the_same_whatever_the_batches() -> None:
    draw = random.Random(3)
    lists = [[draw.randrange(4) for _ in range(draw.randrange(9))] for _ in range(50)]
    for per_group in (1, 2):
        whole, piecewise = Folding(per_group), Folding(per_group)
        expected = whole(pa.array(lists, pa.list_(pa.int64()))).to_pylist()
        assert expected == [piecewise(pa.array([each], pa.list_(pa.int64()))).to_pylist()[0] for each in lists]
        assert all(0 <= one < 1 << 61 for each in expected for one in each)


# -- files -------------------------------------------------------------------------------------------------------------


def test_compressed_files_hold_the_same_bytes_each_time(timed: lta.Requests, tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        timed.export("mooncake", tmp_path / name)
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == plain
    with zstandard.open(tmp_path / "a.jsonl.zst", "rb") as stream:
        assert stream.read() == plain
    again = (tmp_path / "a.jsonl.gz").read_bytes()
    timed.export("mooncake", tmp_path / "a.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == again
    assert "gunzip a.jsonl.gz" in (tmp_path / "a.jsonl.gz.readme.txt").read_text()


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv", "a.jsonl.bz2", "a.gz"])
def test_a_name_that_is_none_of_the_tools_files_is_refused(timed: lta.Requests, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadUse, match=r"(?s)does not end as a file for mooncake.*FILE\.jsonl, and .gz or .zst"):
        timed.export("mooncake", tmp_path / name)


def test_the_canonical_files_hold_the_table(timed: lta.Requests, make: MakeRequests, tmp_path: Path) -> None:
    table = make(model=['a "b", c', None, "d\ne"], hash_ids=[[1, 2], None, []], failed=[True, None, False])
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        done = table.export("canonical", tmp_path / name)
        assert done.rows == 3, "the table as it is: failed requests stay"
    expected = table.arrow()
    assert pq.read_table(tmp_path / "a.parquet").equals(expected)
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.equals(expected.schema)
    assert [each.metadata for each in schema] == [each.metadata for each in expected.schema]
    assert lines(tmp_path / "a.jsonl") == expected.to_pylist()
    read = database().cursor().sql(f"SELECT model, hash_ids, failed FROM read_csv('{tmp_path}/a.csv', header = true)")
    assert read.fetchall() == [('a "b", c', "[1,2]", True), (None, None, None), ("d\ne", "[]", False)]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(timed: lta.Requests, tmp_path: Path) -> None:
    with pytest.raises(BadUse, match=r"missing/a.jsonl: can't be written: No such file or directory"):
        timed.export("mooncake", tmp_path / "missing" / "a.jsonl")
    folder = tmp_path / "a.jsonl"
    folder.mkdir()
    with pytest.raises(BadUse, match=r"a.jsonl: can't be written: Is a directory"):
        timed.export("mooncake", folder)
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_folder_that_holds_anything_is_not_replaced(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=[0], input_tokens=[5], output_tokens=[1], latency_us=[7], session_id=["a"])
    (tmp_path / "thesis.tex").write_text("years of work")
    for dialect in ("opendc", "aiperf-weka"):
        with pytest.raises(BadUse, match="exists already"):
            table.export(dialect, tmp_path)
        (tmp_path / dialect).mkdir()
        table.export(dialect, tmp_path / dialect)
        assert any((tmp_path / dialect).iterdir())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_planted_link_is_not_followed(timed: lta.Requests, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in ("a.jsonl.readme.txt", ".a.jsonl.part"):
        (tmp_path / name).symlink_to("precious")
    timed.export("mooncake", tmp_path / "a.jsonl")
    assert (tmp_path / "precious").read_text() == "mine" and "requests" in (tmp_path / "a.jsonl.readme.txt").read_text()


def test_a_device_is_written_to(timed: lta.Requests, tmp_path: Path) -> None:
    timed.export("mooncake", Path(os.devnull))
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_disk_that_fills_leaves_no_partial_file(make: MakeRequests, tmp_path: Path) -> None:
    table = make(arrival_us=range(30_000), input_tokens=[5] * 30_000, output_tokens=[1] * 30_000)
    table.save(tmp_path / "mine.parquet")
    small = tmp_path / "small"
    small.mkdir()
    script = f"""
import os, subprocess, sys
open("a.jsonl", "w").write("before")
ran = subprocess.run(["llm-traces", "export", "{tmp_path}/mine.parquet", "--to", "mooncake", "--mint-unique-blocks",
                      "-o", "a.jsonl"], capture_output=True, text=True)
print(ran.returncode, ran.stderr, sorted(os.listdir()), open("a.jsonl").read())
"""
    ran = run_on_tmpfs(small, "512k", sys.executable, "-c", script, LLM_TRACES_ARCHIVE=str(ROOT))
    assert ran.stdout.startswith("2 a.jsonl: can't be written: No space left on device"), ran.stdout + ran.stderr
    assert "['a.jsonl'] before" in ran.stdout


def test_only_an_untouched_workload_goes_back_to_its_upstream_file(timed: lta.Requests, tmp_path: Path) -> None:
    with pytest.raises(BadUse, match="is not as it was opened"):
        timed.filter("request_id > 1").export("upstream", tmp_path / "a.csv")


# -- the dialects as such ----------------------------------------------------------------------------------------------


def test_the_page_is_current() -> None:
    page = (ROOT / "docs/export.md").read_text()
    assert bring_up_to_date(page) == page, "run make docs"


@pytest.mark.parametrize("name", all_dialects())
def test_a_dialect_says_whom_it_serves_and_how_to_run_it(name: str) -> None:
    dialect = all_dialects()[name]
    assert dialect.name == name and dialect.tool and dialect.ignores and "{file}" in dialect.command
    assert f"\n{name}\n" in f"\n{list_text()}\n"
    assert (dialect.fields is None) != (dialect.write is None)
    assert not dialect.ignores.endswith(".")


def test_the_rows_stream(make: MakeRequests, tmp_path: Path) -> None:
    """Memory does not grow with the rows."""
    script = """
import sys, llm_trace_archive as lta
lta.open(sys.argv[1]).export("vllm-timed-trace", "/dev/null", mint_unique_blocks=True)
print(int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) // 1024)
"""
    peaks = []
    for rows in (150_000, 600_000):
        table = make(arrival_us=range(rows), input_tokens=[2000] * rows, output_tokens=[1] * rows)
        table.save(tmp_path / "mine.parquet")
        ran = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "mine.parquet"],
            capture_output=True, text=True, check=True, env=os.environ | {"LLM_TRACES_ARCHIVE": str(ROOT)},
        )  # fmt: skip
        peaks.append(int(ran.stdout))
    assert peaks[1] < 1.2 * peaks[0], peaks
