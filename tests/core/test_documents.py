"""The files of an archive that anyone may have written: each is read with limits, and judged by this package."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.core.catalogue import entries, format_info
from llm_trace_archive.core.documents import find_faults
from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.core.links import workloads_by_key
from llm_trace_archive.lock.describe import generated
from llm_trace_archive.lock.validate import validate_package
from llm_trace_archive.release.record import find_place
from support.golden import assert_golden
from support.mutations import ODD_JSON, faults, mutate
from support.programs import ROOT


@pytest.fixture
def small(tmp_path: Path) -> Archive:
    """A copy of this archive with two traces and their part of the lock."""
    for name in ("kavier", "mooncake"):
        (tmp_path / "recipes").mkdir(exist_ok=True)
        shutil.copy(ROOT / f"recipes/{name}.toml", tmp_path / "recipes")
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    lock = json.loads((ROOT / LOCK).read_text())
    lock["resources"] = [each for each in lock["resources"] if each["trace"] in ("kavier", "mooncake")]
    (tmp_path / LOCK).write_text(json.dumps(lock))
    return Archive(tmp_path)


def use(archive: Archive) -> None:
    """Use all that recipes and lock say, but for building."""
    for each in archive.select():
        format_info(list(entries(archive, [each]))).encode()
    workloads_by_key(archive)
    find_place(archive, "zenodo")
    for _, text in generated(archive):
        text.encode()
    for result in validate_package(archive):
        str(result).encode()


@pytest.mark.faults
@faults(60)
@given(st.randoms(use_true_random=False))
def test_a_changed_lock_is_used_or_refused(small: Archive, rng: random.Random) -> None:
    lock = json.loads((small.root / LOCK).read_text())
    try:
        (small.root / LOCK).write_text(json.dumps(mutate(lock, rng, ODD_JSON), allow_nan=True))
        use(Archive(small.root))
    except Problem as problem:
        str(problem).encode()
    finally:
        (small.root / LOCK).write_text(json.dumps(lock))


@pytest.mark.faults
@faults(15)
@given(st.randoms(use_true_random=False))
def test_changed_schemas_of_an_archive_decide_nothing(small: Archive, rng: random.Random) -> None:
    paths = sorted((small.root / "schemas").glob("*.json"))
    path = rng.choice([each for each in paths if each.stem in ("kavier", "request") or ".schema" in each.name])
    text = path.read_text()
    wanted = [str(each) for each in small.select()]
    try:
        path.write_text(json.dumps(mutate(json.loads(text), rng, ODD_JSON)))
        archive = Archive(small.root)
        use(archive)
        assert [str(each) for each in archive.select()] == wanted
    finally:
        path.write_text(text)


LOCKS: dict[str, str | bytes] = {
    "nested": '{"name": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "nested-a-little": '{"name": ' + "[" * 40 + "]" * 40 + "}",
    "digits": '{"name": ' + "9" * 5000 + "}",
    "not-utf-8": b'{"name": "\xff"}',
    "a-list": "[]",
    "terminal-codes": '{"name": "\\u001b[2J"}',
    "half-a-character": '{"name": "\\ud800"}',
    "not-a-number": '{"version": NaN}',
    "cut": '{"name": "llm-trace',
}


@pytest.mark.parametrize("case", LOCKS)
def test_a_lock_that_is_none_is_refused_with_its_fault(small: Archive, case: str) -> None:
    content = LOCKS[case]
    (small.root / LOCK).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadUse) as caught:
        _ = Archive(small.root).locked
    assert_golden(f"lock/{case}", str(caught.value), root=small.root)


def test_many_faults_of_a_lock_are_counted(small: Archive) -> None:
    lock = json.loads((small.root / LOCK).read_text())
    lock["resources"][0]["bytes"] = "many"
    del lock["resources"][1]["upstreamBytes"]
    for each in lock["resources"]:
        each["provenance"] = {}
    (small.root / LOCK).write_text(json.dumps(lock))
    with pytest.raises(BadUse) as caught:
        _ = Archive(small.root).lock
    assert_golden("lock/many-faults", str(caught.value))


@pytest.mark.parametrize("place", [LOCK, "recipes/kavier.toml"])
def test_devices_pipes_and_folders_are_no_files_of_an_archive(small: Archive, place: str) -> None:
    path = small.root / place
    path.unlink()
    for make, said in (
        (lambda: path.symlink_to("/dev/zero"), "can't be read\n  reason  not a regular file"),
        (lambda: os.mkfifo(path), "can't be read\n  reason  not a regular file"),
        (lambda: path.mkdir(), "can't be read\n  reason  not a regular file"),
        (lambda: path.symlink_to("nowhere"), "is missing"),
    ):
        make()
        with pytest.raises(BadUse, match=re.escape(f"{place}: {said}")):
            _ = Archive(small.root).locked, Archive(small.root).recipes
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_a_file_of_endless_size_is_not_read(small: Archive) -> None:
    os.truncate(small.root / LOCK, 1 << 40)
    with pytest.raises(BadUse, match=r"is too large to be a file of the archive\n  expected  at most 67,108,864 bytes"):
        _ = Archive(small.root).lock


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('title = "Kavier, prefill latency"', f"title = {'9' * 5000}"),
        ('title = "Kavier, prefill latency"', f"title = {'[' * 20_000}{']' * 20_000}"),
        ('title = "Kavier, prefill latency"', f"{'a.' * 20_000}a = 1"),
        ('title = "Kavier, prefill latency"', 'title = "\\u001b[2J"'),
        ('name = "prefill"', 'name = "prefill\\n"'),
        ('name = "prefill"', 'name = "../../../../outside/pwned"'),
        ('name = "raw_prefill.csv"', 'name = "raw_prefill.csv\\n"'),
        ("tolerance = 501", "tolerance = inf"),
        ("rows = 90", f"rows = {2**70}"),
        ("rows = 90", "rows = 2023-01-01"),
    ],
)
def test_a_hostile_recipe_is_refused(small: Archive, old: str, new: str) -> None:
    path = small.root / "recipes/kavier.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadUse, match=r"recipes/kavier\.toml") as caught:
        _ = Archive(small.root).recipes
    assert len(str(caught.value)) < 1500


def test_an_archive_cannot_judge_itself(small: Archive) -> None:
    (small.root / "schemas/recipe.schema.json").write_text("{}")
    path = small.root / "recipes/kavier.toml"
    path.write_text(path.read_text().replace('name = "prefill"', 'name = "../../../../outside/pwned"'))
    with pytest.raises(BadUse, match="does not match"):
        _ = small.recipes


def test_patterns_end_where_the_text_ends() -> None:
    """Python's `$` also matches before a last newline, and its digits are those of all scripts; JSON Schema's don't."""
    lock = json.loads((ROOT / LOCK).read_text())
    lock["resources"][0]["hash"] += "\n"
    assert [where for where, _ in find_faults(lock, "datapackage.schema.json")] == [("resources", 0, "hash")]
    citation = yaml.load((ROOT / "CITATION.cff").read_text(), yaml.BaseLoader)
    assert list(find_faults(citation, "citation.schema.json")) == []
    dated = citation | {"date-released": "٢٠٢٦-01-01"}
    assert [where for where, _ in find_faults(dated, "citation.schema.json")] == [("date-released",)]
