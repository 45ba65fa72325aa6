"""An archive of look-alikes: the recipes of the real archive, the pins of the generated files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.demo.lookalikes import make_archive, sample_traces, write_upstream
from support.golden import assert_golden


def test_an_unknown_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUse, match="no look-alikes") as error:
        write_upstream("burst", tmp_path)
    assert "burstgpt" in error.value.details["there are"]


def comments(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("#")]


def test_the_archive_has_the_recipes_with_pins_of_the_look_alikes(archive: Archive, tmp_path: Path) -> None:
    made = make_archive(archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9/", rows=50)
    known = sample_traces()
    assert list(made.recipes) == [
        name for name, each in archive.recipes.items() if (each.derived_from or name) in known
    ]
    for name, recipe in made.recipes.items():
        assert recipe.synthetic
        assert recipe.title.endswith("(synthetic look-alike)")
        assert recipe.description.startswith("Generated look-alikes, not the published data.")
        assert recipe.anomalies == archive.recipe(name).anomalies
        assert comments(recipe.file) == comments(archive.recipe(name).file)
        for workload in recipe.workloads:
            assert set(workload.expect) <= {"rows", "arrivals", "segments", "relations", "references"}
            assert workload.published == ()
            original = archive.recipe(name).workload(workload.name)
            assert {each.rules for each in workload.files} == {each.rules for each in original.files}
            for file in workload.files:
                data = (tmp_path / "mirror" / file.trace / file.name).read_bytes()
                blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                pin = (file.git_blob,) if workload.listed else (file.sha256, file.bytes)
                assert pin == ((blob,) if workload.listed else (hashlib.sha256(data).hexdigest(), len(data)))
                assert file.url == f"http://127.0.0.1:9/{file.trace}/{file.name}"
    assert made.recipe("burstgpt").workload("3").expect["rows"] == 50
    assert made.recipe("ragpulse").workload("requests").expect["segments"] == 2
    assert {each.name for each in made.root.iterdir()} >= {
        "recipes",
        "schemas",
        "LICENSE.txt",
        ".gitattributes",
        ".datalad",
    }


def test_an_archive_of_chosen_traces(archive: Archive, tmp_path: Path) -> None:
    made = make_archive(archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9", 20, ["kavier"])
    assert list(made.recipes) == ["kavier"]
    with pytest.raises(BadUse, match="not empty"):
        make_archive(archive, made.root, tmp_path / "mirror", "http://127.0.0.1:9")
    with pytest.raises(BadUse, match="has no recipe with look-alikes"):
        make_archive(archive, tmp_path / "other", tmp_path / "mirror", "http://127.0.0.1:9", traces=["nothing"])
    assert not (tmp_path / "other").exists()


def test_a_sample_writes_every_file_of_its_recipe(empty_archive: Archive, tmp_path: Path) -> None:
    path = empty_archive.root / "recipes/kavier.toml"
    path.write_text(path.read_text().replace('raw_decode.csv", sha', 'decode.csv", sha'))
    with pytest.raises(BadUse, match="the look-alikes lack files of the recipe") as caught:
        make_archive(empty_archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9", 20, ["kavier"])
    assert_golden("demo/missing-file", str(caught.value))
