"""SQL over workloads: what it may read, and how errors and answers look."""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.command import run_here
from support.programs import Samples


def query(samples: Samples, sql: str, *options: str | Path) -> str:
    ran = run_here("query", sql, *options, cwd=samples.root)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def fail(cwd: Path, sql: str, *options: str | Path) -> str:
    ran = run_here("query", sql, *options, cwd=cwd)
    assert ran.returncode == 2, ran.stdout
    assert ran.stdout == ""
    return ran.stderr


def test_every_workload_is_a_table_and_requests_are_all_of_them(samples: Samples) -> None:
    rows = {}
    for name in ("azure-2023/code", "azure-2023/conversation", "azure-2023", "kavier/utilisation", "requests"):
        rows[name] = int(query(samples, f'SELECT count(*) FROM "{name}"').split()[-1])
    assert rows["azure-2023"] == rows["azure-2023/code"] + rows["azure-2023/conversation"]
    assert (
        rows["kavier/utilisation"]
        == pq.read_metadata(samples.root / "data/kavier/telemetry/utilisation.parquet").num_rows
    )
    twice = {"mooncake/arxiv", "marconi-kavier/all"}
    paths = [
        path for path in (samples.root / "data").glob("*/*.parquet") if f"{path.parent.name}/{path.stem}" not in twice
    ]
    assert rows["requests"] == sum(pq.read_metadata(path).num_rows for path in paths)


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_every_format_holds_the_same_rows(format: str, samples: Samples, tmp_path: Path) -> None:
    sql = 'SELECT request_id, input_tokens, model, hash_ids FROM "mooncake/conversation" ORDER BY request_id LIMIT 7'
    rows = pq.read_table(samples.root / "data/mooncake/conversation.parquet").slice(0, 7).to_pylist()
    expected = [{name: row[name] for name in ("request_id", "input_tokens", "model", "hash_ids")} for row in rows]
    path = tmp_path / f"answer.{format}"
    query(samples, sql, "-o", path)
    if format == "parquet":
        assert pq.read_table(path).to_pylist() == expected
        return
    assert path.read_text() == query(samples, sql, "--format", format)
    if format == "json":
        assert json.loads(path.read_text()) == expected
    else:
        found = list(csv.DictReader(path.open()))
        assert [json.loads(row["hash_ids"]) for row in found] == [row["hash_ids"] for row in expected]
        assert [int(row["input_tokens"]) for row in found] == [row["input_tokens"] for row in expected]


