"""Recipes: those of the archive, and wrong ones, which are refused by file, key and reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from support.golden import assert_golden


def test_every_recipe_is_valid_and_has_its_schema(archive: Archive) -> None:
    assert set(archive.recipes) >= {"burstgpt", "azure-2023", "mooncake", "ragpulse", "kavier"}
    for workload in archive.select():
        fields = [field["name"] for field in archive.schema(workload)["fields"]]
        mapped = {rule.column for file in workload.files for rule in file.rules}
        mapped |= {rule.rest for file in workload.files for rule in file.rules if rule.rest}
        assert mapped <= set(fields), f"{workload} maps columns its schema lacks"


def test_every_upstream_field_can_be_written_back(archive: Archive) -> None:
    for workload in archive.select():
        for file in workload.files if workload.restores else ():
            restored = {rule.source for rule in file.rules if rule.restores}
            assert restored == file.fields, f"{workload}: {file.name} loses {file.fields - restored}"


def test_request_tables_start_with_the_canonical_columns(archive: Archive) -> None:
    canonical = json.loads((archive.root / "schemas/request.json").read_text())["fields"]
    for workload in archive.select():
        if workload.is_requests:
            fields = archive.schema(workload)["fields"][: len(canonical)]
            assert [{**field, "source": ""} for field in fields] == [{**field, "source": ""} for field in canonical]


def test_only_mapped_and_identity_columns_have_a_source(archive: Archive) -> None:
    for workload in archive.select():
        kind = archive.recipe(workload.trace).kinds[workload.table]
        alike = [each for each in archive.recipe(workload.trace).workloads if each.table == workload.table]
        files = [file for each in alike for file in each.files]
        mapped = {name for file in files for rule in file.rules for name in (rule.column, rule.rest) if name}
        mapped |= {rule.offset for file in files for rule in file.rules if rule.offset}
        mapped |= {name for file in files for name in file.named}
        identity = {"trace", "workload", *(["request_id"] if workload.is_requests else [])}
        identity |= {column.name for column in kind.columns if column.is_row}
        assert {f["name"] for f in archive.schema(workload)["fields"] if "source" in f} == mapped | identity


def test_schemas_on_disk_are_those_that_are_used(archive: Archive) -> None:
    for workload in archive.select():
        assert json.loads((archive.root / workload.schema_path).read_text()) == archive.schema(workload)


def test_recipes_are_short(archive: Archive) -> None:
    lines = {name: len(recipe.file.read_text().splitlines()) for name, recipe in archive.recipes.items()}
    assert sum(lines.values()) / len(lines) < 80, lines


def test_groups_of_published_figures(empty_archive: Archive) -> None:
    path = empty_archive.root / "recipes" / "kavier.toml"
    group = """published = [
  { source = "a paper", mean = { input_tokens = 2, output_tokens = 3 }, turns_p25 = 4 },
  { source = "a plot", note = "x", tolerance = 0.5, p99 = { input_tokens = 5 }, lru_hit_ratio = { "0.01" = 0.1 } },
  { source = "an issue", succeeded_per_s = { 0-72 = 0.03 } },
  { source = "a table", by = "gpu", median = { latency_us = { A10 = 6 } }, median_output_rate = { A10 = 7 } },
]
"""
    text = path.read_text()
    start = text.index("published = [")
    path.write_text(text[:start] + group + text[text.index("]\n", start) + 2 :])
    assert empty_archive.recipe("kavier").workload("prefill").published == (
        {"figure": "mean", "column": "input_tokens", "value": 2, "tolerance": 0, "source": "a paper"},
        {"figure": "mean", "column": "output_tokens", "value": 3, "tolerance": 0, "source": "a paper"},
        {"figure": "turns_percentile", "q": 25, "value": 4, "tolerance": 0, "source": "a paper"},
        {"figure": "percentile", "q": 99, "column": "input_tokens", "value": 5, "tolerance": 0.5, "source": "a plot",
         "note": "x"},
        {"figure": "lru_hit_ratio", "share": 0.01, "value": 0.1, "tolerance": 0.5, "source": "a plot",
         "note": "x"},
        {"figure": "succeeded_per_s", "window_s": [0, 72], "value": 0.03, "tolerance": 0, "source": "an issue"},
        {"figure": "median", "column": "latency_us", "by": "gpu", "value": {"A10": 6}, "tolerance": 0,
         "source": "a table"},
        {"figure": "median_output_rate", "by": "gpu", "value": {"A10": 7}, "tolerance": 0, "source": "a table"},
    )  # fmt: skip


def test_urls_are_relative_to_the_base(archive: Archive) -> None:
    base = (
        "https://raw.githubusercontent.com/kvcache-ai/Mooncake/3cca71daccf2a7afb8fe3f0295358f70e3a69fdb/FAST25-release/"
    )
    assert [file.url.removeprefix(base) for each in archive.select(["mooncake"]) for file in each.files][2:] == [
        "traces/synthetic_trace.jsonl",
        "arxiv-trace/mooncake_trace.jsonl",
    ]


def test_pins_are_those_of_the_real_files(archive: Archive, mirror: Path) -> None:
    held = 0
    for workload in archive.select():
        for file in workload.files:
            path = mirror / workload.trace / file.name
            if path.exists():
                held += 1
                assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) == (file.sha256, file.bytes)
    assert held >= 11


def test_filtered_kavier_files_are_the_published_figures(archive: Archive, mirror: Path) -> None:
    """Every number of the two filtered files stands as a published figure of the raw one."""
    for kind, columns in {
        "prefill": ("latency_us", "tokens_per_s"),
        "decode": ("output_tokens", "latency_us", "median_output_rate"),
    }.items():
        path = mirror / "kavier" / f"filtered_{kind}.csv"
        workload = archive.recipe("kavier").workload(kind)
        published: dict[str, dict[str, float]] = {}
        for figure in workload.published:
            published.setdefault(figure.get("column", figure["figure"]), {}).update(figure["value"])
        for line in path.read_text().splitlines()[1:]:
            cells = line.split(",")[1 if kind == "prefill" else 0 :]
            for column, cell in zip(columns, cells[1:], strict=True):
                value = float(cell) * (1e6 if column == "latency_us" else 1)
                assert published[column][cells[0]] == pytest.approx(value), (kind, column, cells[0])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        assert any(sha256 in figure["source"] for figure in workload.published)


WRONG = {
    "unknown-key": ('[licence]\nspdx = "MIT"', '[licence]\nspdx = "MIT"\nshare = true'),
    "missing-licence": ("redistribute = true\n", ""),
    "wrong-pin": ('sha256 = "2c0fe13b913dd84b', 'sha256 = "2C0FE13B913DD84B'),
    "unknown-unit": ('in = "s"', 'in = "seconds"'),
    "two-sources": ('from = "gpu"', 'from = "gpu", value = "A10"'),
    "name-of-another": ('name = "kavier"\n', 'name = "kaviar"\n'),
    "workload-twice": ('name = "decode"', 'name = "prefill"'),
    "path-as-file-name": ('name = "raw_prefill.csv"', 'name = "../raw_prefill.csv"'),
    "not-toml": ('name = "kavier"\n', "name = kavier\n"),
    "published-without-source": ('source = "filtered_prefill.csv", tolerance = 0.0005', "tolerance = 0.0005"),
    "unknown-figure": ("median = {", "medium = {"),
    "column-without-a-meaning": (', title = "GPU", meaning = "GPU model."', ""),
    "canonical-column-described": (
        'latency_us = { from = "latency_s", in = "s" }',
        'latency_us = { from = "latency_s", in = "s", type = "int64", title = "L", meaning = "L." }',
    ),
    "own-column-without-a-type": ('"gpu", type = "dictionary<string>", title', '"gpu", title'),
    "date-without-an-epoch": ('epoch = "2025-06-13T00:00:00", ', ""),
    "rest-without-digits": ('hh:mm:ss.fff", type', 'hh:mm:ss.fff", rest = "size", type'),
    "expectation-of-no-column": ("values = { size = {", "values = { length = {"),
    "figure-of-no-column": ("median = { tokens_per_s = {", "median = { throughput = {"),
    "order-of-no-column": ("expect = { rows = 7563,", 'expect = { arrivals = "non-decreasing", rows = 7563,'),
    "view-of-another-form": (
        "[licence]",
        '[[views]]\nname = "v"\ntitle = "V"\nwhere = "true"\nsource = "x"\nonly = true\n[licence]',
    ),
    "view-of-no-workload": (
        "[licence]",
        '[[views]]\nname = "v"\ntitle = "V"\nwhere = "true"\nsource = "x"\nonly = ["none"]\n[licence]',
    ),
    "unknown-table": ('table = "telemetry"', 'table = "telemetrie"'),
    "table-without-row-numbers": ("row = true, ", 'type = "int64", '),
    "figure-of-an-unknown-column": ("range = { output_tokens = [1, 1] }", "range = { out_tokens = [1, 1] }"),
    "figure-of-the-table-by-column": ("tolerance = 0.0005, by", "tolerance = 0.0005, rows = { gpu = 3 }, by"),
    "figure-of-columns-as-number": ('source = "filtered_prefill.csv", tolerance', 'source = "x", mean = 3, tolerance'),
    "by-an-unknown-column": ('by = "input_tokens"', 'by = "input_token"'),
    "empty-window": (
        'source = "filtered_prefill.csv", tolerance = 0.0005, by = "input_tokens", median = {',
        'source = "x", succeeded_per_s = { "9-9" = 1.0 } }, { source = "y", by = "input_tokens", median = {',
    ),
    "epoch-without-a-date": ('epoch = "2025-06-13', 'epoch = "2025-06-31'),
    "block-ids-without-block-tokens": (
        "[columns]\n",
        '[columns]\nhash_ids = { from = "provider", derive = "block_ids" }\n',
    ),
    "trailing-newline": ('name = "prefill"', 'name = "prefill\\n"'),
    "terminal-codes": ('title = "Kavier, prefill latency"', 'title = "\\u001b]0;owned\\u0007"'),
    "nested": ('title = "Kavier, prefill latency"', f"title = {'[' * 2000}{']' * 2000}"),
    "integer-beyond-64-bits": ("rows = 90", f"rows = {2**64}"),
    "several": ('spdx = "MIT"\nredistribute = true', 'redistribute = "yes"\ncolour = "blue"'),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_recipe_is_refused_by_file_key_and_reason(case: str, empty_archive: Archive) -> None:
    path = empty_archive.root / "recipes" / "kavier.toml"
    old, new = WRONG[case]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadUse) as caught:
        _ = empty_archive.recipes
    assert_golden(f"recipe/{case}", str(caught.value))


def test_unknown_names_list_what_there_is(archive: Archive) -> None:
    with pytest.raises(
        BadUse, match=r"burst: no such trace\n  nearest    burstgpt\n  there are  .*azure-2023, .*burstgpt"
    ):
        archive.select(["burst"])
    with pytest.raises(BadUse, match="burstgpt/4: no such workload\n  there are  burstgpt/1, burstgpt/2, burstgpt/3"):
        archive.select(["burstgpt/4"])


def test_paths_of_data_name_their_workload(archive: Archive) -> None:
    assert [str(each) for each in archive.select(["data/kavier/decode.parquet"])] == ["kavier/decode"]
    assert [str(each) for each in archive.select(["data/ragpulse/"])] == ["ragpulse/requests", "ragpulse/components"]
