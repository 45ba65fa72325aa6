"""The command line as a user meets it: help, exit codes, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import typer.main

from llm_trace_archive.cli.main import app
from llm_trace_archive.core.archive import Archive
from support.command import run_here
from support.programs import BIN, ROOT, Samples, git, llm_traces

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_documented(name: str) -> None:
    assert (COMMANDS[name].help or "").partition("Example:")[0].strip().endswith(".")
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert parameter.help, f"{name} --{parameter.name} lacks help"
    assert f"## `llm-traces {name}`" in (ROOT / "docs" / "cli.md").read_text()


def test_the_reference_is_generated(tmp_path: Path) -> None:
    import subprocess
    import sys

    made = subprocess.run(
        [sys.executable, "-m", "typer", "llm_trace_archive.cli.main", "utils", "docs", "--name", "llm-traces"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    ).stdout  # fmt: skip
    assert (ROOT / "docs" / "cli.md").read_text().strip() == made.strip(), "run make docs"


def test_outside_an_archive(tmp_path: Path) -> None:
    done = llm_traces("setup", cwd=tmp_path)
    assert done.returncode == 2
    assert "not inside an archive" in done.stderr and "--archive DIR" in done.stderr


def test_an_archive_given_by_option_and_by_environment(samples: Samples, tmp_path: Path) -> None:
    by_option = llm_traces("--archive", samples.root, "list", cwd=tmp_path)
    by_environment = llm_traces("list", cwd=tmp_path, LLM_TRACES_ARCHIVE=str(samples.root))
    assert by_option.returncode == 0 and by_option.stdout == by_environment.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["build", "burst"], "burst: no such trace"),
        (["info", "burstgpt/9"], "burstgpt/9: no such workload"),
        (["restore", "burstgpt", "-o", "x"], "name one workload"),
        (["build", "--jobs", "0"], "--jobs"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_exits_with_2(samples: Samples, command: list[str], said: str) -> None:
    done = llm_traces(*command, cwd=samples.root)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_list_shows_rows_period_capabilities_licence_and_presence(samples: Samples, tmp_path: Path) -> None:
    lines = run_here("list", "--wide", cwd=samples.root).stdout.splitlines()
    assert lines[0].split() == ["trace/workload", "rows", "period", "capabilities", "licence", "content"]
    third = next(line for line in lines if line.startswith("burstgpt/3"))
    for part in ("400", "days", "arrivals, sessions, latencies, failures", "CC-BY-4.0", "here"):
        assert part in third
    clone = samples.clone(tmp_path)
    output = llm_traces("list", cwd=clone).stdout
    assert f"{len(lines) - 1} of {len(lines) - 1} are not here" in output


def test_info_shows_all_of_a_trace(archive: Archive) -> None:
    for trace in archive.recipes:
        output = run_here("info", trace, cwd=ROOT).stdout
        flat = " ".join(output.split())
        recipe = archive.recipe(trace)
        for part in (recipe.title, recipe.cite, recipe.licence["spdx"], recipe.homepage):
            assert " ".join(part.split()) in flat
        for workload in recipe.workloads:
            for _, url in workload.sources:
                assert url in output
            for file in workload.files if workload.listed is None else ():
                assert (file.pin or ("", "not pinned"))[1] in output
        for anomaly in recipe.anomalies:
            assert anomaly["what"].split(":")[0][:30] in flat


def test_restore_writes_the_upstream_file(samples: Samples, tmp_path: Path) -> None:
    archive = Archive(samples.root)
    pinned = 0
    for workload in archive.select():
        output = tmp_path / str(workload).replace("/", "-")
        output.mkdir()
        done = run_here("restore", str(workload), "-o", output, cwd=samples.root)
        if not workload.restores:
            assert done.returncode == 2 and "restores = false" in done.stderr
            continue
        assert done.returncode == 0, done.stderr
        for file in workload.files:
            original = samples.mirror / workload.trace / file.name
            if (output / file.name).exists():  # the content of what is compressed goes by another name
                pinned += 1
                assert (output / file.name).read_bytes() == original.read_bytes()
                assert "as pinned" in done.stdout
            else:
                assert f"as in {file.name}" in done.stdout
    assert pinned >= 18


def test_restore_never_replaces_what_is_no_plain_file(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for output in (tmp_path / "link", tmp_path / "pipe", samples.root / "data" / "kavier" / "decode.parquet"):
        done = llm_traces("restore", "kavier/decode", "-o", output, cwd=samples.root)
        assert done.returncode == 2 and "give another -o" in done.stderr, output
    assert (tmp_path / "link").is_symlink() and (tmp_path / "pipe").is_fifo()
    assert not list(tmp_path.glob(".*"))


def test_version() -> None:
    assert llm_traces("--version", cwd=ROOT).stdout.startswith("llm-traces 0.")


def test_get_brings_what_is_locked_and_what_never_was(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    lock = json.loads((clone / "datapackage.json").read_text())
    lock["resources"] = [each for each in lock["resources"] if each["name"] != "kavier-decode"]
    (clone / "datapackage.json").write_text(json.dumps(lock))
    (clone / "data/kavier/decode.parquet").unlink()
    llm_traces("describe", cwd=clone, check=True)
    git("commit", "--quiet", "--all", "--message", "Not built", cwd=clone)
    done = llm_traces("get", "kavier", "--mirror", samples.mirror, cwd=clone)
    assert (done.returncode, done.stdout) == (0, "3 workloads are here\n"), done.stderr
    assert all(Archive(clone).is_present(each) for each in Archive(clone).select(["kavier"]))


def test_a_reader_that_leaves_does_not_stop_a_build(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    command = f"{BIN}/llm-traces build kavier mooncake --mirror {samples.mirror} | head -1"
    subprocess.run(command, shell=True, cwd=clone, check=True, capture_output=True)
    assert all(Archive(clone).is_present(each) for each in Archive(clone).select(["kavier", "mooncake"]))


def test_restore_of_what_is_not_here(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    done = llm_traces("restore", "kavier/decode", "-o", tmp_path / "x.csv", cwd=clone)
    assert done.returncode == 2 and "llm-traces get kavier/decode" in done.stderr
    assert not (tmp_path / "x.csv").exists()


def test_restore_where_nothing_can_be_written(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = llm_traces("restore", "kavier/decode", "-o", tmp_path / "file" / "x.csv", cwd=samples.root)
    assert done.returncode == 2 and "can't be written" in done.stderr and "Traceback" not in done.stderr


def test_restore_of_a_file_that_is_not_ours(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    path = clone / "data/kavier/decode.parquet"
    path.unlink()
    path.write_bytes(b"PAR1 not at all PAR1")
    done = llm_traces("restore", "kavier/decode", "-o", tmp_path / "x.csv", cwd=clone)
    assert done.returncode == 1 and "not a Parquet file of this archive" in done.stderr
