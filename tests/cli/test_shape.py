"""`llm-traces shape`, `hit-ratio`, and `validate` on what they write."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.command import run_here
from support.programs import Samples


def test_a_shaped_workload_is_written_checked_and_read_again(samples: Samples, tmp_path: Path) -> None:
    mine = tmp_path / "mine.parquet"
    made = run_here(
        *("shape", "mooncake/conversation", "azure-2023/code", "--window", "0..30min", "--rebase", "--rate", "2"),
        *("--limit", "100", "-o", mine),
        cwd=samples.root,
    )
    assert made.returncode == 0, made.stderr
    assert f"{mine}: 100 requests within" in made.stdout
    assert (
        ".rebase().merge(open('azure-2023/code').window('0', '30min', sessions='whole').rebase()).scale(" in made.stdout
    )
    assert "Splitwise" in made.stdout and "Mooncake" in made.stdout
    assert "note: save(): " in made.stderr and "arrive at the very time of another" in made.stderr

    described = run_here("info", mine, cwd=tmp_path, LLM_TRACES_ARCHIVE=str(samples.root))
    assert described.stdout == made.stdout
    checked = run_here("validate", mine, "--deep", cwd=tmp_path, LLM_TRACES_ARCHIVE=str(samples.root))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rebuilt from its sources" in checked.stdout
    assert "1 workload, 0 findings" in checked.stdout
    assert "ShapeWarning" not in checked.stderr

    rate = run_here(
        "rate", mine, "--per", "1min", "--format", "json", cwd=tmp_path, LLM_TRACES_ARCHIVE=str(samples.root)
    )
    assert rate.returncode == 0, rate.stderr
    assert sum(row["requests"] for row in json.loads(rate.stdout)) == 100

    table = pq.read_table(mine)
    at = table.schema.get_field_index("input_tokens")
    wrong = table.set_column(at, table.schema.field(at), [[-1] * len(table)])
    pq.write_table(wrong.replace_schema_metadata({"shaped": pq.read_metadata(mine).metadata[b"shaped"]}), mine)
    found = run_here("validate", mine, cwd=tmp_path, LLM_TRACES_ARCHIVE=str(samples.root))
    assert found.returncode == 1
    assert "rows whose input_tokens is not at least 0" in found.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "5h..6h"], "holds no request"),
        (["--window", "5min"], "'5min' is no window"),
        (["--filter", "foo > 1"], 'Referenced column "foo" not found'),
        (["--rate", "-1"], "must be above 0"),
        (["--thin", "2"], "above 0 and at most 1"),
        (["--view", "succeeded"], "there is no view 'succeeded'"),
        (["--repeat", "soon"], "'soon' is no length of time"),
        (["--max-context", "1"], "at least 2 tokens"),
        (["--limit", "0"], "must be at least 1"),
        (["--dilute", "2"], "No such option"),
    ],
)
def test_wrong_steps_are_one_message_and_write_nothing(
    samples: Samples, tmp_path: Path, options: list[str], message: str
) -> None:
    done = run_here("shape", "azure-2023/code", *options, "-o", tmp_path / "mine.parquet", cwd=samples.root)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_in_no_folder_is_one_message(samples: Samples, tmp_path: Path) -> None:
    done = run_here("shape", "azure-2023/code", "-o", tmp_path / "none" / "mine.parquet", cwd=samples.root)
    assert done.returncode == 2
    assert "can't be written: No such file or directory" in done.stderr


def test_hit_ratios_are_printed_by_policy_and_capacity(samples: Samples, tmp_path: Path) -> None:
    done = run_here(
        "hit-ratio", "mooncake/conversation", "--policy", "lru,belady", "--format", "json", cwd=samples.root
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["policy"], row["unit"]) for row in rows] == [
        *[("lru", "share")] * 5, ("lru", "unlimited"), *[("belady", "share")] * 5, ("belady", "unlimited")
    ]  # fmt: skip
    assert all(0 <= row["hit_ratio"] <= 1 for row in rows)
    written = run_here(
        *("hit-ratio", "mooncake/conversation", "--gib", "1,8", "--model", "deepseek-v3", "--dtype", "fp8"),
        *("-o", tmp_path / "ratios.csv"),
        cwd=samples.root,
    )
    assert written.returncode == 0, written.stderr
    assert len((tmp_path / "ratios.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["azure-2023/code"], "has no prefix blocks, and so no hit ratio"),
        (["mooncake/conversation", "--gib", "a"], "'a' is no list of numbers"),
        (["mooncake/conversation", "--gib", "8"], "needs either model or bytes_per_token"),
        (["mooncake/conversation", "--gib", "8", "--model", "?"], "is not in the catalogue of models"),
        (["mooncake/conversation", "--policy", "best"], "there is no policy 'best'"),
        (["mooncake/conversation", "--by", "user"], "there is no column user"),
    ],
)
def test_wrong_questions_are_one_message(samples: Samples, arguments: list[str], message: str) -> None:
    done = run_here("hit-ratio", *arguments, cwd=samples.root)
    assert done.returncode == 2
    assert message in done.stderr
