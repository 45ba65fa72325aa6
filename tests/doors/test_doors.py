"""The three doors, each opened on a fresh clone by the command a user types, to the letter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from support.programs import Samples, git, llm_traces


def run(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )


def load(code: str, cwd: Path) -> object:
    """Evaluate an expression over `load_dataset` in a new process, as JSON."""
    program = f"import json\nfrom datasets import load_dataset\nprint(json.dumps({code}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def clone(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with all content, obtained as the README says."""
    folder = samples.clone(tmp_path_factory.mktemp("doors"))
    llm_traces("setup", cwd=folder, check=True)
    done = run("datalad get data/burstgpt", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (folder / "data/burstgpt").iterdir() if path.exists()) == [
        "1.parquet", "2.parquet", "3.parquet",
    ]  # fmt: skip
    assert not (folder / "data/mooncake/conversation.parquet").exists(), "only what was asked for"
    done = run("datalad get data", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_frictionless_validate(clone: Path) -> None:
    for environment in ({"FRICTIONLESS_ARROW": "off"}, {}):  # stock, and with our plugin
        done = run("frictionless validate datapackage.json", clone, **environment)
        assert done.returncode == 0 and "INVALID" not in done.stdout, done.stdout
        assert done.stdout.count("VALID") == len(Archive(clone).lock["resources"])


def test_frictionless_finds_a_changed_byte_and_what_is_absent(samples: Samples, tmp_path: Path) -> None:
    """Of a clone with some content, what is present passes; a flipped byte does not.

    What is absent is invalid to stock frictionless; with our plugin it is told, and the rest is judged.
    """
    folder = samples.clone(tmp_path)
    llm_traces("setup", cwd=folder, check=True)
    run("datalad get data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    here = {"kavier-prefill", "kavier-decode", "kavier-utilisation"}
    stock = run("frictionless validate --json datapackage.json", folder, FRICTIONLESS_ARROW="off")
    assert {task["name"] for task in json.loads(stock.stdout)["tasks"] if task["valid"]} == here
    ours = run("frictionless validate --json datapackage.json", folder)
    tasks = json.loads(ours.stdout)["tasks"]
    assert ours.returncode == 0 and {task["name"] for task in tasks if not task["warnings"]} == here
    assert "llm-traces get" in ours.stderr
    assert run("frictionless validate datapackage.json --resource-name kavier-decode", folder).returncode == 0
    path = (folder / "data/kavier/decode.parquet").resolve()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    done = run("frictionless validate datapackage.json --resource-name kavier-decode", folder)
    assert done.returncode == 1 and "hash-count" in done.stdout


def test_load_dataset(clone: Path) -> None:
    """Canonical columns of every trace by default; all columns of one by its name, a split a workload."""
    archive = Archive(clone)
    canonical = [field["name"] for field in json.loads((clone / "schemas/request.json").read_text())["fields"]]
    requests = [each for each in archive.lock["resources"] if each["table"] == "request"]
    rows = sum(each["facts"]["rows"] for each in requests)
    every = 'load_dataset("llm-trace-archive")["train"]'
    assert load(f"[{every}.num_rows, {every}.column_names, sorted(set({every}['trace']))]", clone.parent) == [
        rows, canonical, sorted({each["trace"] for each in requests}),
    ]  # fmt: skip
    one = load('{k: v.num_rows for k, v in load_dataset("llm-trace-archive", "burstgpt").items()}', clone.parent)
    assert one == {each["workload"]: each["facts"]["rows"] for each in requests if each["trace"] == "burstgpt"}
    columns = load('load_dataset("llm-trace-archive", "burstgpt")["3"].column_names', clone.parent)
    assert columns == [*canonical, "total_tokens"]


def test_load_dataset_streaming(clone: Path) -> None:
    # To the end: Arrow's threads may abort a process that exits while they still read ahead.
    code = 'list(load_dataset("llm-trace-archive", {}streaming=True)["{}"])[0]'
    first = load(code.format("", "train"), clone.parent)
    assert isinstance(first, dict) and first["request_id"] == 0
    third = load(code.format('"burstgpt", ', "3"), clone.parent)
    assert isinstance(third, dict) and third["trace"] == "burstgpt" and third["workload"] == "3"


def test_tables_that_are_not_requests_load_by_their_own_name(clone: Path) -> None:
    code = (
        '[load_dataset("llm-trace-archive", name).num_rows for name in ("kavier-utilisation", "ragpulse-components")]'
    )
    rows = load(code, clone.parent)
    assert isinstance(rows, list) and all(rows)


def test_what_is_absent_does_not_break_the_others(samples: Samples, tmp_path: Path) -> None:
    folder = samples.clone(tmp_path)
    llm_traces("setup", cwd=folder, check=True)
    done = run("datalad get data/kavier data/ragpulse", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    assert load('sorted(set(load_dataset("llm-trace-archive")["train"]["trace"]))', tmp_path) == ["kavier", "ragpulse"]
    assert load('list(load_dataset("llm-trace-archive", "kavier"))', tmp_path) == ["prefill", "decode"]
    told = llm_traces("list", cwd=folder).stdout
    assert [line.split()[0] for line in told.splitlines() if line.endswith("not here")] == [
        f"{each['trace']}/{each['workload']}"
        for each in Archive(folder).lock["resources"]
        if each["trace"] not in ("kavier", "ragpulse")
    ]


def test_drop_and_get_again(samples: Samples, tmp_path: Path) -> None:
    folder = samples.clone(tmp_path)
    llm_traces("setup", cwd=folder, check=True)
    path = folder / "data/kavier/decode.parquet"
    for _ in range(2):
        done = run("datalad get data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
        assert done.returncode == 0 and path.exists(), done.stdout + done.stderr
        before = path.read_bytes()
        # Nobody could build it again: neither the cache nor a server has what only the mirror had.
        assert run("datalad drop data/kavier", folder).returncode == 1 and path.exists()
        dropped = run("datalad drop data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
        assert dropped.returncode == 0, dropped.stdout + dropped.stderr
        assert not path.exists() and path.is_symlink()
    run("datalad get data/kavier", folder, LLM_TRACES_MIRROR=str(samples.mirror))
    assert path.read_bytes() == before
    assert git("status", "--porcelain", cwd=folder) == ""


def test_the_repository_itself_opens(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    """A clone of this repository, its real content built by the special remote from the mirror."""
    git("clone", "--quiet", "--no-local", str(archive.root), "llm-trace-archive", cwd=tmp_path)
    folder = tmp_path / "llm-trace-archive"
    llm_traces("setup", cwd=folder, check=True)
    locked = " ".join(each["path"] for each in archive.lock["resources"])
    done = run(f"datalad get {locked}", folder, LLM_TRACES_MIRROR=str(mirror))
    assert done.returncode == 0, done.stdout + done.stderr
    assert run("frictionless validate datapackage.json", folder).returncode == 0
    rows = load('load_dataset("llm-trace-archive")["train"].num_rows', tmp_path)
    assert rows == sum(each["facts"]["rows"] for each in archive.lock["resources"] if each["table"] == "request")
