"""Where `llm-traces restore` writes: files, folders, stdout; never over a file, and nothing of a damaged table."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.convert.parquet import METADATA_KEY
from llm_trace_archive.convert.restore import restore_to
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.lock.build import build
from llm_trace_archive.upstream.sources import Sources
from support.command import run_here
from support.mutations import ODD_JSON, faults, mutate
from support.programs import BIN
from support.small_archive import publish, upstream

WORKLOAD = "demo/few"
CONTENT = upstream(3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("restore")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        archive, _ = publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    return archive.root


def test_a_name_that_ends_in_a_slash_is_a_folder(root: Path, tmp_path: Path) -> None:
    done = run_here("restore", WORKLOAD, "-o", f"{tmp_path}/new/deep/", cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/new/deep/few.csv  sha256 ")
    assert (tmp_path / "new/deep/few.csv").read_bytes() == CONTENT


def test_a_dash_is_stdout_and_the_verdict_goes_to_stderr(root: Path) -> None:
    done = subprocess.run([BIN / "llm-traces", "restore", WORKLOAD, "-o", "-"], cwd=root, capture_output=True)
    assert (done.returncode, done.stdout) == (0, CONTENT)
    assert done.stderr.startswith(b"few.csv  sha256 ") and done.stderr.endswith(b"as pinned\n")
    assert not (root / "-").exists()


def test_stdout_gets_nothing_that_is_not_as_pinned(root: Path, tmp_path: Path) -> None:
    other = _copy(root, tmp_path)
    path = other / "recipes/demo.toml"
    text = path.read_text()
    start = text.index('sha256 = "') + len('sha256 = "')
    path.write_text(f"{text[:start]}{'0' * 64}{text[start + 64 :]}")
    done = subprocess.run([BIN / "llm-traces", "restore", WORKLOAD, "-o", "-"], cwd=other, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"") and b"has the wrong hash" in done.stderr


def test_a_file_that_exists_is_replaced_only_by_force(root: Path, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("mine")
    for output in (tmp_path / "few.csv", tmp_path):
        done = run_here("restore", WORKLOAD, "-o", output, cwd=root)
        assert done.returncode == 2 and "exists already\n  next  give another -o, or --force" in done.stderr
        assert (tmp_path / "few.csv").read_text() == "mine"
    assert run_here("restore", WORKLOAD, "-o", tmp_path, "--force", cwd=root).returncode == 0
    assert (tmp_path / "few.csv").read_bytes() == CONTENT


def test_a_planted_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in (".o.csv.part", ".o.csv.00000000.part", "o.csv.wrong"):
        (tmp_path / name).symlink_to("precious")
    assert run_here("restore", WORKLOAD, "-o", tmp_path / "o.csv", cwd=root).returncode == 0
    (tmp_path / "o.csv").unlink()
    (tmp_path / "o.csv").symlink_to("precious")
    assert run_here("restore", WORKLOAD, "-o", tmp_path / "o.csv", "--force", cwd=root).returncode == 2
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "few.csv/x"])
def test_a_name_that_no_file_can_have_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "few.csv").touch()
    done = run_here("restore", WORKLOAD, "-o", f"{tmp_path}/{name}", cwd=root)
    assert done.returncode == 2 and "can't be written" in done.stderr


def test_a_workload_of_several_files_is_written_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    other = Archive(_copy(root, tmp_path))
    files = {"one.csv": upstream(4), "two.csv": upstream(5)}
    (tmp_path / "demo").mkdir()
    with (other.root / "recipes/demo.toml").open("a") as recipe:
        recipe.write('[[workloads]]\nname = "both"\ntitle = "Both"\nfiles = [\n')
        for name, content in files.items():
            (tmp_path / "demo" / name).write_bytes(content)
            recipe.write(f'{{ name = "{name}", sha256 = "{hashlib.sha256(content).hexdigest()}" }},\n')
        recipe.write("]\n")
    build(other, *other.select(["demo/both"]), Sources(cache=tmp_path / "cache", mirror=str(tmp_path)))
    output = tmp_path / "output"
    output.mkdir()
    (output / "two.csv").write_text("mine")
    done = run_here("restore", "demo/both", "-o", output, cwd=other.root)
    assert done.returncode == 2 and f"{output}/two.csv: exists already" in done.stderr
    assert [each.name for each in output.iterdir()] == ["two.csv"]
    done = run_here("restore", "demo/both", "-o", "-", cwd=other.root)
    assert done.returncode == 2 and "has several upstream files" in done.stderr and done.stdout == ""
    assert run_here("restore", "demo/both", "-o", tmp_path / "new", cwd=other.root).returncode == 0
    assert {each.name: each.read_bytes() for each in (tmp_path / "new").iterdir()} == files


@pytest.mark.parametrize("rows", [-1, True, "3", 2.0, 4, 10**30, None])
def test_a_number_of_rows_that_no_file_can_have_is_refused(rows: object, root: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="of 3 rows"):
        _restore_with(root, tmp_path, lambda file: file.update(rows=rows))


def test_a_file_without_columns_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="the table is damaged"):
        _restore_with(root, tmp_path, lambda file: file["layout"].update(fields=[]))


def _restore_with(root: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Restore a table with a change in what its metadata says of its only upstream file."""
    archive = Archive(_copy(root, folder))
    path = archive.root / "data/demo/few.parquet"
    table, metadata = pq.read_table(path), dict(pq.read_metadata(path).metadata)
    files = json.loads(metadata[METADATA_KEY.encode()])
    change(files["files"][0])
    metadata[METADATA_KEY.encode()] = json.dumps(files).encode()
    pq.write_table(table.replace_schema_metadata(metadata), path)
    list(restore_to(archive, *archive.select([WORKLOAD]), folder / "few.csv"))


@pytest.mark.faults
@faults(40)
@given(st.randoms(use_true_random=False))
def test_a_damaged_table_is_refused_and_leaves_nothing(
    root: Path, tmp_path_factory: pytest.TempPathFactory, rng: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = Archive(_copy(root, folder))
    (workload,) = archive.select([WORKLOAD])
    path = archive.root / workload.path
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata or {}) | dict(pq.read_metadata(path).metadata)
    files = json.loads(metadata[METADATA_KEY.encode()])
    metadata[METADATA_KEY.encode()] = json.dumps(mutate(files, rng, ODD_JSON)).encode()
    if rng.random() < 0.3:
        table = table.drop_columns([rng.choice(table.column_names)])
    if rng.random() < 0.3 and table.num_columns:
        index = rng.randrange(table.num_columns)
        odd = pa.array([rng.choice((None, 1, "x", 1.5, [1]))] * len(table))
        table = table.set_column(index, table.column_names[index], odd)
    path.unlink()
    pq.write_table(table.replace_schema_metadata(metadata), path)
    output = folder / "output"
    output.mkdir()
    try:
        for written, _, _ in restore_to(archive, workload, output / "few.csv"):
            assert written.read_bytes() == CONTENT
    except Problem as problem:
        str(problem).encode()
        assert {each.name for each in output.iterdir()} <= {"few.csv.wrong"}


def _copy(root: Path, folder: Path) -> Path:
    """Copy an archive with its content as plain files, without git."""
    other = folder / "archive"
    for path in ("recipes/demo.toml", "schemas/recipe.schema.json", "datapackage.json", "data/demo/few.parquet"):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_bytes((root / path).read_bytes())
    return other
