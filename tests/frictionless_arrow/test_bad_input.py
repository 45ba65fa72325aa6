"""Bad input to the Frictionless plugin: it is refused soon, in little memory, without a traceback."""

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

VALIDATE = """
import json, resource
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
from frictionless import Package
errors = [[task.name, error.type] for task in Package("datapackage.json").validate().tasks for error in task.errors]
status = Path("/proc/self/status")  # ru_maxrss would include the parent's memory
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
peak = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps([errors, peak]))
"""


def test_crafted_and_broken_files_are_refused_in_little_memory(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": range(1000)}), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    offsets = pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0")
    not_utf8 = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ok\xff\xfe"))
    pq.write_table(pa.table({"x": not_utf8}), tmp_path / "not-utf8.parquet")
    contents = {name.replace(" ", "-"): make() for name, make in CRAFTED.items()} | {
        "end-cut-off": good[:-100],
        "middle-cut-out": good[: len(good) // 2] + good[-300:],
        "length-of-footer": good[:-8] + HUGE.to_bytes(4, "little") + b"PAR1",
        "text": b"a,b\n1,2\n",
        "empty": b"",
        "not-utf8": (tmp_path / "not-utf8.parquet").read_bytes(),
    }
    resources = []
    for name, content in contents.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
        field = {"name": "x", "type": "string" if name == "not-utf8" else "any"}
        resources.append({"name": name, "type": "file", "path": f"{name}.parquet", "schema": {"fields": [field]}})
        unique = field | {"constraints": {"unique": True}}
        resources.append(resources[-1] | {"name": f"{name}-unique", "schema": {"fields": [unique]}})
    (tmp_path / "datapackage.json").write_text(json.dumps({"name": "p", "resources": resources}))
    environment = os.environ | {"PYTHONPATH": str(Path(frictionless_arrow.__file__).parents[1])}
    command = [sys.executable, "-c", VALIDATE]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    errors, peak = json.loads(done.stdout)
    assert peak < 400
    expected = {each["name"]: "source-error" for each in resources}
    assert dict(errors) == expected | {"not-utf8": "encoding-error", "not-utf8-unique": "encoding-error"}


def test_a_crafted_file_is_read_if_its_claims_are_true(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(crafted(1000, 1000, 9, nulls(1000)))
    schema = {"fields": [{"name": "x", "type": "integer"}, {"name": "y", "type": "integer"}]}
    report = by_columns(tmp_path / "x.parquet", schema, limit_errors=2)
    assert (report.task.labels, kinds(report)) == (["x"], ["missing-label", "blank-row"])


@pytest.mark.faults
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
