"""Every leaf of the lock is checked: changed to anything else, it is found, or stands in a list with a reason."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_trace_archive.checks.result import Result
from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.describe import describe
from llm_trace_archive.lock.validate import validate, validate_package
from llm_trace_archive.upstream.sources import Sources
from support.chance import FACTOR
from support.programs import ROOT
from support.small_archive import publish

# The leaves of an entry that may have another value of the same form, and why.
UNPROVEN = {
    "provenance.tools.llm-trace-archive": "no file says which version of the code wrote it",
}
RELEASES = [
    {
        "target": "huggingface",
        "version": "0.1.0",
        "place": "someone/traces",
        "url": "https://huggingface.co/datasets/someone/traces/tree/0.1.0",
    },
    {
        "target": "zenodo",
        "version": "0.1.0",
        "place": "7",
        "url": "https://zenodo.org/records/7",
        "doi": "10.5281/zenodo.7",
        "conceptDoi": "10.5281/zenodo.6",
    },
]
URLS = [
    "https://huggingface.co/datasets/someone/traces/resolve/0.1.0/data/demo/one.parquet",
    "https://zenodo.org/api/records/7/files/data/demo/one.parquet/content",
]
DOI = {"type": "doi", "value": "10.5281/zenodo.7", "description": "version 0.1.0"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of one locked and released workload, and its mirror."""
    home = tmp_path_factory.mktemp("entry")
    archive, _ = publish(home, "https://example.org", {"one": ("one.csv", 20)})
    for schema in archive.root.glob("schemas/*.json"):  # those of other traces take most of the time
        if not schema.name.endswith(".schema.json") and schema.stem not in ("request", "demo"):
            schema.unlink()
    recipe = archive.root / "recipes" / "demo.toml"
    recipe.write_text(recipe.read_text().replace("synthetic = true\n", ""))
    citation = (ROOT / "CITATION.cff").read_text()
    (archive.root / "CITATION.cff").write_text(f"{citation}doi: 10.5281/zenodo.6\nidentifiers: {json.dumps([DOI])}\n")
    lock = json.loads((archive.root / LOCK).read_text())
    lock["releases"] = RELEASES
    lock["resources"][0]["urls"] = URLS
    (archive.root / LOCK).write_text(json.dumps(lock))
    describe(Archive(archive.root))
    return home


@pytest.fixture(scope="module")
def lock(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "published" / LOCK).read_text())
    return content


def findings(home: Path, lock: dict[str, Any], deep: bool = True) -> Iterator[Result]:
    """Validate the archive with this lock, written as `describe` would."""
    path = home / "published" / LOCK
    kept = path.read_bytes()
    try:
        path.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")
        archive = Archive(home / "published")
        yield from (each for each in _results(archive, home, deep) if not each.holds)
    finally:
        path.write_bytes(kept)


def _results(archive: Archive, home: Path, deep: bool) -> Iterator[Result]:
    yield from validate_package(archive)
    sources = Sources(cache=home / "cache", mirror=str(home / "mirror"), offline=True) if deep else None
    for workload in archive.select():
        with Table(archive.root / workload.path) as table:
            yield from validate(archive, workload, table, sources)


def is_found(home: Path, lock: dict[str, Any], deep: bool = True) -> bool:
    """Whether the lock is refused, or anything in it is a finding."""
    with contextlib.closing(findings(home, lock, deep)) as found:
        try:
            return next(found, None) is not None
        except BadUse as refused:
            return refused.subject == LOCK


def test_a_true_lock_has_no_finding(home: Path, lock: dict[str, Any]) -> None:
    assert list(findings(home, lock)) == []


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path to every leaf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        if isinstance(each, dict | list) and each:
            yield from places(each, (*place, name))
        else:
            yield (*place, name)


def changed(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    result = copy.deepcopy(value)
    inner = result
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = new
    return result


def near(value: Any) -> list[Any]:
    """Values that look like the true one."""
    if isinstance(value, bool):
        return [not value, int(value), None]
    if isinstance(value, int):
        return [value + 1, value - 1, -value - 1, float(value), str(value), None]
    if isinstance(value, str):
        digits = value[:-1] + ("0" if value[-1:] != "0" else "1")
        swaps = (("example.org", "evil.example"), ("7", "8"), (".co", ".cc"))
        swapped = [value.replace(old, new) for old, new in swaps]
        return [digits, value + "x", value[1:], f" {value}", value.swapcase(), *swapped]
    return [0, "", False, [None]]


def test_each_leaf_changed_a_little_is_found(home: Path, lock: dict[str, Any]) -> None:
    """Without the upstream, and without reading more than once."""
    for place in places(lock):
        value: Any = lock
        for name in place:
            value = value[name]
        new = next(each for each in near(value) if json.dumps(each) != json.dumps(value))
        if ".".join(map(str, place[2:])) not in UNPROVEN:
            assert is_found(home, changed(lock, place, new), deep=False), (place, new)


@settings(max_examples=30 * FACTOR, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.faults
def test_any_leaf_changed_to_anything_is_found(home: Path, lock: dict[str, Any], data: st.DataObject) -> None:
    every = [place for place in places(lock) if ".".join(map(str, place[2:])) not in UNPROVEN]
    place = data.draw(st.sampled_from(every))
    value: Any = lock
    for name in place:
        value = value[name]
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=3,
    )
    new = data.draw(st.sampled_from(near(value)) | anything)
    if json.dumps(new) != json.dumps(value):
        assert is_found(home, changed(lock, place, new)), (place, new)
