"""The example in the help of every command works as it is printed, in the order of docs/cli.md."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from llm_trace_archive.cli.main import app
from support.fake_hub import WRITER, fake_hub
from support.fake_invenio import fake_invenio
from support.programs import BIN, Samples
from support.releases import releasable


def leaves(command: Any, *path: str) -> Iterator[tuple[str, str]]:
    """Every command below, as its words and its help."""
    for name, each in getattr(command, "commands", {}).items():
        yield from leaves(each, *path, name)
    if not hasattr(command, "commands"):
        yield " ".join(path), command.help or ""


HELP = dict(leaves(typer.main.get_command(app)))
# Run elsewhere: it builds everything (tests/doors), and asks for a repository of one's own (below).
ELSEWHERE = {"demo", "replay"}


def example(name: str) -> str:
    found = re.findall(r"^\s*Example: (.*)$", HELP[name], re.MULTILINE)
    assert len(found) == 1, f"the help of {name} has {len(found)} examples"
    return found[0]


@pytest.mark.parametrize("name", HELP)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    assert example(name).startswith(f"llm-traces {name}")


def run(line: str, cwd: Path, folder: Path, **environment: str) -> str:
    """Run a line of the help; /tmp and the home folder are the test's own."""
    words = shlex.split(line.replace("/tmp/", f"{folder}/tmp/").replace("~/", f"{folder}/home/"))
    (folder / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        [BIN / words[0], *words[1:]], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_examples_work_in_a_clone(samples: Samples, tmp_path: Path) -> None:
    clone = samples.clone(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/upstream").symlink_to(samples.mirror)
    for name in HELP:
        if name not in ELSEWHERE and not name.startswith("release"):
            assert run(example(name), clone, tmp_path, LLM_TRACES_MIRROR=str(samples.mirror)), name


def test_examples_of_a_release_work_one_after_another(tmp_path: Path) -> None:
    release = releasable(tmp_path, rows=50)
    citation = release.root / "CITATION.cff"
    citation.write_text(re.sub(r"doi: .*\n(.*\n)*", "", citation.read_text()))
    release.commit()
    (tmp_path / "home").mkdir()
    shutil.move(release.mirror, tmp_path / "home/upstream")
    with fake_invenio() as zenodo, fake_hub(tmp_path / "hub") as hub:
        hub.organisations = ("llm-trace-archive",)
        servers = {
            "LLM_TRACES_ZENODO_URL": zenodo.url,
            "ZENODO_TOKEN": next(iter(zenodo.tokens)),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": WRITER,
            "HF_HUB_OFFLINE": "0",
        }
        first = "release reserve"  # then the rest, in the order of the help
        assert run(example(first), release.root, tmp_path, **servers)
        release.commit()
        for name in HELP:
            if name.startswith("release") and name != first:
                assert run(example(name), release.root, tmp_path, **servers), name
