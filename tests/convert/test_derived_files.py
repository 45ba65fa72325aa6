"""Upstream files that follow from a workload by a filter: restored, and compared with their own pins."""

from __future__ import annotations

import hashlib
from pathlib import Path

from llm_trace_archive.core.archive import Archive
from support.command import run_here
from support.programs import Samples, git


def test_derived_files_follow_by_their_filter(samples: Samples, tmp_path: Path) -> None:
    """BurstGPT's files without fails: the header and the rows with response tokens."""
    clone = samples.clone(tmp_path)
    assert run_here("build", "burstgpt", "--mirror", samples.mirror, cwd=clone).returncode == 0
    for number in (1, 2, 3):
        name = f"BurstGPT_without_fails_{number}.csv"
        original = (samples.mirror / "burstgpt" / f"BurstGPT_{number}.csv").read_text()
        head, *rows = original.splitlines(keepends=True)
        column = head.strip().split(",").index("Response tokens")
        kept = "".join([head, *(row for row in rows if row.split(",")[column] != "0")])
        assert len(kept) < len(original)
        recipe = clone / "recipes" / "burstgpt.toml"
        pin = next(each for each in Archive(clone).recipe("burstgpt").workload(str(number)).derived)
        assert pin.name == name
        output = tmp_path / name
        done = run_here("restore", f"burstgpt/{number}", "--derived", name, "-o", output, cwd=clone)
        assert done.returncode == 1 and f"{name} has the wrong hash" in done.stderr, "a look-alike has other pins"
        assert (tmp_path / f"{name}.wrong").read_text() == kept and not output.exists()
        digest = hashlib.sha256(kept.encode()).hexdigest()
        recipe.write_text(recipe.read_text().replace(pin.sha256, digest))
        done = run_here("restore", f"burstgpt/{number}", "--derived", name, "-o", output, cwd=clone)
        assert done.returncode == 0 and "as pinned" in done.stdout and output.read_text() == kept
    done = run_here("restore", "burstgpt/1", "--derived", "x.csv", "-o", tmp_path / "x.csv", cwd=clone)
    assert done.returncode == 2 and "BurstGPT_without_fails_1.csv" in done.stderr
    assert git("status", "--porcelain", "data", cwd=clone) == ""
