"""A wheel with the archive of look-alikes, unpacked, and an environment without a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.programs import ROOT, Samples


@pytest.fixture(scope="session")
def wheel(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked wheel, whose archive is that of the look-alikes."""
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE.txt"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("recipes", "schemas"):
        shutil.copytree(samples.root / name, source / name)
    shutil.copy(samples.root / "datapackage.json", source)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(home)]
    made = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    (file,) = home.glob("*.whl")
    with zipfile.ZipFile(file) as packed:
        packed.extractall(home / "site")
    return home / "site"
