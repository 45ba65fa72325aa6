"""Planted faults: each is a finding that names column and row where it can; a clean archive has no finding."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from llm_trace_archive.checks.integrity import BATCH_ROWS, check_integrity
from llm_trace_archive.checks.result import Result
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.validate import validate
from llm_trace_archive.upstream.sources import Sources
from support.chance import seeds
from support.programs import ROOT, Samples, llm_traces

NAMES = ["azure-2023/code", "burstgpt/3", "kavier/decode", "mooncake/conversation", "ragpulse/components"]


@pytest.fixture(scope="module")
def built(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    clone = samples.clone(tmp_path_factory.mktemp("detection"))
    llm_traces("build", *NAMES, "--mirror", samples.mirror, cwd=clone, check=True)
    return Archive(clone)


def findings(archive: Archive, name: str, sources: Sources | None = None) -> list[Result]:
    (workload,) = archive.select([name])
    with Table(archive.root / workload.path) as table:
        return [each for each in validate(archive, workload, table, sources) if not each.holds]


def plant(archive: Archive, name: str, table: pa.Table, stale_lock: bool = False) -> None:
    """Replace a workload's table; and the lock's hash, as a forger would, unless the lock is to be stale."""
    (workload,) = archive.select([name])
    path = archive.root / workload.path
    metadata = pq.read_metadata(path).metadata
    path.unlink()
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({key: value for key, value in metadata.items() if key != b"ARROW:schema"})
    if not stale_lock:
        lock = json.loads((archive.root / "datapackage.json").read_text())
        resource = next(each for each in lock["resources"] if each["path"] == workload.path)
        resource["bytes"] = path.stat().st_size
        resource["hash"] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        (archive.root / "datapackage.json").write_text(json.dumps(lock))
        archive.reread()


@pytest.fixture
def restore(built: Archive) -> object:
    """Undo what a test plants."""
    paths = [built.root / "datapackage.json", *(built.root / each.path for each in built.select(NAMES))]
    kept = [(path, path.readlink() if path.is_symlink() else path.read_bytes()) for path in paths]
    yield
    for path, was in kept:
        path.unlink()
        path.symlink_to(was) if isinstance(was, Path) else path.write_bytes(was)
    built.reread()


def edit(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    field = table.schema.field(column)
    values = table.column(column).to_pylist()
    values[row] = value
    plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    made = pa.array(values, plain)
    made = made.dictionary_encode() if pa.types.is_dictionary(field.type) else made
    return table.set_column(table.schema.get_field_index(column), field, made)


def swap(table: pa.Table) -> pa.Table:
    order = list(range(len(table)))
    order[5], order[6] = 6, 5
    return table.take(order)


def narrow_input(table: pa.Table) -> pa.Table:
    at = table.column_names.index("input_tokens")
    return table.set_column(at, "input_tokens", table.column(at).cast(pa.int32()))


Mutation = tuple[str, Callable[[pa.Table], pa.Table], str, int | None]
SHAPES: list[Mutation] = [
    ("row dropped", lambda t: pa.concat_tables([t.slice(0, 5), t.slice(6)]), "request_id", 5),
    ("row doubled", lambda t: pa.concat_tables([t.slice(0, 6), t.slice(5)]), "request_id", 6),
    ("rows swapped", swap, "request_id", 5),
    ("last row dropped", lambda t: t.slice(0, len(t) - 1), "", None),
    ("tokens negative", lambda t: edit(t, "input_tokens", 7, -1), "input_tokens", 7),
    ("tokens absurd", lambda t: edit(t, "output_tokens", 7, 2**31 - 1), "output_tokens", 7),
    ("trace of another", lambda t: edit(t, "trace", 3, "other"), "trace", 3),
    ("column renamed", lambda t: t.rename_columns({"arrival_us": "arrival"}), "", None),
    ("columns reordered", lambda t: t.select([*t.column_names[1:], t.column_names[0]]), "", None),
    ("column missing", lambda t: t.drop_columns(["model"]), "", None),
    ("column more", lambda t: t.append_column("more", pa.nulls(len(t), pa.int8())), "", None),
    ("no longer required", lambda t: t.cast(pa.schema([f.with_nullable(True) for f in t.schema])), "request_id", None),
    ("type changed", narrow_input, "input_tokens", None),
]  # fmt: skip


@pytest.mark.parametrize("name", ["azure-2023/code", "burstgpt/3", "mooncake/conversation"])
@pytest.mark.parametrize("mutation", SHAPES, ids=[each[0] for each in SHAPES])
def test_faults_of_shape_are_found_though_the_hash_matches(
    built: Archive, restore: object, name: str, mutation: Mutation
) -> None:
    fault, mutate, column, row = mutation
    (workload,) = built.select([name])
    plant(built, name, mutate(pq.read_table(built.root / workload.path)))
    found = findings(built, name)
    assert found, fault
    if column:
        of_column = [each for each in found if each.column == column]
        assert of_column, (fault, found)
        if row is not None:
            assert of_column[0].rows[0][0] == row
    else:
        assert any(each.name in ("columns", "rows scanned", "rows of the footer") for each in found)


VALUES: list[tuple[str, str, Callable[[pa.Table], pa.Table]]] = [
    ("burstgpt/3", "total_tokens", lambda t: edit(t, "total_tokens", 9, 1)),
    ("mooncake/conversation", "hash_ids", lambda t: edit(t, "hash_ids", 9, [1])),
    ("mooncake/conversation", "hash_ids", lambda t: edit(t, "hash_ids", 9, [-1] * len(t["hash_ids"][9].as_py()))),
    ("ragpulse/components", "component", lambda t: edit(t, "component", 9, "other")),
]


@pytest.mark.parametrize(("name", "column", "mutate"), VALUES)
def test_broken_relations_and_values_name_column_and_row(
    built: Archive, restore: object, name: str, column: str, mutate: Callable[[pa.Table], pa.Table]
) -> None:
    (workload,) = built.select([name])
    plant(built, name, mutate(pq.read_table(built.root / workload.path)))
    found = [each for each in findings(built, name) if each.rows]
    assert {(each.column, each.rows[0][0]) for each in found} == {(column, 9)}


@pytest.mark.parametrize(("column", "value"), [("input_tokens", 1), ("arrival_us", None), ("output_tokens", 1)])
def test_a_plausible_edit_is_found_by_the_round_trip(
    built: Archive, restore: object, samples: Samples, tmp_path: Path, column: str, value: int | None
) -> None:
    """Only the upstream's pin reveals it, which --deep checks."""
    name = "azure-2023/code"
    (workload,) = built.select([name])
    table = pq.read_table(built.root / workload.path)
    new = value if value is not None else table[column][9].as_py() + 1
    plant(built, name, edit(table, column, 9, new))
    sources = Sources(cache=tmp_path, mirror=str(samples.mirror), offline=True)
    assert {each.check for each in findings(built, name, sources)} >= {"provenance"}