@pytest.mark.parametrize("format", ["csv", "json", "parquet", "table"])
def test_an_empty_answer_is_one_too(format: str, samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "answer"
    query(samples, "SELECT trace, segment FROM requests WHERE false", "-o", path, "--format", format)
    if format == "parquet":
        assert pq.read_table(path).to_pylist() == []
    else:
        expected = {"csv": '"trace","segment"\n', "json": "[]\n", "table": "trace  segment\n"}
        assert path.read_text() == expected[format]


def test_a_table_on_a_terminal_ends_and_says_so(samples: Samples) -> None:
    ran = run_here("query", 'SELECT request_id FROM "azure-2023/code"', cwd=samples.root)
    assert len(ran.stdout.splitlines()) == 101
    assert ran.stderr == "the first 100 rows; all of them: --format csv, or -o FILE\n"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT a,\n  bb FROM requests", 'SQL: Referenced column "a" not found in FROM clause!'),
        ("SELECT 1\nFORM x", 'SQL: syntax error at or near "x"\n  at  line 2, column 6\n'),
        ("SELECT 'ä', x\nFROM requests", "at  line 1, column 13"),
        ("SELECT 1; SELECT 2", "SQL: only one SELECT can be run\n  got  SELECT, SELECT\n"),
        ("DROP TABLE requests", "SQL: only one SELECT can be run\n  got  DROP\n"),
        ("", "SQL: only one SELECT can be run\n  got  nothing\n"),
        ('SELECT * FROM "azure-2023/cod"', "azure-2023/cod: no such workload\n  nearest    azure-2023/code\n"),
        (
            "SELECT * FROM request",
            'SQL: there is no table request\n  at       line 1, column 15\n  nearest  "requests"\n',
        ),
        ('SELECT CAST(model AS INT) FROM "burstgpt/1"', "SQL: Could not convert string"),
    ],
)
def test_wrong_sql_is_one_message(sql: str, message: str, samples: Samples) -> None:
    error = fail(samples.root, sql)
    assert message in error
    assert len(error.splitlines()) < 6


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{}'",
        "SELECT * FROM read_csv('{}')",
        "SELECT * FROM read_text('{}')",
        "SELECT * FROM glob('{}')",
        "SELECT * FROM query('SELECT * FROM read_text(''{}'')')",
        "SELECT * FROM requests, read_text('{}')",
    ],
)
def test_no_other_file_is_read_unless_allowed(sql: str, samples: Samples, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nplatypus\n")
    error = fail(samples.root, sql.format(secret))
    assert "platypus" not in error and "word" not in error
    assert "--allow-files" in error


def test_other_files_are_read_when_allowed(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("word\nplatypus\n")
    assert "platypus" in query(samples, f"SELECT * FROM '{tmp_path}/more.csv'", "--allow-files")


@pytest.mark.parametrize(
    "sql", ["COPY (SELECT 1) TO '{}'", "ATTACH '{}'", "CREATE TABLE t AS SELECT 1", "SET threads = 1"]
)
def test_nothing_is_written(sql: str, samples: Samples, tmp_path: Path) -> None:
    for option in ((), ("--allow-files",)):
        assert "only one SELECT" in fail(samples.root, sql.format(tmp_path / "made"), *option)
    assert not list(tmp_path.iterdir())


def test_absent_workloads_are_named(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    assert "llm-traces get azure-2023/code" in fail(clone, 'SELECT * FROM "azure-2023/code"')
    assert "no workload is here" in fail(clone, "SELECT * FROM requests")


def test_a_failed_query_keeps_the_file_there_was(samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "answer.csv"
    path.write_text("before")
    fail(samples.root, 'SELECT CAST(model AS INT) FROM "burstgpt/1"', "-o", path)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["answer.csv"]


def test_a_format_must_be_known(samples: Samples, tmp_path: Path) -> None:
    assert "give --format" in fail(samples.root, "SELECT 1", "-o", tmp_path / "answer.xls")
    assert "no such format" in fail(samples.root, "SELECT 1", "--format", "xls")
    assert "give -o FILE" in fail(samples.root, "SELECT 1", "--format", "parquet")


def test_head_prints_rows_and_names_what_is_empty(samples: Samples) -> None:
    ran = run_here("head", "azure-2023/code", "-n", "2", cwd=samples.root)
    head, *rows, empty, _ = [line for line in ran.stdout.splitlines() if line] + [""]
    assert head.split()[:3] == ["trace", "workload", "request_id"]
    assert len(rows) == 2
    assert empty.startswith("no value here: cached_tokens, model")


def test_a_device_is_written_and_not_replaced(samples: Samples, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        query(samples, "SELECT 1 AS one", "-o", pipe, "--format", "csv")
        assert read.result(timeout=60) == '"one"\n1\n'
    assert pipe.is_fifo()


def test_a_full_disk_is_one_message_and_the_file_stays(samples: Samples) -> None:
    error = fail(samples.root, "SELECT 1", "-o", "/dev/full", "--format", "csv")
    assert error.startswith("/dev/full: can't be written: No space left on device")


def test_a_link_to_a_file_stays_a_link(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "answer.csv").symlink_to(tmp_path / "target.csv")
    query(samples, "SELECT 1 AS one", "-o", tmp_path / "answer.csv")
    assert (tmp_path / "answer.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == '"one"\n1\n'
