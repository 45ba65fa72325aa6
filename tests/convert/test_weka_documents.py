"""WEKA's sessions as other programs write them: set out otherwise, with other members, and one per line."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from llm_trace_archive.checks.figures import check_figures
from llm_trace_archive.convert import restore
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.core.table import Table
from llm_trace_archive.demo.lookalikes import make_archive
from llm_trace_archive.lock.build import build_file
from llm_trace_archive.upstream.sources import Sources
from support.programs import ROOT

NEON = "weka-neon"


def build(archive: Archive, workload: Workload, mirror: Path, folder: Path) -> Table:
    """Build a workload from a mirror; the build proves that its files are restored."""
    built = folder / "built.parquet"
    build_file(archive, workload, built, Sources(folder / "cache", mirror=str(mirror), offline=True))
    return Table(built)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, Path]:
    """An archive of look-alikes of Neon's sessions, and the mirror with their files."""
    root = tmp_path_factory.mktemp("neon")
    return make_archive(
        Archive(ROOT), root / "archive", root / "mirror", "http://127.0.0.1:9", 200, [NEON]
    ), root / "mirror"


def written(session: dict[str, Any], samples: tuple[Archive, Path], folder: Path, **style: Any) -> Workload:
    """Write one session to a mirror in `folder`, and return the workload of it alone."""
    (folder / "mirror" / NEON).mkdir(parents=True, exist_ok=True)
    path = folder / "mirror" / NEON / "trace_0001.json"
    path.write_text(json.dumps(session, **style))
    whole = samples[0].recipe(NEON).workload("requests")
    file = dataclasses.replace(whole.files[0], git_blob=hash_file(path, "git_blob")[0])
    return dataclasses.replace(whole, files=(file,), expect={}, published=())


