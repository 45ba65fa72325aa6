"""The demo's folder: kept for a look when a command fails, removed after Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.demo import run
from support.programs import BIN, ROOT


@pytest.mark.parametrize(
    ("error", "is_kept"), [(BadUse("demo", "a command failed"), True), (KeyboardInterrupt(), False)]
)
def test_only_an_interrupt_removes_the_folder(
    error: BaseException, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Archive, home: Path) -> None:
        (home / "objects").mkdir()
        (home / "objects" / "key").touch()
        (home / "objects").chmod(0o555)
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(run, "_run", fail)
    with pytest.raises(type(error)):
        run.run(Archive(ROOT))
    assert [path.name for path in tmp_path.glob("*/objects")] == (["objects"] if is_kept else [])
    assert bool(list(tmp_path.iterdir())) == is_kept


@pytest.mark.parametrize("step", ["1. Write", "$ llm-traces build"])
def test_ctrl_c_during_a_step_leaves_nothing(step: str, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [BIN / "llm-traces", "demo"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout
    assert any(step in line for line in demo.stdout)
    time.sleep(0.5)
    os.killpg(demo.pid, signal.SIGINT)
    _, error = demo.communicate(timeout=60)
    assert demo.returncode == 130, error
    end = time.monotonic() + 30
    while list(tmp_path.iterdir()):  # the removal goes on after the demo
        assert time.monotonic() < end, list(tmp_path.iterdir())
        time.sleep(0.1)
    time.sleep(0.5)
    assert list(tmp_path.iterdir()) == []
