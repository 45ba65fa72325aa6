"""Files made to harm whoever reads them, with a lock that says they are right: a finding, soon and in little memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.validate import validate
from support.crafted_parquet import CRAFTED, HUGE, crafted, nulls, whole
from support.programs import Samples

NAME = "kavier/decode"
RUN = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.validate import validate
archive = Archive(Path(sys.argv[1]))
for result in validate(archive, archive.select([sys.argv[2]])[0]):
    print("" if result.holds else f"{result.check}: {result}")
status = Path("/proc/self/status")  # ru_maxrss would count what the parent had
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def clone(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.clone(tmp_path_factory.mktemp("crafted"))


@pytest.fixture
def archive(clone: Path) -> Iterator[Archive]:
    lock, path = clone / "datapackage.json", clone / f"data/{NAME}.parquet"
    text, link = lock.read_text(), path.readlink()
    yield Archive(clone)
    lock.write_text(text)
    path.unlink()
    path.symlink_to(link)


def plant(archive: Archive, content: bytes, in_lock: bool) -> None:
    path = archive.root / f"data/{NAME}.parquet"
    path.unlink()
    path.write_bytes(content)
    if in_lock:
        lock = archive.lock
        resource = next(each for each in lock["resources"] if each["path"] == f"data/{NAME}.parquet")
        resource |= {"bytes": len(content), "hash": f"sha256:{hashlib.sha256(content).hexdigest()}"}
        (archive.root / "datapackage.json").write_text(json.dumps(lock))
        archive.reread()


@pytest.mark.parametrize("claim", CRAFTED)
def test_crafted_claims_are_refused(archive: Archive, claim: str) -> None:
    plant(archive, CRAFTED[claim](), in_lock=True)
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(archive.root), NAME], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    *found, peak = run.stdout.splitlines()
    assert int(peak) < 400
    assert any(each.startswith(("integrity: footer and page headers", "schema: columns")) for each in found), found


def test_the_crafted_file_is_read_where_it_tells_the_truth(archive: Archive) -> None:
    plant(archive, crafted(1000, 1000, 9, nulls(1000)), in_lock=True)
    assert "columns" in {each.name for each in validate(archive, archive.select([NAME])[0]) if not each.holds}


@pytest.mark.parametrize("in_lock", [True, False])
@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"a,b\n1,2\n", whole(b""), whole(b"\xff" * 50), b"PAR1" + HUGE.to_bytes(4, "little") + b"PAR1"],
    ids=["empty", "magic", "text", "no footer", "no struct", "a footer before the file"],
)
def test_what_is_no_parquet_file_is_a_finding(archive: Archive, content: bytes, in_lock: bool) -> None:
    plant(archive, content, in_lock)
    found = [each for each in validate(archive, archive.select([NAME])[0]) if not each.holds]
    assert "footer and page headers" in {each.name for each in found}, found
