"""Building, from the mirror and from look-alikes: always the same bytes, compared with pins, recipe and lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream, BadUse, Problem
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.lock.build import build
from llm_trace_archive.lock.describe import describe
from llm_trace_archive.upstream.sources import Sources
from support.command import run_here
from support.golden import assert_golden
from support.pinned import AZURE, AZURE_ROW, pinned
from support.programs import BIN, ROOT, Samples, llm_traces


def archive_of(samples: Samples, folder: Path) -> Path:
    """Make an archive with the samples' recipes and nothing built, outside git."""
    for name in ("recipes", "schemas"):
        shutil.copytree(samples.root / name, folder / name)
    return folder


def data(root: Path) -> dict[str, str]:
    """Return the sha256 of every file below data/."""
    files = [path for path in (root / "data").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_real_mirror_gives_the_lock(archive: Archive, empty_archive: Archive, mirror: Path) -> None:
    """The mirror's files build the committed tables, to the byte; files that are not available are reported by name."""
    done = run_here("build", "--jobs", "2", "--mirror", mirror, "--offline", cwd=empty_archive.root)
    assert done.returncode == 1, done.stderr
    expected = {each["path"]: each["hash"].removeprefix("sha256:") for each in archive.lock["resources"]}
    assert data(empty_archive.root) == expected
    assert "azure-2024/code" in done.stdout.splitlines()[-1]
    assert "burstgpt/3: BurstGPT_3.csv is not available" in done.stderr
    assert "not tried: offline" in done.stderr
    assert f"put the file at {mirror}/burstgpt/BurstGPT_3.csv" in done.stderr


def test_the_same_bytes_in_another_environment(samples: Samples, tmp_path: Path) -> None:
    """Another time zone, locale, hash seed and number of threads."""
    root = archive_of(samples, tmp_path)
    environment = {"TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    done = llm_traces("build", "--jobs", "8", "--mirror", samples.mirror, cwd=root, **environment)
    assert done.returncode == 0, done.stderr
    assert (root / "datapackage.json").read_bytes() == (samples.root / "datapackage.json").read_bytes()
    locked = Archive(samples.root).lock["resources"]
    assert data(root) == {each["path"]: each["hash"].removeprefix("sha256:") for each in locked}


def test_building_again_changes_nothing(samples: Samples, tmp_path: Path) -> None:
    root = archive_of(samples, tmp_path)
    states = []
    for _ in range(2):
        done = run_here("build", "mooncake", "kavier/decode", "--mirror", samples.mirror, cwd=root)
        assert done.returncode == 0, done.stderr
        states.append((data(root), (root / "datapackage.json").read_bytes(), (root / "README.md").read_bytes()))
    assert states[0] == states[1] and len(states[0][0]) > 1


def test_one_that_fails_does_not_stop_the_others(samples: Samples, tmp_path: Path) -> None:
    root = archive_of(samples, tmp_path / "archive")
    mirror = tmp_path / "mirror"
    shutil.copytree(samples.mirror, mirror)
    (mirror / "burstgpt" / "BurstGPT_2.csv").unlink()
    done = run_here("build", "burstgpt", "--mirror", mirror, "--offline", cwd=root)
    assert done.returncode == 1
    assert "2 built, 1 not built: burstgpt/2" in done.stdout
    assert [each["name"] for each in Archive(root).lock["resources"]] == ["burstgpt-1", "burstgpt-3"]


def test_an_unwritable_cache_is_no_fault_of_the_data_folder(samples: Samples, tmp_path: Path) -> None:
    root = archive_of(samples, tmp_path)
    done = run_here("build", "kavier/decode", "--mirror", samples.mirror, cwd=root, LLM_TRACES_CACHE="/proc/cache")
    assert done.returncode == 0, done.stderr
    done = run_here("build", "kavier/decode", cwd=root, LLM_TRACES_CACHE="/proc/cache")
    assert done.returncode == 2
    assert "the cache cannot keep raw_decode.csv" in done.stderr and "LLM_TRACES_CACHE" in done.stderr


def test_wrong_bytes_are_reported_and_not_built(samples: Samples, tmp_path: Path) -> None:
    """Truncated, bit-flipped, empty, a pointer, a page: none matches the pin."""
    root = archive_of(samples, tmp_path / "archive")
    original = (samples.mirror / "kavier" / "raw_decode.csv").read_bytes()
    flipped = bytearray(original)
    flipped[len(flipped) // 2] ^= 1
    for case, content in {
        "truncated": original[:-100],
        "bit-flipped": bytes(flipped),
        "empty": b"",
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:07ce\nsize 56354493\n",
        "html": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    }.items():
        path = tmp_path / "mirror" / "kavier" / "raw_decode.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        done = run_here("build", "kavier/decode", "--mirror", tmp_path / "mirror", "--offline", cwd=root)
        assert done.returncode == 1
        assert_golden(f"build/{case}", done.stderr, root=tmp_path)
        assert data(root) == {} and path.read_bytes() == content, "the mirror's file is the user's"


def test_a_table_that_contradicts_its_recipe(empty_archive: Archive) -> None:
    text = AZURE + AZURE_ROW * 2
    sources = pinned(empty_archive, "azure-2023/code", text.encode(), rows=3)
    with pytest.raises(Problem) as caught:
        build(empty_archive, *empty_archive.select(["azure-2023/code"]), sources)
    assert_golden("build/expectations", str(caught.value))


@pytest.fixture
def relocked(samples: Samples, tmp_path: Path) -> Callable[..., tuple[Archive, Workload, Sources]]:
    """A function that makes an archive with one built workload, and writes other facts into its lock."""

    def relock(**tools: str) -> tuple[Archive, Workload, Sources]:
        archive = Archive(archive_of(samples, tmp_path / "archive"))
        sources = Sources(cache=tmp_path / "cache", mirror=str(samples.mirror), offline=True)
        (workload,) = archive.select(["kavier/decode"])
        describe(archive, [build(archive, workload, sources)])
        lock = json.loads((archive.root / "datapackage.json").read_text())
        lock["resources"][0]["hash"] = "sha256:" + "0" * 64
        lock["resources"][0]["provenance"]["tools"] |= tools
        (archive.root / "datapackage.json").write_text(json.dumps(lock))
        return Archive(archive.root), workload, sources

    return relock


def test_other_bytes_with_the_same_recipe_and_tools(relocked: Callable[..., tuple[Archive, Workload, Sources]]) -> None:
    archive, workload, sources = relocked()
    before = data(archive.root)
    with pytest.raises(BadUpstream, match="the build is not deterministic"):
        build(archive, workload, sources)
    assert data(archive.root) == before


@pytest.mark.parametrize("is_here", [True, False])
def test_a_column_that_becomes_optional_is_no_bug(samples: Samples, tmp_path: Path, is_here: bool) -> None:
    root = archive_of(samples, tmp_path / "archive")
    assert run_here("build", "kavier/decode", "--mirror", samples.mirror, cwd=root).returncode == 0
    recipe = root / "recipes/kavier.toml"
    recipe.write_text(recipe.read_text().replace("gpu = { ", "gpu = { optional = true, ", 1))
    if not is_here:
        (root / "data/kavier/decode.parquet").unlink()
    done = run_here("build", "kavier/decode", "--mirror", samples.mirror, cwd=root)
    assert (done.returncode == 0) is is_here
    assert is_here or "`optional` of the recipe changed: llm-traces get kavier/decode, then build again" in done.stderr


def test_other_bytes_with_another_pyarrow(
    relocked: Callable[..., tuple[Archive, Workload, Sources]], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, workload, sources = relocked(pyarrow="1.2.3")
    before = data(archive.root)
    pinned = {("pyarrow", "build"): "1.2.3"}
    monkeypatch.setattr("llm_trace_archive.lock.build.pinned_version", lambda *names: pinned[names])
    monkeypatch.delattr(pyarrow, "arange", raising=False)  # of pyarrow 21; 17 is enough to build
    with pytest.raises(BadUse) as caught:
        build(archive, workload, sources)
    places = {"sha256": archive.locked["kavier/decode"]["hash"][7:], "pyarrow": pyarrow.__version__}
    got = caught.value.details["got"]
    assert_golden("build/another-pyarrow", str(caught.value), got=got, **places)
    assert data(archive.root) == before
    pinned["pyarrow", "build"] = pyarrow.__version__
    assert build(archive, workload, sources).sha256 == got.removeprefix("sha256:"), "the new lock will name it"


def test_ctrl_c(samples: Samples, tmp_path: Path) -> None:
    root = archive_of(samples, tmp_path)
    process = subprocess.Popen(
        [BIN / "llm-traces", "build", "--mirror", samples.mirror], cwd=root, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    process.stdout.readline()  # the first workload is done
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "the same command resumes" in errors
    assert [path for path in (root / "data").rglob(".*") if path.is_file()] == []
    assert run_here("build", "--mirror", samples.mirror, cwd=root).returncode == 0


def test_importing_is_light() -> None:
    heavy = (
        "{'pyarrow', 'requests', 'jsonschema', 'numba', 'frictionless', 'datasets', 'huggingface_hub', 'yaml', 'rich'}"
    )
    code = f"import sys, llm_trace_archive.cli.main; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.check_output(
        [sys.executable, "-c", code], text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
    )
    assert found.strip() == "[]"
