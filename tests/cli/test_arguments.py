"""Arguments at random: every command ends with an exit code and a message, never with a traceback."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.export.registry import all_dialects
from support.command import run_here
from support.mutations import faults
from support.small_archive import publish

NAMES = (
    "demo", "demo/few", "demo/", "./data/demo/", "data/demo/few.parquet", "few.parquet", "demo/request", "", "/", "..",
    ".", "-", "a/b/c/d", "demo/few/x", "x" * 5000, os.fsdecode(b"\xff"), "\x1b[2J", "%s {}", "~", "DEMO", "dem", "'",
    "é",
)  # fmt: skip
PLACES = (
    "new", "new/", "deep/er/new.csv", "-", ".", "..", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/1/root/x",
    "datapackage.json", "data", "data/demo/few.parquet", "recipes/demo.toml/x", "x" * 300, os.fsdecode(b"\xff.csv"), "",
    "link", "loop", "file",
)  # fmt: skip
WIDTHS = (
    "1s", "0s", "-1s", "1e9h", "", "x", "9" * 400 + "s", "0..1s", "..", "1s..0s", "1us", "poisson:1,2", "poisson:0,0",
    "poisson:1e400,-1", "nan", "0.5", "٣s",
)  # fmt: skip
FORMATS = ("csv", "json", "jsonl", "table", "parquet", "x", "")
COMMANDS = (
    ("list", "NAME"), ("list", "NAME", "--wide"), ("list", "--json", "NAME"), ("info", "NAME"), ("validate", "NAME"),
    ("validate", "NAME", "--json", "PLACE"), ("validate", "NAME", "--junit", "PLACE"), ("validate", "--deep", "NAME"),
    ("restore", "NAME", "-o", "PLACE"), ("restore", "NAME", "-o", "PLACE", "--force"),
    ("restore", "NAME", "-o", "PLACE", "--derived", "NAME"), ("build", "NAME", "--offline", "--mirror", "PLACE"),
    ("pin", "NAME", "--offline", "--mirror", "PLACE"), ("samples", "PLACE", "--mirror", "PLACE", "--rows", "10"),
    ("samples", "PLACE", "--mirror", "new", "--rows", "NAME"), ("--archive", "PLACE", "list"),
    ("list", "--archive", "PLACE"),
    ("describe", "NAME"), ("NAME",), ("release", "check", "NAME"), ("release", "NAME"), ("cache", "NAME"),
    ("cache", "prune", "--older-than", "NAME", "--dry-run"),
    ("head", "NAME"), ("head", "NAME", "-n", "1"), ("profile", "NAME"), ("profile", "NAME", "--json", "PLACE"),
    ("query", "NAME"), ("query", "SELECT * FROM requests", "-o", "PLACE", "--format", "FORMAT"),
    ("query", "SELECT * FROM demo", "--format", "FORMAT"), ("rate", "NAME", "--per", "WIDTH"),
    ("rate", "demo", "-o", "PLACE", "--format", "FORMAT"), ("shape", "NAME", "-o", "PLACE"),
    ("shape", "demo", "-o", "PLACE", "--window", "WIDTH"), ("shape", "demo", "-o", "PLACE", "--rate", "NAME"),
    ("hit-ratio", "NAME"), ("export", "NAME", "--to", "NAME"), ("export", "demo", "--to", "DIALECT", "-o", "PLACE"),
    ("export", "demo", "--to", "DIALECT", "-o", "PLACE", "--arrivals", "WIDTH", "--format", "FORMAT"),
    ("report", "NAME", "-o", "PLACE"), ("get", "NAME", "--offline"), ("lock", "NAME"), ("publish", "PLACE"), ("setup",),
    ("release", "bundle", "PLACE"), ("release", "status"), ("release", "zenodo", "PLACE"), ("info", "PLACE"),
)  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("arguments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        archive, _ = publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    return archive.root


@pytest.mark.faults
@faults(40)
@given(st.randoms(use_true_random=False))
def test_any_arguments_end_in_a_message(
    published: Path, tmp_path_factory: pytest.TempPathFactory, rng: random.Random
) -> None:
    root = tmp_path_factory.mktemp("run") / "archive"
    shutil.copytree(published, root, ignore=shutil.ignore_patterns(".git"), ignore_dangling_symlinks=True)
    (root / "file").write_text("mine")
    (root / "link").symlink_to("file")
    (root / "loop").symlink_to("loop")
    choices = {"NAME": NAMES, "PLACE": PLACES, "WIDTH": WIDTHS, "FORMAT": FORMATS, "DIALECT": tuple(all_dialects())}
    command = [rng.choice(choices.get(each, (each,))) for each in rng.choice(COMMANDS)]
    done = run_here(*command, cwd=root, LLM_TRACES_OFFLINE="1", LLM_TRACES_CACHE=str(root.parent / "cache"))
    assert done.returncode in (0, 1, 2), command
    assert done.returncode != 2 or done.stderr, command
    # Only `restore` asks for --force, as it also writes names of its own.
    may_write = {"--force", "--json", "--junit", "file", "query", "rate", "shape", "export"}
    assert (root / "file").read_text() == "mine" or may_write & set(command), command
    shutil.rmtree(root)