def test_a_unit_that_changed_is_found(built: Archive, restore: object, samples: Samples, tmp_path: Path) -> None:
    name = "burstgpt/3"
    (workload,) = built.select([name])
    table = pq.read_table(built.root / workload.path)
    index = table.schema.get_field_index("latency_us")
    milliseconds = pc.divide(table.column(index), 1000)
    plant(built, name, table.set_column(index, table.schema.field(index), milliseconds))
    sources = Sources(cache=tmp_path, mirror=str(samples.mirror), offline=True)
    assert any(each.check == "provenance" for each in findings(built, name, sources))


def test_a_stale_lock_and_a_swapped_file_are_found(built: Archive, restore: object) -> None:
    (code,) = built.select(["azure-2023/code"])
    (decode,) = built.select(["kavier/decode"])
    plant(built, str(code), pq.read_table(built.root / code.path), stale_lock=True)
    assert {each.name for each in findings(built, str(code))} >= {"sha256"}
    (built.root / code.path).unlink()
    (built.root / code.path).write_bytes((built.root / decode.path).read_bytes())
    assert {each.name for each in findings(built, str(code))} >= {"sha256", "bytes"}


def column_at(path: Path, offset: int) -> str:
    """The column whose pages are at an offset; empty for the rest of the file."""
    groups = pq.read_metadata(path)
    for chunk in (
        groups.row_group(n).column(c) for n in range(groups.num_row_groups) for c in range(groups.num_columns)
    ):
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        if start <= offset < start + chunk.total_compressed_size:
            return str(chunk.path_in_schema).partition(".")[0]
    return ""


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_byte_anywhere_is_found(built: Archive, restore: object, name: str) -> None:
    """One flip at a time at a random offset; only the damaged column is named."""
    resource = built.locked[name]
    (workload,) = built.select([name])
    path = built.root / workload.path
    content = path.read_bytes()
    whole = path.resolve()
    path.unlink()
    named, flips = 0, seeds(100)
    for seed in flips:
        chance = random.Random(f"{name} {seed}")
        offset = chance.randrange(len(content))
        flipped = bytearray(content)
        flipped[offset] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        with Table(path) as table:
            sha256, *more = [each for each in check_integrity(resource, table) if not each.holds]
        assert sha256.name == "sha256", (seed, offset)
        columns = {each.column for each in more if each.column}
        # A damaged footer may point to other pages.
        assert columns <= {column_at(whole, offset)} or not column_at(whole, offset), (seed, offset)
        named += bool(columns)
    assert named > len(flips) / 10