def session_of(samples: tuple[Archive, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((samples[1] / NEON / "trace_0001.json").read_bytes())
    return found


def reordered(session: dict[str, Any]) -> None:
    session["requests"] = [dict(sorted(each.items())) for each in session["requests"]]


def without_think_time(session: dict[str, Any]) -> None:
    for each in session["requests"][::2]:
        del each["think_time"]


def with_null_think_time(session: dict[str, Any]) -> None:
    for each in session["requests"][::2]:
        each["think_time"] = None


def with_null_stop(session: dict[str, Any]) -> None:
    for each in session["requests"]:
        each["stop"] = each["stop"] or None


CHANGES = [lambda session: None, reordered, without_think_time, with_null_think_time, with_null_stop]


@pytest.mark.parametrize("style", [{"indent": 2}, {"indent": 4}, {"separators": (",", ":")}, {}])
@pytest.mark.parametrize("change", CHANGES)
def test_any_consistent_spelling_is_restored(
    change: Callable[[dict[str, Any]], None], style: Any, samples: tuple[Archive, Path], tmp_path: Path
) -> None:
    session = session_of(samples)
    change(session)
    workload = written(session, samples, tmp_path, **style)
    with build(samples[0], workload, tmp_path / "mirror", tmp_path) as table:
        ((_, pieces),) = restore.restore_files(workload, table)
        assert b"".join(pieces) == json.dumps(session, **style).encode()
        assert table.column("think_us").null_count in (0, (len(session["requests"]) + 1) // 2)


def test_two_spellings_of_a_missing_value_are_refused(samples: tuple[Archive, Path], tmp_path: Path) -> None:
    session = session_of(samples)
    without_think_time(session)
    session["requests"][1]["think_time"] = None
    workload = written(session, samples, tmp_path)
    with pytest.raises(BadUpstream, match=r"requests\[1\], key 'think_time'\n.*left out, as before\n.*written null"):
        build(samples[0], workload, tmp_path / "mirror", tmp_path)


def test_sub_agents_that_the_recipe_does_not_map_are_refused(samples: tuple[Archive, Path], tmp_path: Path) -> None:
    session = session_of(samples)
    session["requests"].append({"t": 1.0, "type": "subagent", "agent_id": "a", "requests": session["requests"][:1]})
    workload = written(session, samples, tmp_path)
    with pytest.raises(BadUpstream, match="the recipe maps no sub-agents"):
        build(samples[0], workload, tmp_path / "mirror", tmp_path)


def test_the_look_alikes_build(samples: tuple[Archive, Path], tmp_path: Path) -> None:
    archive, mirror = samples
    with build(archive, archive.recipe(NEON).workload("requests"), mirror, tmp_path) as table:
        rows = pq.read_table(table.path).to_pylist()
    ids: dict[int, tuple[int | None, str]] = {}
    for row in rows:
        before = None
        for each in row["hash_ids"]:
            assert ids.setdefault(each, (before, row["session_id"])) == (before, row["session_id"])
            before = each
    assert any(len(row["hash_ids"]) != row["input_tokens"] // 64 for row in rows)
    assert {row["arrival_us"] for row in rows} == {None}


def test_sessions_on_lines_count_from_their_start(tmp_path: Path) -> None:
    name = "semianalysis-agentx"
    archive = make_archive(Archive(ROOT), tmp_path / "archive", tmp_path / "mirror", "http://127.0.0.1:9", 200, [name])
    workload = archive.recipe(name).workload("256k")
    with build(archive, workload, tmp_path / "mirror", tmp_path) as table:
        rows = pq.read_table(table.path).to_pylist()
    text = (tmp_path / "mirror" / name / "traces-256k.jsonl").read_text()
    wanted = [
        (session["id"], request["t"], request["hash_ids"])
        for session in map(json.loads, text.splitlines())
        for each in session["requests"]
        for request in each.get("requests", [each])
    ]
    found = [
        (row["session_id"], row["since_start_us"] / 1e6, [each - row["hash_id_offset"] for each in row["hash_ids"]])
        for row in rows
    ]
    assert found == wanted
    assert any(row["agent_id"] and row["since_start_us"] >= row["agent_start_us"] > 0 for row in rows)


# -- the real files ---------------------------------------------------------------------------------------------------


def test_real_files_are_restored_and_have_the_published_hit_rates(
    archive: Archive, mirror: Path, tmp_path: Path
) -> None:
    packed = mirror.parent / "next" / "weka-neon" / "traces-41-of-99.tar.zst"
    if not packed.exists():
        pytest.skip(f"real sessions: no {packed}")
    (tmp_path / NEON).mkdir()
    with (
        packed.open("rb") as stream,
        zstandard.ZstdDecompressor().stream_reader(stream) as content,
        tarfile.open(fileobj=content, mode="r|") as members,
    ):
        members.extractall(tmp_path / NEON, filter="data")
    whole = archive.recipe(NEON).workload("requests")
    assert len(whole.files) == 99
    files = tuple(file for file in whole.files if (tmp_path / NEON / file.name).exists())
    names = {Path(file.name).stem for file in files}
    figures = tuple(
        {**each, "value": {name: value for name, value in each["value"].items() if name in names}}
        for each in whole.published
    )
    workload = dataclasses.replace(whole, files=files, expect={"relations": ["turns", "ids"]}, published=figures)
    with build(archive, workload, tmp_path, tmp_path) as table:
        results = list(check_figures(workload, table))
        assert table.rows == 4124
    assert len(results) == 2 + 3 * 41
    assert [str(each) for each in results if not each.holds] == []


def test_figures_of_files_are_published_for_every_file(archive: Archive) -> None:
    workload = archive.recipe(NEON).workload("requests")
    figures = {each["figure"]: each["value"] for each in workload.published}
    assert list(figures) == ["rows", "same_model_hit", "seen_hit"]
    assert {len(each) for each in figures.values()} == {99}
    assert sum(figures["rows"].values()) == workload.rows == 22906
