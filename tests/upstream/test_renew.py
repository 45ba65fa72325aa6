"""Files without a pin: refused, accepted and recorded in the lock, or pinned from the current upstream."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from support.command import run_here
from support.pinned import AZURE, AZURE_ROW, pinned
from support.programs import Samples


@pytest.fixture
def unpinned(samples: Samples, tmp_path: Path) -> Path:
    """The samples' archive with one recipe that has no pin."""
    root = tmp_path / "archive"
    for name in ("recipes", "schemas"):
        shutil.copytree(samples.root / name, root / name)
    path = root / "recipes" / "kavier.toml"
    text = re.sub(r'(name = "raw_decode.csv"), sha256 = "\w+", bytes = \d+', r"\1", path.read_text())
    path.write_text(text)
    assert Archive(root).recipe("kavier").workload("decode").files[0].sha256 is None
    return root


def test_unpinned_files_are_refused_unless_accepted_and_recorded(unpinned: Path, samples: Samples) -> None:
    done = run_here("build", "kavier/decode", "--mirror", samples.mirror, cwd=unpinned)
    assert done.returncode == 1
    assert "unpinned" in done.stderr and "--accept-unpinned" in done.stderr and "llm-traces pin kavier" in done.stderr
    done = run_here("build", "kavier/decode", "--mirror", samples.mirror, "--accept-unpinned", cwd=unpinned)
    assert done.returncode == 0, done.stderr
    lock = json.loads((unpinned / "datapackage.json").read_text())
    (pin,) = lock["resources"][0]["provenance"]["pins"]
    content = (samples.mirror / "kavier" / "raw_decode.csv").read_bytes()
    assert pin["unpinned"] is True and pin["sha256"] == hashlib.sha256(content).hexdigest()


def test_pin_shows_the_difference_and_writes_the_recipe(unpinned: Path, samples: Samples) -> None:
    path = unpinned / "recipes" / "kavier.toml"
    before = path.read_text()
    done = run_here("pin", "kavier", "--mirror", samples.mirror, cwd=unpinned)
    assert done.returncode == 0, done.stderr
    content = (samples.mirror / "kavier" / "raw_decode.csv").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert "raw_prefill.csv: as pinned" in done.stdout
    assert f"was  sha256 none, unknown bytes\n  now  sha256 {digest}, {len(content)} bytes" in done.stdout
    assert "recipes/kavier.toml: updated" in done.stdout
    pin = f'name = "raw_decode.csv", sha256 = "{digest}", bytes = {len(content)}'
    assert path.read_text() == before.replace('name = "raw_decode.csv"', pin)
    assert run_here("build", "kavier/decode", "--mirror", samples.mirror, cwd=unpinned).returncode == 0
    again = run_here("pin", "kavier", "--mirror", samples.mirror, cwd=unpinned)
    assert "updated" not in again.stdout and again.stdout.count("as pinned") == 3


def test_pin_reports_a_changed_upstream(empty_archive: Archive) -> None:
    pinned(empty_archive, "azure-2023/code", (AZURE + AZURE_ROW).encode())
    old = empty_archive.recipe("azure-2023").workload("code").files[0]
    mirror = empty_archive.root.parent / "mirror"
    changed = (AZURE + AZURE_ROW * 2).encode()
    (mirror / "azure-2023" / old.name).write_bytes(changed)
    done = run_here("pin", "azure-2023/code", "--mirror", mirror, cwd=empty_archive.root)
    assert f"was  sha256 {old.sha256}, {old.bytes} bytes" in done.stdout
    new = Archive(empty_archive.root).recipe("azure-2023").workload("code").files[0]
    assert (new.sha256, new.bytes) == (hashlib.sha256(changed).hexdigest(), len(changed))


def test_pin_of_an_unavailable_file(empty_archive: Archive, tmp_path: Path) -> None:
    before = (empty_archive.root / "recipes" / "azure-2023.toml").read_text()
    done = run_here("pin", "azure-2023", "--mirror", tmp_path, cwd=empty_archive.root, LLM_TRACES_OFFLINE="1")
    assert done.returncode == 1 and "is not available" in done.stderr and "Traceback" not in done.stderr
    assert (empty_archive.root / "recipes" / "azure-2023.toml").read_text() == before
