"""What is imported: nothing slow for short commands, and no extra where none is needed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.programs import ROOT, git
from support.small_archive import publish

# The modules that each extra installs.
EXTRAS = {
    "build": ("annexremote", "git_annex", "numba", "tomlkit"),
    "datasets": ("datasets",),
    "lmsys": ("tokenizers",),
    "release": ("detect_secrets", "mlcroissant", "rocrate", "stdnum"),
}
SLOW = ("pyarrow", "numpy", "pandas", "requests", "urllib3", "jsonschema", "frictionless", "datalad", "huggingface_hub")
# Runs commands one after another in one process, which can't import some modules; prints what each gave, as JSON.
RUN = """
import contextlib, io, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED, COMMANDS, CODE = json.loads(sys.argv[1])
sys.meta_path.insert(0, Blocker())
import llm_trace_archive
from llm_trace_archive.cli.main import main
found = []
for command in COMMANDS:
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["llm-traces", *command]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    found.append([code, out.getvalue(), err.getvalue(), sorted({name.partition(".")[0] for name in sys.modules})])
exec(CODE)
print(json.dumps(found))
"""


def run(commands: list[list[str]], cwd: Path, blocked: tuple[str, ...] = (), code: str = "") -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([blocked, commands, code])], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_short_commands_import_nothing_slow() -> None:
    commands = [["--version"], ["--help"], ["list"], ["list", "--json"], ["info", "burstgpt"], ["info", "nothing"]]
    for command, (code, _, _, modules) in zip(commands, run(commands, ROOT), strict=True):
        assert code == (2 if "nothing" in command else 0)
        assert [name for name in SLOW if name in modules] == [], command


def test_every_package_of_an_extra_is_blocked_below() -> None:
    """A dependency that is added to an extra is added to these tests."""
    modules: dict[str, set[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for each in distributions:
            modules.setdefault(re.sub(r"[-_.]+", "-", each).lower(), set()).add(module)
    requirements = importlib.metadata.requires("llm-trace-archive") or []
    blocked = {module for modules in EXTRAS.values() for module in modules}  # an extra may require another one
    for extra in EXTRAS:
        names = [re.split(r"[^\w.-]", each)[0] for each in requirements if re.search(rf"extra == .{extra}\b", each)]
        for name in sorted({*names} - {"llm-trace-archive", "pyarrow"}):
            assert modules[re.sub(r"[-_.]+", "-", name).lower()] & blocked, f"{extra}: {name}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("extras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        archive, _ = publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    return archive.root


def test_reading_needs_no_extra(published: Path, tmp_path: Path) -> None:
    read = """
from pathlib import Path
import pyarrow.parquet
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.table import Table
archive = Archive.find()
with Table(archive.root / archive.select(["demo/few"])[0].path) as table:
    found.append([len(table.column("input_tokens")), table.names[0]])
found.append(pyarrow.parquet.read_table("data/demo/few.parquet").num_rows)
"""
    commands = [
        ["list"],
        ["info", "demo"],
        ["validate", "demo"],
        ["restore", "demo/few", "-o", str(tmp_path / "few.csv")],
    ]
    blocked = tuple(module for modules in EXTRAS.values() for module in modules)
    *ran, table, rows = run(commands, published, blocked, read)
    assert [(code, error) for code, _, error, _ in ran] == [(0, "")] * len(commands)
    assert (table, rows) == ([3, "trace"], 3)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["pin", "demo"], "build"),
        (["samples", "{}/new", "--mirror", "{}/mirror"], "build"),
        (["setup"], "build"),
        (["get", "demo"], "build"),
        (["release", "check"], "release"),
    ],
)
def test_a_command_that_needs_an_extra_names_it(
    command: list[str], extra: str, published: Path, tmp_path: Path
) -> None:
    git("clone", "--quiet", str(published), "clone", cwd=tmp_path)
    arguments = [each.format(tmp_path) for each in command]
    cwd = ROOT if "samples" in command else tmp_path / "clone"
    ((code, _, error, _),) = run([arguments], cwd, EXTRAS[extra])
    assert code == 2
    assert f"next  pip install 'llm-trace-archive[{extra}]'" in error, error
    assert [each.name for each in tmp_path.iterdir()] == ["clone"]
