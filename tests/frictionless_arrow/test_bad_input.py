"""Bad input to the Frictionless plugin: a refusal, soon, in little memory, without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Package, system
from hypothesis import given, settings
from hypothesis import strategies as st

import frictionless_arrow
from support.crafted_parquet import CRAFTED, HUGE, crafted, nulls
from support.frictionless_reports import (
    EXAMPLES,
    LAX,
    by_columns,
    command,
    kinds,
)


def refused(folder: Path, data: bytes, kind: str = "integer") -> str:
    """What the command says of a file, run with a bound on memory and time."""
    (folder / "x.parquet").write_bytes(data)
    schema = {"fields": [{"name": "x", "type": kind}]}
    resource = {"name": "x", "type": "file", "path": "x.parquet", "format": "parquet", "schema": schema}
    (folder / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (20, 20));"
        "from pathlib import Path; from frictionless import Package;"
        "report = Package('datapackage.json').validate();"
        "status = Path('/proc/self/status');"  # ru_maxrss would count what the parent had
        "lines = status.read_text().splitlines() if status.exists() else ['VmHWM: 0 kB'];"
        "print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmHWM')));"
        "print(report.flatten(['type', 'message']))"
    )
    source = str(Path(frictionless_arrow.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    peak, said = run.stdout.split("\n", 1)
    assert int(peak) < 400
    assert "source-error" in said or "encoding-error" in said
    return said


@pytest.mark.parametrize("claim", CRAFTED)
def test_crafted_claims_are_refused(tmp_path: Path, claim: str) -> None:
    refused(tmp_path, CRAFTED[claim](), "any")


def test_the_crafted_file_is_right_where_it_tells_the_truth(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(crafted(1000, 1000, 9, nulls(1000)))
    assert pq.read_table(tmp_path / "x.parquet")["x"].null_count == 1000


def test_broken_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(1000)}), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    refused(tmp_path, good[:-100])
    refused(tmp_path, good[: len(good) // 2] + good[-300:])
    refused(tmp_path, good[:-8] + HUGE.to_bytes(4, "little") + b"PAR1")
    refused(tmp_path, b"a,b\n1,2\n")
    refused(tmp_path, b"")


@settings(LAX, max_examples=EXAMPLES // 3)
@given(st.data())
def test_flipped_bytes_never_end_in_a_traceback(data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        pq.write_table(pa.table({"a": [1, None, 3] * 20, "b": ["x", "yy", None] * 20, "c": [[1], [], None] * 20}), path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        schema = {
            "fields": [
                {"name": "a", "type": "integer"},
                {"name": "b", "type": "string"},
                {"name": "c", "type": "array"},
            ]
        }
        by_columns(path, schema)


def test_text_that_is_not_utf8_is_an_encoding_error(tmp_path: Path) -> None:
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0")
    wrong = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ok\xff\xfe"))
    pq.write_table(pa.table({"x": wrong}), tmp_path / "b.parquet")
    assert "encoding-error" in refused(tmp_path, (tmp_path / "b.parquet").read_bytes(), "string")


def test_links_out_of_the_package_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "package", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    pq.write_table(pa.table({"a": [1]}), outside / "t.parquet")
    (inside / "t.parquet").symlink_to(outside / "t.parquet")
    schema = {"fields": [{"name": "a", "type": "integer"}]}
    resource = {"name": "t", "type": "file", "path": "t.parquet", "format": "parquet", "schema": schema}
    (inside / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource]}))
    report = Package.from_descriptor(str(inside / "datapackage.json")).validate()
    assert kinds(report) == ["resource-error"]
    for how in ([], ["--parallel"]):
        run = command(inside, "datapackage.json", *how)
        assert run.returncode == 1
        assert "is not safe" in "".join(run.stdout.split("\n")), run.stdout
    with system.use_context(trusted=True):
        assert Package.from_descriptor(str(inside / "datapackage.json")).validate().valid
    for path in ("../outside/t.parquet", str(outside / "t.parquet")):
        (inside / "datapackage.json").write_text(json.dumps({"name": "p", "resources": [resource | {"path": path}]}))
        run = command(inside, "datapackage.json")
        assert run.returncode == 1
        assert "is not safe" in run.stdout + run.stderr
        assert "Traceback" not in run.stderr
