"""A small disk: a tmpfs in a user namespace, where the system permits that."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def run_on_tmpfs(folder: Path, size: str, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Mount a tmpfs of that size over `folder`, and run a command in it; skip the test where that is not permitted."""
    if refusal := _find_refusal():
        pytest.skip(f"no tmpfs in a user namespace: {refusal}")
    mount = 'mount -t tmpfs -o "size=$1" tmpfs "$0" && cd "$0" && shift && exec "$@"'
    return subprocess.run(
        [*UNSHARE, "sh", "-c", mount, folder, size, *map(str, command)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@functools.cache
def _find_refusal() -> str:
    """Return why the system does not permit it; empty if it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            trial = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True)
        except FileNotFoundError:
            return "unshare is not installed"
        return trial.stderr.strip() if trial.returncode else ""
