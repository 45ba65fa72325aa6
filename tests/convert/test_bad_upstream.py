"""Bad upstream files whose pin holds: the error names line, column and value."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm_trace_archive.convert.formats import csv, jsonl
from llm_trace_archive.convert.restore import restore_to
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.lock.build import build
from support.golden import assert_golden
from support.pinned import AZURE, AZURE_ROW, MOONCAKE_ROW, pinned
from support.programs import ROOT

BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST_3 = BURST.replace("Timestamp,", "Timestamp,Session ID,Elapsed time,")
LMM_ROW = b"2024-10-15T12:00:00.269Z,1,2,3\n"
LMM = b"TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n" + LMM_ROW * 99 + LMM_ROW.replace(b"2,3", b"many,3")
CASES: dict[str, tuple[str, str | bytes]] = {
    "renamed-column": ("azure-2023/code", AZURE.replace("ContextTokens", "PromptTokens") + AZURE_ROW),
    "missing-column": ("azure-2023/code", "TIMESTAMP,ContextTokens\r\n2023-11-16 18:17:03.9799600,4808\r\n"),
    "extra-column": ("burstgpt/1", BURST.replace("Model,", "Model,Region,") + "5,GPT-4,eu,1,2,3,API log\n"),
    "columns-of-another-file": ("burstgpt/1", BURST_3 + "5.0,,1,GPT-4,1,2,3,API log\n"),
    "repeated-column": ("burstgpt/1", BURST.replace("Model,", "Model,Model,") + "5,GPT-4,GPT-4,1,2,3,API log\n"),
    "text-for-a-number": ("azure-2023/code", AZURE + AZURE_ROW + AZURE_ROW.replace("4808", "many")),
    "negative-tokens": ("azure-2023/code", AZURE + AZURE_ROW + AZURE_ROW.replace("4808", "-1")),
    "too-many-tokens": ("azure-2023/code", AZURE + AZURE_ROW.replace("4808", "99999999")),
    "beyond-32-bits": ("azure-2023/code", AZURE + AZURE_ROW.replace("4808", "99999999999")),
    "beyond-64-bits": ("azure-2023/code", AZURE + AZURE_ROW.replace("4808", "9" * 25)),
    "nan": ("azure-2023/code", AZURE + AZURE_ROW.replace("4808", "NaN")),
    "empty-value": ("azure-2023/code", AZURE + AZURE_ROW.replace("4808", "")),
    "invalid-date": ("azure-2023/code", AZURE + AZURE_ROW.replace("11-16", "11-31")),
    "before-the-epoch": ("azure-2023/code", AZURE + AZURE_ROW.replace("11-16", "11-15")),
    "short-row": ("azure-2023/code", AZURE + AZURE_ROW + "2023-11-16 18:17:04.0000000,7\r\n"),
    "header-only": ("azure-2023/code", AZURE),
    "html": ("azure-2023/code", "<!DOCTYPE html>\n<html><body>Not found</body></html>\n"),
    "html-for-json": ("mooncake/conversation", "<!DOCTYPE html>\n<html><body>Not found</body></html>\n"),
    "lfs-pointer": (
        "mooncake/conversation",
        "version https://git-lfs.github.com/spec/v1\noid sha256:07cedc\nsize 56354493\n",
    ),
    "json-truncated": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW[:40]),
    "json-renamed-key": ("mooncake/conversation", MOONCAKE_ROW.replace("input_length", "prompt_length")),
    "json-key-missing-later": ("mooncake/conversation", MOONCAKE_ROW + '{"timestamp": 0, "input_length": 6}\n'),
    "json-extra-key-later": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("{", '{"id": 1, ')),
    "json-text-for-a-number": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("600", '"600"')),
    "json-nan": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("600", "NaN")),
    "json-text-among-ids": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("[0, 1]", '[0, "1"]')),
    "json-null-among-ids": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("[0, 1]", "[0, null]")),
    "json-null": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("600", "null")),
    "json-boolean": ("mooncake/conversation", MOONCAKE_ROW.replace("600", "true")),
    "json-text-for-ids": ("mooncake/conversation", MOONCAKE_ROW.replace("[0, 1]", '"0"')),
    "json-null-first": ("mooncake/conversation", MOONCAKE_ROW.replace("600", "null") + MOONCAKE_ROW),
    "json-negative-tokens": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("600", "-600")),
    "not-utf-8": ("mooncake/conversation", "\udcff\udcfe\n"),
    "row-not-utf-8": ("azure-2023/code", AZURE + AZURE_ROW + AZURE_ROW.replace("4808", "\udcff")),
    "empty-lines-only": ("azure-2023/code", "\n\n"),
    "header-too-long": ("azure-2023/code", "x" * 200_000 + AZURE + AZURE_ROW),
    "a-hundred-thousand-columns": (
        "azure-2023/code",
        ",".join(f"c{n // 2}" for n in range(100_000)) + "\n" + AZURE_ROW,
    ),
    "carriage-returns-only": ("azure-2023/code", (AZURE + AZURE_ROW).replace("\r\n", "\r")),
    "newline-in-the-header": ("azure-2023/code", AZURE.replace("ContextTokens", '"Context\nTokens"') + AZURE_ROW),
    "terminal-codes": ("azure-2023/code", AZURE.replace("ContextTokens", "\x1b[2JTokens") + AZURE_ROW),
    "json-nested-first": ("mooncake/conversation", MOONCAKE_ROW.replace("600", "[" * 5000 + "]" * 5000)),
    "json-nested-later": ("mooncake/conversation", MOONCAKE_ROW + MOONCAKE_ROW.replace("600", '{"a":' * 5000)),
    "json-half-a-character": ("mooncake/conversation", MOONCAKE_ROW.replace("timestamp", "\\ud800")),
    "gzip-truncated": ("azure-lmm-2025/multimodal", gzip.compress(LMM, mtime=0)[:-20]),
    "gzip-text-for-a-number": ("azure-lmm-2025/multimodal", gzip.compress(LMM, mtime=0)),
    "too-many-lines-in-another-spelling": (
        "mooncake/conversation",
        (MOONCAKE_ROW + MOONCAKE_ROW.replace(", ", ",")) * 101,
    ),
}
DATE, OTHER_DATE = " 18:17", "T18:17"
# A few lines in another spelling: the upstream, and what it means in one spelling.
ODD: dict[str, tuple[str, str, str]] = {
    "time-with-a-t": (
        "azure-2023/code",
        AZURE + AZURE_ROW * 2 + AZURE_ROW.replace(DATE, OTHER_DATE),
        AZURE + AZURE_ROW * 3,
    ),
    "time-without-a-fraction": (
        "azure-2023/code",
        AZURE + AZURE_ROW + AZURE_ROW.replace("03.9799600", "04"),
        AZURE + AZURE_ROW + AZURE_ROW.replace("03.9799600", "04.0000000"),
    ),
    "two-number-formats": (
        "burstgpt/1",
        BURST + "5,GPT-4,1,2,3,API log\n6.0,GPT-4,1,2,3,API log\n",
        BURST + "5,GPT-4,1,2,3,API log\n6,GPT-4,1,2,3,API log\n",
    ),
    "needless-quotes": (
        "burstgpt/1",
        BURST + '5,"GPT-4",1,2,3,API log\n',
        BURST + "5,GPT-4,1,2,3,API log\n",
    ),
    "mixed-line-ends": (
        "azure-2023/code",
        AZURE + AZURE_ROW.replace("\r", "") + AZURE_ROW,
        AZURE + AZURE_ROW * 2,
    ),
    "json-compact-line": (
        "mooncake/conversation",
        MOONCAKE_ROW * 200 + MOONCAKE_ROW.replace(", ", ",") + MOONCAKE_ROW,
        MOONCAKE_ROW * 202,
    ),
    "json-keys-in-another-order": (
        "mooncake/conversation",
        MOONCAKE_ROW + '{"input_length": 600, "timestamp": 0, "output_length": 5, "hash_ids": [0, 1]}\n',
        MOONCAKE_ROW * 2,
    ),
}


@pytest.fixture
def one_recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """An archive with the recipe of one trace, nothing built."""
    root = tmp_path / "archive"
    shutil.copytree(ROOT / "schemas", root / "schemas")
    (root / "recipes").mkdir()
    shutil.copy(ROOT / f"recipes/{request.param}.toml", root / "recipes")
    return Archive(root)


@pytest.mark.parametrize(
    ("one_recipe", "case"), [(CASES[case][0].partition("/")[0], case) for case in CASES], indirect=["one_recipe"]
)
def test_a_bad_file_is_refused_and_leaves_nothing(one_recipe: Archive, case: str, tmp_path: Path) -> None:
    name, content = CASES[case]
    content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    sources = pinned(one_recipe, name, content, rows=8819 if case == "header-only" else None)
    with pytest.raises(Problem) as caught:
        build(one_recipe, *one_recipe.select([name]), sources)
    assert caught.value.exit_code == 1
    assert_golden(f"upstream/{case}", str(caught.value), root=tmp_path)
    assert [path for path in (one_recipe.root / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("one_recipe", "case"), [(ODD[case][0].partition("/")[0], case) for case in ODD], indirect=["one_recipe"]
)
def test_a_few_lines_in_another_spelling_are_read_and_restored(one_recipe: Archive, case: str, tmp_path: Path) -> None:
    name, content, plain = ODD[case]
    rows = {}
    for text in (content, plain):
        sources = pinned(one_recipe, name, text.encode())
        (workload,) = one_recipe.select([name])
        build(one_recipe, workload, sources)
        rows[text] = pq.read_table(one_recipe.root / workload.path)
        ((restored, _, _),) = restore_to(one_recipe, workload, tmp_path / str(len(rows)))
        assert restored.read_bytes() == text.encode()
    assert rows[content].equals(rows[plain])


def test_the_right_line_is_named_beyond_the_first_block(
    empty_archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 4000
    for module in (csv, jsonl):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 16)
        assert len(AZURE_ROW) * rows > 2 << 16
    good = AZURE_ROW * rows
    for name, text, line in (
        ("azure-2023/code", AZURE + good + AZURE_ROW.replace("4808", "x") + good, rows + 2),
        ("mooncake/conversation", MOONCAKE_ROW * rows + MOONCAKE_ROW.replace("600", '"x"'), rows + 1),
        ("mooncake/conversation", MOONCAKE_ROW * rows + MOONCAKE_ROW.replace("600", "-1"), rows + 1),
    ):
        sources = pinned(empty_archive, name, text.encode())
        with pytest.raises(Problem) as caught:
            build(empty_archive, *empty_archive.select([name]), sources)
        assert f"{line:,}, " in str(caught.value)


@pytest.mark.parametrize("one_recipe", ["burstgpt"], indirect=True)
def test_tokens_with_a_decimal_point_are_integers_and_are_restored(one_recipe: Archive) -> None:
    text = BURST + "5.0,GPT-4,1.0,2.0,3.0,API log\n6.0,GPT-4,0.0,0.0,0.0,API log\n"
    sources = pinned(one_recipe, "burstgpt/2", text.encode())
    built = build(one_recipe, *one_recipe.select(["burstgpt/2"]), sources)
    assert (built.facts["input_tokens"], built.facts["failures"]) == (1, 1)


@pytest.mark.parametrize("one_recipe", ["burstgpt"], indirect=True)
def test_the_smallest_number_of_a_type_fits_it_and_one_larger_than_the_largest_does_not(one_recipe: Archive) -> None:
    path = one_recipe.root / "recipes/burstgpt.toml"
    own = 'from = "Total tokens", type = "int32", min = -2147483648, title = "T", meaning = "T."'
    text, found = re.subn(r"\[columns\]\n", f"[columns]\ntotal = {{ {own} }}\n", path.read_text(), count=1)
    assert found
    path.write_text(re.sub(r"(?m)^total_tokens = .*\n", "", text))
    row = "5,GPT-4,1,2,-2147483648,API log\n"
    sources = pinned(one_recipe, "burstgpt/1", (BURST + row).encode())
    assert build(one_recipe, *one_recipe.select(["burstgpt/1"]), sources).facts["rows"] == 1
    content = BURST + row + row.replace("-", "", 2).replace("GPT4", "GPT-4")
    sources = pinned(one_recipe, "burstgpt/1", content.encode())
    with pytest.raises(Problem) as caught:
        build(one_recipe, *one_recipe.select(["burstgpt/1"]), sources)
    assert "line 3, column 'Total tokens'\n  expected  from -2,147,483,648 to 2,147,483,647" in str(caught.value)