def test_damage_names_the_column_and_about_which_row(built: Archive, restore: object) -> None:
    """To `BATCH_ROWS` rows, once for each row group: Arrow does not say which page it is."""
    (workload,) = built.select(["burstgpt/3"])
    path = built.root / workload.path
    table = pq.read_table(path).take(list(range(400)) * 100)
    path.unlink()
    pq.write_table(table, path, row_group_size=20_000, write_page_checksum=True, data_page_size=1000)
    content = bytearray(path.read_bytes())
    for group in range(2):
        chunk = pq.read_metadata(path).row_group(group).column(table.column_names.index("arrival_us"))
        content[chunk.dictionary_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    *_, sha256, pages = findings(built, str(workload))
    assert (sha256.name, pages.name, pages.column) == ("sha256", "pages of arrival_us", "arrival_us")
    assert "CRC checksum verification failed" in str(pages.found)
    assert len(pages.rows) == 2
    for group, (row, value) in enumerate(pages.rows):
        assert row < 20_000 * (group + 1) <= row + BATCH_ROWS and f"within {BATCH_ROWS:,} rows" in value


def test_another_footer_is_found(built: Archive, restore: object) -> None:
    """The pages are intact, but the footer is not the original."""
    (workload,) = built.select(["burstgpt/3"])
    path = built.root / workload.path
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b"arrival_us", b"ARRIVAL_us"))
    assert {"sha256", "columns"} <= {each.name for each in findings(built, str(workload))}
    path.write_bytes(content[:-9] + b"\xff" + content[-8:])
    assert {"sha256"} <= {each.name for each in findings(built, str(workload))}


def test_a_file_of_the_right_size_with_wrong_content_is_found(built: Archive, restore: object) -> None:
    (workload,) = built.select(["burstgpt/3"])
    path = built.root / workload.path
    size = path.stat().st_size
    path.unlink()
    for content in (b"\0" * size, random.Random(1).randbytes(size), b"PAR1" + b"\xff" * (size - 8) + b"PAR1"):
        path.write_bytes(content)
        found = findings(built, str(workload))
        assert [each.name for each in found] == ["sha256", "footer"], found


@pytest.mark.parametrize(("column", "value"), [("output_tokens", -1), ("total_tokens", 1)])
def test_a_lock_that_is_stale_does_not_hide_what_is_wrong(
    built: Archive, restore: object, column: str, value: int
) -> None:
    """The file is not the lock's, but readable: the column and the row are named all the same."""
    (workload,) = built.select(["burstgpt/3"])
    plant(built, str(workload), edit(pq.read_table(built.root / workload.path), column, 7, value), stale_lock=True)
    found = findings(built, str(workload))
    assert "sha256" in {each.name for each in found}
    assert any(each.column == column and each.rows[0][0] == 7 for each in found if each.rows)


def test_a_clean_archive_has_no_finding(built: Archive, samples: Samples, tmp_path: Path) -> None:
    done = llm_traces(
        "validate", "--deep", "--mirror", samples.mirror, "--json", tmp_path / "v.json", "--junit", tmp_path / "v.xml",
        cwd=built.root,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / "v.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "schemas" / "validation.schema.json").read_text()))
    assert report["findings"] == 0 and {each["subject"] for each in report["results"]} == {"package", *NAMES}
    assert {each["check"] for each in report["results"]} == {
        "package", "integrity", "schema", "rows", "keys", "relations", "expectations", "provenance",
    }  # fmt: skip
    suites = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert [suite.get("failures") for suite in suites] == ["0"] * (1 + len(NAMES))


def test_a_row_group_that_is_too_large_is_not_read(built: Archive, restore: object, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("llm_trace_archive.checks.schema.LARGEST_GROUP", 100)
    monkeypatch.setattr(Table, "groups", None)
    found = findings(built, "azure-2023/code")
    assert [each.name for each in found] == ["row groups"]


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"resources": ' + "[" * 50_000 + "]" * 50_000 + "}", "a gigabyte"],
    ids=["deep", "nested", "huge"],
)
def test_absurd_descriptors_are_refused_quickly(samples: Samples, tmp_path: Path, text: str) -> None:
    clone = samples.clone(tmp_path)
    with (clone / "datapackage.json").open("w") as stream:
        stream.write(text)
        if text == "a gigabyte":
            stream.truncate(1 << 30)  # sparse
    done = llm_traces("validate", cwd=clone)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "git checkout" in done.stderr, done.stderr
