"""The lock and what is generated with it: valid, complete, and the same as a new generation would give."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml

from llm_trace_archive import __version__
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.describe import describe
from support.programs import ROOT, Samples, git, llm_traces


def test_the_lock_is_what_describe_writes(archive: Archive, tmp_path: Path) -> None:
    """Nobody edited it by hand, and no recipe or schema changed without it."""
    for name in ("recipes", "schemas", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("datapackage.json", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    describe(Archive(tmp_path))
    generated = [*(ROOT / "schemas").glob("*.json"), *(ROOT / "docs" / "traces").glob("*.md")]
    assert {f"{name}.md" for name in archive.recipes} <= {path.name for path in generated}
    for name in ("datapackage.json", "README.md", *(str(path.relative_to(ROOT)) for path in generated)):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), f"run llm-traces describe: {name} is stale"


def test_recipes_have_not_changed_since_their_tables_were_built(archive: Archive) -> None:
    locked = archive.locked
    assert len(locked) >= 7
    for workload in archive.select(locked):
        provenance = locked[str(workload)]["provenance"]
        assert provenance["recipeDigest"] == workload.digest, f"run llm-traces build {workload}"
        assert [pin["sha256"] for pin in provenance["pins"]] == [file.sha256 for file in workload.files]


def test_the_lock_is_a_valid_data_package(archive: Archive) -> None:
    from frictionless import Package

    report = Package.validate_descriptor(archive.lock)
    assert report.valid, report.flatten(["note"])
    assert {resource.type for resource in Package(str(ROOT / "datapackage.json")).resources} == {"file"}


def test_every_resource_has_what_a_reader_needs(archive: Archive) -> None:
    for each in archive.lock["resources"]:
        kind = "" if "failures" in each["facts"] else "/[a-z]+"  # data/*/*.parquet are requests
        assert re.fullmatch(f"data/{each['trace']}{kind}/{each['workload']}.parquet", each["path"])
        assert re.fullmatch("sha256:[0-9a-f]{64}", each["hash"]) and each["bytes"] > 0 and each["facts"]["rows"] > 0
        assert (ROOT / each["schema"]).is_file()
        assert each["licenses"][0]["name"] and each["licenses"][0]["path"].startswith("https://")
        assert each["citation"] and each["sources"] and each["collected"]
        for pin in each["provenance"]["pins"]:
            assert pin["url"].startswith("https://") and len(pin["sha256"]) == 64 and pin["bytes"] > 0
        assert set(each["provenance"]["tools"]) == {"llm-trace-archive", "pyarrow"}


def test_data_holds_a_link_a_pinned_workload_and_nothing_else(archive: Archive) -> None:
    """To the key of its sha256 where the lock has it, else to the key of its recipe."""
    held = dict(line.split("\t")[::-1] for line in git("ls-files", "--stage", "data", cwd=ROOT).splitlines())
    wanted = {archive.select(names)[0].path: key for key, names in links.workloads_by_key(archive).items()}
    assert held.keys() == wanted.keys()
    for path, key in wanted.items():
        assert held[path].startswith("120000"), f"{path} is not a link"
        assert (ROOT / path).readlink() == Path(links.link_target(path, key))


def test_synthetic_data_says_so_wherever_it_surfaces(samples: Samples) -> None:
    lock = Archive(samples.root).lock
    assert "synthetic" in lock["title"]
    assert all(each["synthetic"] and "synthetic" in each["title"] for each in lock["resources"])
    readme = (samples.root / "README.md").read_text()
    assert "synthetic" in readme.split("---")[1] and readme.count("(synthetic)") == len(lock["resources"])
    listed = llm_traces("list", cwd=samples.root).stdout.splitlines()[1:]
    assert all("(synthetic)" in line for line in listed if line)
    assert "synthetic" in llm_traces("info", "burstgpt", cwd=samples.root).stdout


def test_citation_is_valid_cff(archive: Archive) -> None:
    """The keys, types and formats that CFF 1.2.0 requires, and those we use."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cff["cff-version"] == "1.2.0" and cff["type"] in ("dataset", "software")
    assert isinstance(cff["message"], str) and isinstance(cff["title"], str)
    assert cff["authors"] and all("name" in each or "family-names" in each for each in cff["authors"])
    date.fromisoformat(cff["date-released"])
    assert re.fullmatch(r"[A-Za-z0-9.+-]+", cff["license"]) and cff["repository-code"].startswith("https://")
    assert all(isinstance(word, str) for word in cff["keywords"])
    known = {"cff-version", "message", "title", "abstract", "type", "authors", "version", "date-released", "license",
             "repository-code", "keywords", "references", "doi", "url", "identifiers"}  # fmt: skip
    assert set(cff) <= known


def test_one_version_everywhere(archive: Archive) -> None:
    assert archive.lock["version"] == __version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"resources": [{}]}'])
def test_a_damaged_lock_is_told(samples: Samples, tmp_path: Path, text: str) -> None:
    folder = samples.clone(tmp_path)
    (folder / "datapackage.json").write_text(text)
    for command in (["list"], ["setup"], ["build", "kavier/decode", "--mirror", str(samples.mirror)]):
        done = llm_traces(*command, cwd=folder)
        assert done.returncode == 2 and "Traceback" not in done.stderr, (command, done.stderr)
        assert "datapackage.json" in done.stderr and "git checkout -- datapackage.json" in done.stderr
    json.loads(git("show", "HEAD:datapackage.json", cwd=folder))
