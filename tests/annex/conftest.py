"""A small archive for the tests of this folder, and clones of it as users have them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.annex.setup import setup
from llm_trace_archive.core.archive import Archive
from support.programs import git
from support.small_archive import publish

WORKLOADS = {"one": ("one.csv", 3), "two": ("two.csv", 30), "three": ("both.csv", 300), "four": ("both.csv", 300)}
NOWHERE = "http://127.0.0.1:9"  # the discard port refuses at once, and no name has to be looked up


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of `published`, main only: all but `two` are locked; `three` and `four` share a file of `mirror`."""
    home = tmp_path_factory.mktemp("annex")
    publish(home, NOWHERE, WORKLOADS, unbuilt=("two",))
    yield home
    assert not (Path(os.environ["HOME"]) / ".config" / "git").exists(), "a test changed the global git configuration"


@pytest.fixture(scope="session")
def prepared(home: Path) -> Path:
    """A clone of main only, set up; don't change it."""
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", "prepared", cwd=home)
    setup(Archive(home / "prepared"))
    return home / "prepared"


@pytest.fixture
def environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and the mirror."""
    monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(home / "mirror"))


@pytest.fixture
def clone(home: Path, environment: None, tmp_path: Path) -> Path:
    """A clone of main only, not set up."""
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", "clone", cwd=tmp_path)
    return tmp_path / "clone"


@pytest.fixture
def ready(prepared: Path, environment: None, tmp_path: Path) -> Path:
    """A clone that is set up."""
    return Path(shutil.copytree(prepared, tmp_path / "ready", symlinks=True))


@pytest.fixture
def unreachable(environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that does not exist: no upstream file is available."""
    monkeypatch.setenv("LLM_TRACES_MIRROR", str(tmp_path / "no-such-folder"))
    return tmp_path / "no-such-folder"
