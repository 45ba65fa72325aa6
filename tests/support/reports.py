"""The report that the tests look at."""

from __future__ import annotations

from pathlib import Path

from support.command import run_here
from support.programs import Samples

REPORTED = ("burstgpt/2", "azure-2023/code", "mooncake/conversation")


def write_report(samples: Samples, folder: Path) -> Path:
    """Write a report of some look-alikes to a new folder of `folder`."""
    site = folder / "site"
    done = run_here("report", *REPORTED, "-o", site, cwd=samples.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{site}/index.html: {len(REPORTED)} workloads, ")
    return site
