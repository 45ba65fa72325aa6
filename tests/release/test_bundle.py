"""The bundle: what it holds, that others can read it, that it is the same every time, and never half-written."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from llm_trace_archive import __version__
from llm_trace_archive.core.archive import SUMS, Archive
from llm_trace_archive.core.errors import BadUse, Problem
from llm_trace_archive.core.schema import TYPES
from llm_trace_archive.release.bundle import pack
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.content.crate import describe_files
from llm_trace_archive.release.content.croissant import describe_tables
from llm_trace_archive.release.gate import check as gate
from support.bundles import summed, tiny_bundle
from support.command import run_here
from support.fake_hub import fake_hub
from support.golden import assert_golden
from support.hub_runs import environment, release_quickly
from support.programs import BIN, git, llm_traces
from support.releases import LEFT_OUT, RELEASED, Release

TABLES = [f"data/{name}.parquet" for name in RELEASED]
FILES = [
    "CITATION.cff",
    "LICENSE.txt",
    "LICENSES/Apache-2.0.txt",
    "NOTICE",
    "README.md",
    "SHA256SUMS",
    "croissant.json",
    *TABLES,
    "datapackage.json",
    "recipes/blocks.toml",
    "recipes/demo.toml",
    "release-report.json",
    "release-report.txt",
    "ro-crate-metadata.json",
    "schemas/blocks.json",
    "schemas/citation.schema.json",
    "schemas/datapackage.schema.json",
    "schemas/demo.json",
    "schemas/recipe.schema.json",
    "schemas/release-report.schema.json",
    "schemas/request.json",
]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(bundle: Bundle, path: str) -> Any:
    return json.loads((bundle.root / path).read_text(encoding="utf-8"))


def test_it_holds_what_was_selected_and_nothing_else(bundle: Bundle, original: Release) -> None:
    assert [each.path for each in bundle.files] == sorted(FILES)
    assert not any(path.is_symlink() for path in bundle.root.rglob("*"))
    assert all(path.stat().st_mode & 0o200 for path in bundle.root.rglob("*.parquet"))
    for path in TABLES:
        assert (bundle.root / path).read_bytes() == (original.root / path).read_bytes()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=bundle.root, check=True)
    assert bundle.version == __version__
    for name in LEFT_OUT:
        assert f"{name.replace('/', '-')}" not in (bundle.root / "datapackage.json").read_text()


def test_the_descriptor_is_the_lock_of_what_is_released_with_urls(bundle: Bundle, original: Release) -> None:
    package, locked = bundle.package, original.archive.locked
    assert package["name"] == "llm-trace-archive" and package["title"] == "LLM Trace Archive"
    base = f"https://huggingface.co/datasets/llm-trace-archive/llm-trace-archive/resolve/{__version__}/"
    for each, name in zip(package["resources"], RELEASED, strict=True):
        assert each.pop("urls") == [base + each["path"]]
        assert each == locked[name]


def test_stock_frictionless_finds_it_valid(bundle: Bundle) -> None:
    for plugin in ("off", "on"):
        done = subprocess.run(
            [BIN / "frictionless", "validate", "datapackage.json", "--json"],
            cwd=bundle.root,
            env=os.environ | {"FRICTIONLESS_ARROW": plugin},
            capture_output=True,
            text=True,
        )
        report = json.loads(done.stdout)
        assert done.returncode == 0 and report["valid"] and report["stats"]["tasks"] == len(TABLES), done.stdout


def test_it_is_an_archive_that_validates(bundle: Bundle) -> None:
    ran = run_here("validate", cwd=bundle.root)
    assert ran.returncode == 0 and ran.stdout.endswith(f"{len(TABLES)} workloads, 0 findings\n"), ran.stdout


def test_datasets_loads_every_config_of_the_card(bundle: Bundle) -> None:
    from datasets import load_dataset

    front = yaml.safe_load((bundle.root / "README.md").read_text().split("---\n")[1])
    assert [each["config_name"] for each in front["configs"]] == ["default", "blocks", "demo"]
    every = load_dataset(str(bundle.root))["train"]
    assert len(every) == sum(pq.read_metadata(bundle.root / path).num_rows for path in TABLES)
    demo = load_dataset(str(bundle.root), "demo")
    assert {split: rows.to_list() for split, rows in demo.items()} == {
        name: pq.read_table(bundle.root / f"data/demo/{name}.parquet").to_pylist() for name in ("few", "many")
    }


def test_the_readme_is_for_those_who_receive_the_bundle(bundle: Bundle) -> None:
    _, _, body = (bundle.root / "README.md").read_text().split("---\n", 2)
    assert_golden("release/readme", body)
    links = re.findall(r"\]\(([^)]+)\)", body)
    assert "NOTICE" in links and "CITATION.cff" in links
    tag = f"https://github.com/llm-trace-archive/llm-trace-archive/tree/{__version__}"
    assert [each for each in links if not (bundle.root / each).is_file()] == [tag]
    for code in re.findall(r"```python\n(.*?)```", body, re.DOTALL):
        compile(code, "README.md", "exec")
    assert not re.search(r"make demo|make test|llm-traces setup|datalad|git-annex|BurstGPT", body)


def test_the_code_in_the_readme_reads_a_table(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.root)
    body = (bundle.root / "README.md").read_text()
    code = next(each for each in re.findall(r"```python\n(.*?)```", body, re.DOTALL) if "mlcroissant" in each)
    calls = [line for line in code.splitlines() if line.startswith(("pandas.", "pyarrow.", "mlcroissant."))]
    scope: dict[str, Any] = {}
    exec("\n".join(line for line in code.splitlines() if line.startswith("import")), scope)
    assert len(calls) == 3
    assert [len(list(found.index) if hasattr(found := eval(call, scope), "index") else found.to_pylist()
                if isinstance(found, pa.Table) else list(found)) for call in calls] == [300] * 3  # fmt: skip


def test_it_holds_the_texts_of_licences_that_require_a_copy(bundle: Bundle) -> None:
    assert {each.path for each in bundle.files if each.path.startswith("LICENSES/")} == {"LICENSES/Apache-2.0.txt"}
    text = (bundle.root / "LICENSES/Apache-2.0.txt").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


def test_the_notice_names_authors_licences_and_changes(bundle: Bundle) -> None:
    assert_golden("release/NOTICE", (bundle.root / "NOTICE").read_text())


# -- Croissant --------------------------------------------------------------------------------------------------------


def records(folder: Path, name: str, most: int | None = None) -> list[dict[str, Any]]:
    """What mlcroissant reads: names without their record set, and text, which it returns as bytes."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        return value.decode() if isinstance(value, bytes) else value

    rows = itertools.islice(mlc.Dataset(jsonld=str(folder / "croissant.json")).records(name), most)
    return [{key.partition("/")[2]: plain(value) for key, value in each.items()} for each in rows]


