"""The examples of docs/python.md, and the first one of the README, run as they stand, without a clone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from support.no_clone import NoClone
from support.programs import ROOT, Samples

PAGE = (ROOT / "docs/python.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def user(wheel: Path, samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> NoClone:
    return NoClone(wheel, tmp_path_factory.mktemp("user"), samples.mirror)


def test_the_examples_run_one_after_another(user: NoClone) -> None:
    code = "\n".join(blocks("python"))
    assert code.count("import llm_trace_archive") == 1
    ran = user.python(code)
    assert ran.returncode == 0, ran.stderr
    assert "azure-2024/code: the content is not here" in ran.stdout


def test_the_commands_run_one_after_another(user: NoClone) -> None:
    (block,) = blocks("sh")
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == "llm-traces"
        ran = user.llm_traces(*words)
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
    assert sorted(path.name for path in user.cwd.iterdir()) == ["figures.json", "rate.parquet"]


def test_the_first_example_of_the_readme_runs(user: NoClone) -> None:
    code = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert code.startswith("import llm_trace_archive as lta")
    ran = user.python(code)
    assert ran.returncode == 0, ran.stderr


def test_every_public_name_is_on_the_page() -> None:
    import llm_trace_archive as lta

    for name in set(lta.__all__) - {"__version__", "Records", "Requests"}:
        assert f"lta.{name}" in PAGE
