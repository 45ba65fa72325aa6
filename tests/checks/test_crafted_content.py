"""Files made to harm whoever reads them, and corrupt ones: each is a finding, soon and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.crafted_parquet import CRAFTED, HUGE, crafted, nulls, whole
from support.programs import ROOT

NOT_PARQUET = {
    "empty": b"",
    "magic": b"PAR1",
    "text": b"a,b\n1,2\n",
    "no footer": whole(b""),
    "no struct": whole(b"\xff" * 50),
    "a footer before the file": b"PAR1" + HUGE.to_bytes(4, "little") + b"PAR1",
}
HONEST = "honest"
# Validates each file of a folder in place of a workload, with a lock that has the same hash and with one that has not.
VALIDATE = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.validate import validate
archive, findings = Archive(Path(sys.argv[1])), {}
(workload,) = archive.select(["kavier/decode"])
for path in sorted(Path(sys.argv[2]).iterdir()):
    for name, digest in (("forged", hash_file(path)[0]), ("true", "0" * 64)):
        lock = {"hash": digest, "bytes": path.stat().st_size, "facts": {"rows": 1000}}
        archive.__dict__["locked"] = {str(workload): lock}
        with Table(path) as table:
            results = [*validate(archive, workload, table)]
        findings[f"{path.name}, {name} lock"] = [each.name for each in results if not each.holds]
status = Path("/proc/self/status")  # ru_maxrss would include the parent's memory
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
findings["peak MiB"] = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps(findings))
"""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("crafted")
    contents = NOT_PARQUET | {name: make() for name, make in CRAFTED.items()}
    contents[HONEST] = crafted(1000, 1000, 9, nulls(1000))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-c", VALIDATE, str(ROOT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_crafted_files_are_findings_in_little_memory(findings: dict[str, Any]) -> None:
    assert findings["peak MiB"] < 400
    for name in CRAFTED:
        assert {"footer", "columns"} & set(findings[f"{name}, forged lock"]), name
        assert "sha256" in findings[f"{name}, true lock"], name


def test_a_crafted_file_is_read_if_its_claims_are_true(findings: dict[str, Any]) -> None:
    assert findings[f"{HONEST}, forged lock"] == ["checksums", "columns"]
    assert findings[f"{HONEST}, true lock"] == ["sha256", "checksums", "columns"]


def test_files_that_are_not_parquet_are_findings(findings: dict[str, Any]) -> None:
    for name in NOT_PARQUET:
        assert findings[f"{name}, forged lock"] == ["footer"]
        assert findings[f"{name}, true lock"] == ["sha256", "footer"]


def test_each_flipped_bit_of_a_footer_is_refused_or_read(tmp_path: Path) -> None:
    """In a process of its own: for some flips Arrow ends the process when it is asked for `ColumnChunkMetaData`."""
    columns = {"a": pa.array([["x"], [], None] * 9)}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, store_schema=False, write_page_checksum=True)
    code = """
import sys
from pathlib import Path
from llm_trace_archive.checks.integrity import find_damage
from llm_trace_archive.core.table import UNREADABLE, Table
path = Path(sys.argv[1])
content = path.read_bytes()
start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
refused = read = 0
for bit in range(start * 8, len(content) * 8):
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    with Table(path) as table:
        refused += any(find_damage(table))
        try:
            read += sum(len(batch) for _, batch in table.groups()) == 27
        except UNREADABLE:
            pass
print(refused, read)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    refused, read = map(int, done.stdout.split())
    assert refused > 500 and read > 500, (refused, read)