def test_croissant_is_valid_and_its_records_are_the_rows_of_the_tables(bundle: Bundle) -> None:
    dataset = mlc.Dataset(jsonld=str(bundle.root / "croissant.json"))
    assert dataset.metadata.ctx.issues.report() == ""
    assert [each.name for each in dataset.metadata.record_sets] == list(RELEASED)
    for each in bundle.package["resources"]:
        assert records(bundle.root, each["name"]) == pq.read_table(bundle.root / each["path"]).to_pylist()
    croissant = read(bundle, "croissant.json")
    assert croissant["conformsTo"] == "http://mlcommons.org/croissant/1.0" and croissant["version"] == __version__
    sums = {each.path: each.sha256 for each in bundle.files}
    assert {each["contentUrl"]: each["sha256"] for each in croissant["distribution"]} == {p: sums[p] for p in TABLES}
    assert croissant["license"] == [
        f"https://spdx.org/licenses/{key}.html" for key in ("Apache-2.0", "CC-BY-4.0", "MIT")
    ]


def test_croissant_reads_nulls_lists_and_numbers_of_every_type(tmp_path: Path) -> None:
    values = {
        "bool": [True, None, False],
        "int8": [-1, None, 127],
        "int16": [-(2**15), None, 2**15 - 1],
        "int32": [0, None, 2**31 - 1],
        "int64": [2**53, None, -(2**53)],
        "float64": [0.1, None, -1e300],
        "string": ["", None, "ü"],
        "list<int32>": [[1, 2], None, []],
        "list<int64>": [[2**62 + 1], None, []],
        "list<float64>": [[0.5, -1e300], None, []],
        "list<string>": [["a", "ü"], None, []],
        "dictionary<string>": ["a", None, "b"],
    }
    assert set(values) == set(TYPES)
    kinds = {"bool": "boolean", "float64": "number", "string": "string", "dictionary<string>": "string"}
    fields = []
    for kind in TYPES:
        is_list = kind.startswith("list")
        item = {"list<string>": "string", "list<float64>": "number"}.get(kind, "integer")
        field = {"name": kind, "description": kind, "type": "array" if is_list else kinds.get(kind, "integer")}
        fields.append(field | ({"arrayItem": {"type": item}} if is_list else {}))
    columns = {kind: pa.array(values[kind], TYPES[kind]) for kind in TYPES}
    # Whole numbers are exact, however large, only in columns without nulls: it reads by pandas.
    columns["request_id"] = pa.array([2**62 + 1, 1, -(2**63)])
    fields.append({"name": "request_id", "description": "id", "type": "integer"})
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    sha256 = hashlib.sha256((tmp_path / "t.parquet").read_bytes()).hexdigest()
    resource = {"name": "t", "trace": "t", "workload": "t", "title": "T", "path": "t.parquet", "bytes": 1,
                "hash": f"sha256:{sha256}", "schema": "s", "licenses": [{"name": "MIT"}], "citation": "c"}  # fmt: skip
    package = {"title": "T", "description": "d", "version": "1.0.0", "homepage": "https://example.org/",
               "licenses": [{"name": "MIT"}], "resources": [resource]}  # fmt: skip
    description = describe_tables(package, {"s": {"fields": fields, "primaryKey": ["request_id"]}}, {})
    (tmp_path / "croissant.json").write_text(json.dumps(description))
    assert records(tmp_path, "t") == pa.table(columns).to_pylist()


