"""The three doors, each opened on a fresh clone by the command that a user types."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_trace_archive.annex.setup import setup
from llm_trace_archive.core.archive import Archive
from support.programs import Samples, git, llm_traces

SOME = ("kavier", "ragpulse")


def run(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


def run_well(command: str, cwd: Path, **environment: str) -> str:
    done = run(command, cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def load(code: str, cwd: Path) -> Any:
    """Evaluate an expression over `load_dataset` in a new process, as JSON."""
    program = f"import json\nfrom datasets import load_dataset\nprint(json.dumps({code}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def copy(clone: Path, to: Path) -> Path:
    return Path(shutil.copytree(clone, to / "llm-trace-archive", symlinks=True))


@pytest.fixture(scope="module")
def some(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the content of SOME traces; don't change it."""
    folder = samples.clone(tmp_path_factory.mktemp("some"))
    llm_traces("setup", cwd=folder, check=True)
    run_well(f"datalad get {' '.join(f'data/{each}' for each in SOME)}", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    here = {path.parent.name for path in folder.glob("data/*/*.parquet") if path.exists()}
    assert here == {*SOME}, "only what was asked for"
    return folder


@pytest.fixture(scope="module")
def clone(some: Path, samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with all content; don't change it."""
    folder = copy(some, tmp_path_factory.mktemp("all"))
    run_well("datalad get data", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    return folder


def test_frictionless_validate(clone: Path) -> None:
    for environment in ({"FRICTIONLESS_ARROW": "off"}, {}):  # stock, and with our plugin
        output = run_well("frictionless validate datapackage.json", clone, **environment)
        assert "INVALID" not in output
        assert output.count("VALID") == len(Archive(clone).lock["resources"])


def test_frictionless_finds_a_changed_byte_and_missing_content(some: Path, tmp_path: Path) -> None:
    """Missing content is invalid to stock frictionless; our plugin reports it and judges the rest."""
    folder = copy(some, tmp_path)
    here = {each["name"] for each in Archive(folder).lock["resources"] if each["trace"] in SOME}
    stock = run("frictionless validate --json datapackage.json", folder, FRICTIONLESS_ARROW="off")
    assert {task["name"] for task in json.loads(stock.stdout)["tasks"] if task["valid"]} == here
    ours = run("frictionless validate --json datapackage.json", folder)
    tasks = json.loads(ours.stdout)["tasks"]
    assert ours.returncode == 0 and {task["name"] for task in tasks if not task["warnings"]} == here
    assert "llm-traces get" in ours.stderr
    one = "frictionless validate datapackage.json --resource-name kavier-decode"
    run_well(one, folder)
    path = (folder / "data/kavier/decode.parquet").resolve()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    done = run(one, folder)
    assert done.returncode == 1 and "hash-count" in done.stdout


def test_load_dataset(clone: Path) -> None:
    """Canonical columns of every trace by default; all columns of one by its name, a split per workload."""
    canonical = [field["name"] for field in json.loads((clone / "schemas/request.json").read_text())["fields"]]
    requests = [each for each in Archive(clone).lock["resources"] if each["table"] == "request"]
    once = [each for each in requests if "sameRequestsAs" not in each]
    every, one = 'load_dataset("llm-trace-archive")["train"]', 'load_dataset("llm-trace-archive", "burstgpt")'
    others = ("kavier-utilisation", "ragpulse-components")  # tables of another kind have a config of their own
    rows, columns, traces, splits, all_columns, *others_rows = load(
        f"[{every}.num_rows, {every}.column_names, sorted(set({every}['trace'])), "
        f"{{k: v.num_rows for k, v in {one}.items()}}, {one}['3'].column_names, "
        f'*(load_dataset("llm-trace-archive", name).num_rows for name in {others})]',
        clone.parent,
    )
    assert rows == sum(each["facts"]["rows"] for each in once) and len(once) < len(requests)
    assert columns == canonical
    assert traces == sorted({each["trace"] for each in once})
    assert splits == {each["workload"]: each["facts"]["rows"] for each in requests if each["trace"] == "burstgpt"}
    assert all_columns == [*canonical, "total_tokens"]
    assert len(others_rows) == 2 and all(others_rows)


def test_load_dataset_streaming(clone: Path) -> None:
    # To the end: Arrow's threads may abort a process that exits while they still read ahead.
    first, third = load(
        '[list(load_dataset("llm-trace-archive", streaming=True)["train"])[0],'
        ' list(load_dataset("llm-trace-archive", "burstgpt", streaming=True)["3"])[0]]',
        clone.parent,
    )
    assert first["request_id"] == 0
    assert third["trace"] == "burstgpt" and third["workload"] == "3"


def test_missing_content_does_not_break_load_dataset(some: Path) -> None:
    code = '[sorted(set({0})["train"]["trace"])), list({0}, "kavier"))]'.format('load_dataset("llm-trace-archive"')
    assert load(code, some.parent) == [[*SOME], ["prefill", "decode"]]
    lines = llm_traces("list", cwd=some).stdout.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("not here")] == [
        f"{each['trace']}/{each['workload']}" for each in Archive(some).lock["resources"] if each["trace"] not in SOME
    ]


def test_drop_and_get_again(some: Path, samples: Samples, tmp_path: Path) -> None:
    folder = copy(some, tmp_path)
    path = folder / "data/kavier/decode.parquet"
    before = path.read_bytes()
    # No one could build it again: neither the cache nor a server has what only the mirror had.
    assert run("datalad drop data/kavier", folder).returncode == 1 and path.exists()
    run_well("datalad drop data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert not path.exists() and path.is_symlink()
    run_well("datalad get data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert path.read_bytes() == before
    assert git("status", "--porcelain", cwd=folder) == ""


def test_the_repository_itself_opens(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    """A clone of this repository, its real content built by the special remote from the mirror."""
    git("clone", "--quiet", "--no-local", str(archive.root), "llm-trace-archive", cwd=tmp_path)
    folder = tmp_path / "llm-trace-archive"
    setup(Archive(folder))
    locked = " ".join(each["path"] for each in archive.lock["resources"])
    run_well(f"datalad get {locked}", folder, LLM_TRACES_MIRROR=str(mirror))
    run_well("frictionless validate datapackage.json", folder)
    rows = load('load_dataset("llm-trace-archive")["train"].num_rows', tmp_path)
    assert rows == sum(each["facts"]["rows"] for each in archive.lock["resources"] if each["table"] == "request")
