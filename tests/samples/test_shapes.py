"""The look-alikes of every trace: the same bytes everywhere, and the upstream's spelling on every line.

All of this tests a new module of `samples` without any change here; `WRITE_GOLDEN=1 pytest` records its bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.demo.lookalikes import load_sample, sample_traces, write_upstream
from llm_trace_archive.samples.kit.shape import Shape
from support.golden import assert_golden

SHAPES = {f"{trace}/{name}": shape for trace in sample_traces() for name, shape in load_sample(trace).SHAPES.items()}
OF_LINES = [trace for trace in sample_traces() if load_sample(trace).SHAPES]


@pytest.mark.parametrize("trace", sample_traces())
def test_the_bytes_are_the_same_everywhere(trace: str, tmp_path: Path) -> None:
    digests = []
    for name in ("once", "again"):
        write_upstream(trace, tmp_path / name, 64)
        files = sorted((tmp_path / name / trace).iterdir())
        digests.append("".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files))
    assert digests[0] == digests[1]
    assert_golden(f"samples/{trace}", digests[0])


@pytest.mark.parametrize("rows", [1, 10, None])
@pytest.mark.parametrize("trace", OF_LINES)
def test_any_number_of_rows_is_written(trace: str, rows: int | None, tmp_path: Path) -> None:
    # By default more than are made at once.
    rows = rows or (10_000 if trace in ("mooncake", "qwen-bailian") else 70_000)
    write_upstream(trace, tmp_path, rows)
    lines = {name: len(shape.lines(tmp_path / trace / name)) for name, shape in load_sample(trace).SHAPES.items()}
    assert min(lines.values()) > 0
    if trace == "ragpulse":
        lines = {"components": sum(lines.values()) - lines["0_trace.jsonl"]}
    if rows > 1000:
        assert max(lines.values()) == pytest.approx(rows, rel=0.01)


def test_every_file_has_a_shape_and_every_recipe_look_alikes(folder: Path, archive: Archive) -> None:
    files = {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*") if path.parent.name in OF_LINES}
    assert files == set(SHAPES)
    origins = {recipe.derived_from or name for name, recipe in archive.recipes.items()}
    assert set(sample_traces()) == origins, "each recipe needs a module in src/llm_trace_archive/samples, and no other"


@pytest.mark.parametrize("name", SHAPES)
def test_every_line_has_the_shape(name: str, folder: Path) -> None:
    assert SHAPES[name].lines(folder / name)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.published])
def test_published_lines_have_the_shape(name: str) -> None:
    for line in SHAPES[name].published:
        assert re.fullmatch(SHAPES[name].line, line)


@pytest.mark.parametrize("name", SHAPES)
def test_real_files_have_the_same_shape(name: str, mirror: Path) -> None:
    if not (mirror / name).exists():
        pytest.skip(f"{name} is not in the mirror")
    assert SHAPES[name].lines(mirror / name)


@pytest.mark.parametrize(
    ("shape", "text", "why"),
    [
        (Shape("[0-9]"), "1\n2", "ends with"),
        (Shape("[0-9]", "n"), "1\n2\n", "start with 'n'"),
        (Shape("[0-9]", "n"), "n\n1\nx\n", "line 3"),
    ],
)
def test_a_line_without_the_shape_is_named(shape: Shape, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=why):
        shape.lines(tmp_path / "file")
