"""How the program ends: with a message and an exit code, whatever its output, its paths and its options are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.command import run_here
from support.programs import BIN, ROOT, Samples


@pytest.mark.parametrize("command", ["list", "info kavier", "--version", "--help", "list --json", "cache list"])
def test_an_output_that_cannot_be_written_is_reported(command: str) -> None:
    done = _run(f"{BIN}/llm-traces {command} > /dev/full")
    assert (done.returncode, done.stderr) == (2, "the output can't be written: No space left on device\n")


def test_errors_that_cannot_be_written_change_no_exit_code() -> None:
    assert _run(f"{BIN}/llm-traces list nothing 2> /dev/full").returncode == 2
    assert _run(f"{BIN}/llm-traces list nothing > /dev/full 2>&1").returncode == 2


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&-", "| head -1"])
def test_a_closed_stream_is_no_failure(redirection: str) -> None:
    done = _run(f"{BIN}/llm-traces list {redirection}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_sign_that_the_encoding_lacks_is_spelled_out() -> None:
    done = _run(f"{BIN}/llm-traces info azure-2023", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stderr == ""
    code = "from llm_trace_archive.checks.result import Result; import llm_trace_archive.cli.terminal as terminal;"
    code += "terminal.print_results('x', [Result('figures', 'x', 1, 0.5, 2, 'y')])"
    # What `validate` prints, through the program's own streams.
    code = f"import llm_trace_archive.cli.main as main; main.app = lambda: exec({code!r}); main.main()"
    done = _run(f'{BIN}/python -c "$CODE"', CODE=code, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "expected 1 \\xb1 0.5, found 2" in done.stdout, done.stderr


def test_a_path_that_is_not_utf_8_ends_in_a_message(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.mkdir()
    for name in ("recipes", "schemas"):
        shutil.copytree(ROOT / name, odd / name)
    for arguments, cwd in (
        (["--archive", odd, "list"], ROOT),
        (["list"], odd),
        (["list", odd], ROOT),
        (["restore", "kavier/decode", "-o", odd / "x.csv"], ROOT),
        (["build", "kavier/decode", "--mirror", odd], ROOT / "data"),
        (["samples", odd / "new", "--mirror", odd], ROOT),
        (["validate", "kavier", "--json", odd / "x.json"], ROOT),
        (["query", "SELECT '\udcff'"], ROOT),
        (["query", "SELECT 1", "-o", odd / "x.csv"], ROOT),
    ):
        done = run_here(*arguments, cwd=cwd, LLM_TRACES_OFFLINE="1")
        assert (done.returncode in (1, 2) and done.stderr) or done.returncode == 0, arguments  # 0 where content is here
    program = subprocess.run([BIN / "llm-traces", "list"], cwd=odd, capture_output=True)
    assert program.stderr.endswith(b"\\udcff: is not UTF-8 text\n  next  rename it, or give another path\n")


def test_links_in_a_circle_end_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for arguments in (
        ["--archive", tmp_path / "loop", "list"],
        ["restore", "kavier/decode", "-o", tmp_path / "loop"],
        ["validate", "kavier", "--json", tmp_path / "loop"],
        ["release", "bundle", tmp_path / "loop"],
    ):
        done = run_here(*arguments, cwd=ROOT)
        assert (done.returncode in (1, 2) and done.stderr) or done.returncode == 0, arguments  # 0 where content is here


def test_the_archive_may_be_given_after_the_command(tmp_path: Path) -> None:
    expected = run_here("--archive", ROOT, "list", "kavier", cwd=tmp_path)
    assert expected.returncode == 0
    for arguments in (
        ["list", "--archive", ROOT, "kavier"],
        ["list", "kavier", "--archive", ROOT],
        ["list", "kavier", f"--archive={ROOT}"],
        ["--archive", tmp_path, "list", "kavier", "--archive", ROOT],
    ):
        assert run_here(*arguments, cwd=tmp_path).stdout == expected.stdout
    assert run_here("list", "--archive", cwd=tmp_path).returncode == 2
    missing = run_here("list", "--archive", "typing-error", cwd=ROOT)
    assert missing.returncode == 2 and "typing-error: is not inside an archive" in missing.stderr
    assert run_here("list", "--", "--archive", cwd=ROOT).stderr.startswith("--archive: no such trace")


def test_paths_name_workloads_from_wherever_the_shell_completes_them() -> None:
    data = ROOT / "data"
    for names, cwd in (
        (["./data/kavier/"], ROOT),
        (["data/kavier"], ROOT),
        (["./kavier"], data),
        (["../kavier/"], data / "mooncake"),
        (["decode.parquet", "./prefill.parquet", "telemetry/"], data / "kavier"),
        ([data / "kavier"], Path("/")),
    ):
        done = run_here("--archive", ROOT, "list", *names, cwd=cwd)
        assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("kavier")] == [
            "kavier/prefill",
            "kavier/decode",
            "kavier/utilisation",
        ], (names, done.stderr)
    outside = run_here("--archive", ROOT, "list", "./recipes/", cwd=ROOT)
    assert outside.returncode == 2 and "no such trace" in outside.stderr


def test_list_fits_80_columns_and_has_the_rest_on_request(samples: Samples) -> None:
    for root in (ROOT, samples.root):
        narrow = run_here("list", cwd=root).stdout.splitlines()
        assert max(map(len, narrow)) <= 80
    assert narrow[0].split() == ["trace/workload", "rows", "licence", "content"]
    wide = run_here("list", "--wide", cwd=ROOT).stdout.splitlines()
    assert wide[0].split() == ["trace/workload", "rows", "period", "capabilities", "licence", "content"]


def test_info_fits_the_terminal_but_breaks_no_url() -> None:
    done = run_here("info", "kavier", cwd=ROOT, COLUMNS="80")
    assert all(len(line) <= 80 or "://" in line or "sha256" in line for line in done.stdout.splitlines())


def _run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