# -- its README -------------------------------------------------------------------------------------------------------

# Runs each Python block of the README in a namespace of its own.
RUN_PYTHON = r"""
import pathlib, re
for block in re.findall(r"```python\n(.*?)```", pathlib.Path("README.md").read_text(), re.DOTALL):
    exec(compile(block, "README.md", "exec"), {})
    print("ran", len(block.splitlines()), "lines")
"""


def test_every_line_of_code_in_the_readme_runs_in_its_own_folder_with_stock_packages(
    report: gate.Report, tmp_path: Path
) -> None:
    root = tmp_path / "any name"
    with fake_hub(tmp_path / "hub") as hub:
        hub.organisations = ("llm-trace-archive",)
        packed = pack.pack(report, root)
        assert packed
        release_quickly(hub, packed, repo="llm-trace-archive/llm-trace-archive")
        text = (root / "README.md").read_text()
        more = {"FRICTIONLESS_ARROW": "off", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "PYTHONWARNINGS": "ignore"}
        means = environment(hub, **more)
        blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
        assert [kind for kind, _ in blocks] == ["sh", "python", "python", "python"]
        for command in (["bash", "-eu", "-c", blocks[0][1]], ["python", "-c", RUN_PYTHON]):
            done = subprocess.run(command, cwd=root, env=means, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ran ") == 3
    assert content(root) == content(packed.root) and Bundle.open(root)


# -- RO-Crate ---------------------------------------------------------------------------------------------------------


def test_the_crate_lists_every_file_and_every_reference_resolves(bundle: Bundle) -> None:
    from rocrate.rocrate import ROCrate

    crate = ROCrate(bundle.root)
    assert crate.root_dataset["publisher"]["url"] == bundle.package["homepage"]
    assert crate.root_dataset["version"] == __version__ and str(crate.version) == "1.1"
    assert crate.root_dataset["datePublished"] == bundle.citation["date-released"]
    licences = ["Apache-2.0", "CC-BY-4.0", "MIT"]
    assert [each["name"] for each in crate.root_dataset["license"]] == licences
    assert [each["name"] for each in bundle.package["licenses"]] == bundle.citation["license"] == licences
    assert bundle.package["licenses"][-1]["title"] == "of schemas, recipes and descriptions"
    assert [each["name"] for each in crate.root_dataset["author"]] == ["Ada Lovelace", "Analytical Engine Society"]
    files = {each.id for each in crate.get_entities() if each.type == "File"}
    assert files == {each.path for each in bundle.files} - {"ro-crate-metadata.json"}
    graph = {each["@id"]: each for each in read(bundle, "ro-crate-metadata.json")["@graph"]}
    references = {each["@id"] for entity in graph.values() for value in entity.values()
                  for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)}  # fmt: skip
    assert references - graph.keys() == {"https://w3id.org/ro/crate/1.1"}
    for each in bundle.package["resources"]:
        entity = crate.get(each["path"])
        assert (entity["identifier"], entity["contentSize"]) == (each["hash"], str(each["bytes"]))
        assert (entity["creditText"], entity["license"]["name"]) == (each["citation"], each["licenses"][0]["name"])
        assert entity["isBasedOn"].id == each["sources"][0]["path"]


