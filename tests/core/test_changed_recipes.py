"""Recipes changed at random: each is used, from `list` to a build, or refused."""

from __future__ import annotations

import contextlib
import random
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.checks.figures import check_figures
from llm_trace_archive.convert.table import write_proven_table
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.catalogue import entries, format_entries, format_info
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.core.links import workloads_by_key
from llm_trace_archive.core.table import Table
from llm_trace_archive.demo.lookalikes import write_upstream
from llm_trace_archive.lock.describe import generated
from llm_trace_archive.lock.validate import validate_package
from llm_trace_archive.workload.catalogue import Traces
from support.mutations import faults, mutate
from support.programs import ROOT

ODD_TEXT = (
    "", "\n", '"', "'''", "[", "]]", "{", "= ", "# ", "\x00", "\t", ".", "9" * 5000, "\udcff", "é", "1979-05-27", "nan",
)  # fmt: skip
TRACES = ("kavier", "mooncake", "burstgpt", "ragpulse", "marconi", "azure-2023")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    for trace in TRACES:
        write_upstream(trace, folder, 10)
    return folder


@pytest.mark.faults
@pytest.mark.parametrize("trace", TRACES)
@faults(5)
@given(st.randoms(use_true_random=False))
def test_a_changed_recipe_is_used_or_refused(
    upstream: Path, tmp_path_factory: pytest.TempPathFactory, trace: str, rng: random.Random
) -> None:
    root = tmp_path_factory.mktemp("archive")
    (root / "recipes").mkdir()
    (root / "schemas").mkdir()
    text = (ROOT / f"recipes/{trace}.toml").read_text()
    changed = _change_text(text, rng) if rng.random() < 0.3 else tomlkit.dumps(mutate(tomllib.loads(text), rng))
    (root / f"recipes/{trace}.toml").write_bytes(changed.encode("utf-8", "surrogatepass"))
    try:
        archive = Archive(root)
        _show(archive)
        for workload in archive.select():
            originals = {file.name: upstream / trace / file.name for file in workload.files}
            if all(path.is_file() for path in originals.values()):
                with contextlib.suppress(Problem):
                    _build(archive, workload, originals, root / "table.parquet")
    except Problem as problem:
        assert len(str(problem)) < 5000
    finally:
        shutil.rmtree(root)


def _show(archive: Archive) -> None:
    found = list(entries(archive, archive.select()))
    format_entries(found, wide=True).encode()
    Traces(found).as_json().encode()
    for each in found:
        format_info([each]).encode()
    workloads_by_key(archive)
    for _, text in generated(archive):
        text.encode()
    for result in validate_package(archive):
        str(result).encode()


def _build(archive: Archive, workload: Any, originals: dict[str, Path], path: Path) -> None:
    write_proven_table(workload, archive.schema(workload), originals, path)
    with Table(path) as table:
        for result in check_figures(workload, table):
            str(result).encode()


def _change_text(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(text))
        text = text[:start] + rng.choice(ODD_TEXT) + text[start + rng.choice((0, 1, 5, 80)) :]
    return text