def test_a_crate_of_a_citation_without_a_date_has_no_date() -> None:
    package = {"title": "T", "description": "d", "version": "1", "homepage": "https://a.example", "licenses": [],
               "resources": []}  # fmt: skip
    root, *_ = describe_files(package, {}, ["a b.md"])["@graph"]
    assert root["@id"] == "./" and root["hasPart"] == [{"@id": "a%20b.md"}] and "datePublished" not in root


# -- the same every time, and never half-written ----------------------------------------------------------------------


def test_two_runs_give_the_same_bytes_whatever_the_zone_threads_and_clone(
    bundle: Bundle, archive_copy: Release, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere" / "another-name"
    environment = {"TZ": "Pacific/Kiritimati", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "1", "LC_ALL": "C"}
    arguments = ("release", "bundle", target, "--mirror", archive_copy.mirror)
    ran = llm_traces(*arguments, cwd=archive_copy.root, **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{target}: {len(FILES)} files" in ran.stdout
    assert content(target) == content(bundle.root)
    os.utime(target / "README.md", (0, 0))
    ran = run_here(*arguments, cwd=archive_copy.root)
    assert ran.stdout.endswith(f"{target}: nothing to do: this bundle is already there\n")


def of_another_owner(report: gate.Report) -> gate.Report:
    """The same release with other URLs."""
    return replace(report, contents=replace(report.contents, organisation="us"))


def test_findings_write_nothing(archive_copy: Release, tmp_path: Path) -> None:
    git("tag", "--delete", __version__, cwd=archive_copy.root)
    ran = run_here("release", "bundle", tmp_path / "out", "--mirror", archive_copy.mirror, cwd=archive_copy.root)
    assert ran.returncode == 1 and not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    assert_golden("release/findings", ran.stderr)


def test_an_earlier_bundle_is_replaced(report: gate.Report, bundle: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    assert pack.pack(of_another_owner(report), target)
    assert "datasets/us/llm-trace-archive/resolve" in (target / "datapackage.json").read_text()
    assert pack.pack(report, target)
    assert content(target) == content(bundle.root) and [each.name for each in tmp_path.iterdir()] == ["bundle"]
    assert pack.pack(report, target) is None


def test_other_folders_are_refused(report: gate.Report, bundle: Bundle, original: Release, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("changed", "more", "look-alikes", "invalid", "whole"):
        shutil.copytree(bundle.root, tmp_path / name)
    (tmp_path / "changed" / "NOTICE").write_text("changed")
    (tmp_path / "more" / "note.txt").write_text("mine")
    package = tmp_path / "look-alikes" / "datapackage.json"
    package.write_text(package.read_text().replace('"name": "llm-trace-archive"', '"name": "look-alikes"'))
    summed(tmp_path / "look-alikes")
    with (tmp_path / "invalid" / SUMS).open("a") as stream:
        stream.write("mine\n")
    before = content(tmp_path)
    refusals = []
    for name in ("mine", "file", "changed", "more", "look-alikes", "invalid"):
        with pytest.raises(BadUse) as caught:
            pack.pack(report, tmp_path / name)
        refusals.append(str(caught.value))
    places = (
        original.root / "out",
        original.root / "data" / "out",
        tmp_path / "whole" / "new" / "out",
        tmp_path / "file" / "out",
        tmp_path / ("long" * 100),
    )
    for place in (tmp_path / "mine", *places):
        with pytest.raises(BadUse) as caught:
            pack.refuse_unusable(original.archive, place)
        refusals.append(str(caught.value).replace("long" * 100, "long..."))
    for place in (tmp_path / "new", tmp_path / "whole", tmp_path / "a" / "b"):
        pack.refuse_unusable(original.archive, place)
    assert content(tmp_path) == before
    assert_golden("release/folder-refused", "\n".join(refusals), tmp=tmp_path, archive=original.root)


@pytest.mark.parametrize("name", ["fifo", SUMS])
def test_a_named_pipe_is_reported_and_not_opened(bundle: Bundle, tmp_path: Path, name: str) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(bundle.root, root)
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(Problem, match=f"{name}: not a plain file"):
        Bundle.open(root)


# A few lines that stand for 10^10 values.
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("datapackage.json", text) for text in ("", "[]", "{", "null", "{}", '{"resources": [1]}')),
        *(("CITATION.cff", text) for text in ("", "[]", "{", "null", "\t")),
        *((name, f'{{"resources": {"[" * 9999}{"]" * 9999}}}') for name in ("datapackage.json", "CITATION.cff")),
        ("CITATION.cff", BOMB),
    ],
)
def test_a_bundle_with_broken_metadata_is_bad_use(tmp_path: Path, name: str, text: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.root / name).write_text(text)
    broken = summed(bundle.root)
    with pytest.raises(BadUse, match=name):
        _ = broken.package, broken.citation


def test_a_folder_that_git_ignores_may_be_inside_the_archive(archive_copy: Release, tmp_path: Path) -> None:
    report = gate.check(archive_copy.archive, archive_copy.sources(tmp_path))
    assert pack.pack(report, archive_copy.root / "dist" / "bundle")
    assert gate.check(archive_copy.archive, archive_copy.sources(tmp_path)).findings == 0


def test_a_table_that_changes_after_the_gate_is_not_bundled(
    report: gate.Report, archive_copy: Release, tmp_path: Path
) -> None:
    path = (archive_copy.root / TABLES[1]).resolve()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Problem, match=r"few\.parquet: the table changed after the gate checked it"):
        pack.pack(replace(report, contents=replace(report.contents, archive=archive_copy.archive)), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_bundle(
    fails: str, report: gate.Report, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    pack.pack(of_another_owner(report), target)
    before, left = content(tmp_path), 9 if fails == "fsync" else 0

    def fail(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(BadUse) as caught:
        pack.pack(report, target)
    monkeypatch.undo()
    assert_golden("release/disk-full", str(caught.value), tmp=tmp_path)
    assert content(tmp_path) == before
    assert pack.pack(report, target) and content(target) == content(bundle.root)


@pytest.mark.parametrize("replaces", [False, True])
def test_a_run_killed_at_any_step_leaves_all_or_nothing_and_the_next_run_succeeds(
    replaces: bool, report: gate.Report, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child is killed at its first sync or rename, the next at its second, and so on until one succeeds."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and a kill loses nothing that was not synced
    target, older = tmp_path / "here" / "bundle", tmp_path / "older"
    pack.pack(of_another_owner(report), older)
    wholes = [content(bundle.root), content(older)] if replaces else [content(bundle.root)]
    for step in range(1, 200):
        if replaces:
            shutil.copytree(older, target)
        child = os.fork()
        if child == 0:
            kill_at(step)
            pack.pack(report, target)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        # Between the two renames of a replacement there is neither bundle.
        assert content(target) in wholes if target.exists() else status
        if status == 0:
            break
        pack.pack(report, target)
        assert content(tmp_path / "here") == {f"bundle/{path}": found for path, found in wholes[0].items()}
        shutil.rmtree(target)
    assert step > len(FILES) and status == 0 and content(target) == wholes[0]


def kill_at(step: int) -> None:
    """Kill this process by SIGKILL before its sync or rename of this number."""
    left = step

    def count(call: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        return counting

    os.fsync, os.rename, os.replace = count(os.fsync), count(os.rename), count(os.replace)


def test_a_release_of_every_trace_has_less_than_a_hundred_files(archive: Archive) -> None:
    released = [each for each in archive.select() if each.redistribute]
    recipes = {each.trace for each in released} | {each.listed.path for each in released if each.listed}
    schemas = {each.schema_path for each in released}
    others = len(FILES) - len(TABLES) - 2 - 2  # less the two recipes and the two schemas of traces
    assert 60 < len(released) + len(recipes) + len(schemas) + others < 100


CITED = """\
doi: 10.5281/zenodo.42
identifiers:
- type: doi
  value: 10.5281/zenodo.42
  description: The DOI of version {0}.
"""


def test_real_traces_are_bundled_and_read_by_mlcroissant(archive: Archive, mirror: Path, tmp_path: Path) -> None:
    """The traces whose upstream files are available, built and released."""
    clone = tmp_path / "archive"
    git("clone", "--quiet", f"file://{archive.root}", str(clone), cwd=tmp_path)
    changelog = clone / "CHANGELOG.md"
    date = yaml.safe_load((clone / "CITATION.cff").read_text())["date-released"]
    changelog.write_text(changelog.read_text().replace("(unreleased)", f"({date})", 1))
    citation = clone / "CITATION.cff"
    citation.write_text(
        citation.read_text().replace("The LLM Trace Archive authors", "Analytical Engine Society")
        + CITED.format(__version__)
    )
    git("commit", "--quiet", "--all", "--allow-empty", "--message", "Release", cwd=clone)
    git("tag", "--force", __version__, cwd=clone)
    locked = Archive(clone).locked
    built = run_here("build", *locked, "--mirror", mirror, "--offline", cwd=clone)
    assert built.returncode == 0, built.stdout + built.stderr
    bundled = run_here("release", "bundle", tmp_path / "out", "--mirror", mirror, cwd=clone)
    assert bundled.returncode == 0, bundled.stdout + bundled.stderr
    bundle = Bundle.open(tmp_path / "out")
    assert len(bundle.package["resources"]) == len(locked)
    for path in ("NOTICE", "LICENSES/MIT.txt"):
        assert "Copyright (c) 2025 AtLarge Research" in (bundle.root / path).read_text()
    for each in bundle.package["resources"]:
        table = pq.read_table(bundle.root / each["path"])
        # mlcroissant reads columns as a whole, and rows slowly: only the first.
        assert records(bundle.root, each["name"], 300) == table.slice(0, 300).to_pylist()
        for column in table.columns:  # the docs promise that it rounds none
            if column.null_count and pa.types.is_integer(column.type):
                assert (pc.max(pc.abs(column)).as_py() or 0) <= 2**53
