"""Files whose rows are true and whose other bytes are not, in a lock that has their hash: each is found."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_trace_archive.checks.result import Result
from llm_trace_archive.columns.thrift import read_struct
from llm_trace_archive.convert.parquet import METADATA_KEY, ParquetSink, Part, read_parts
from llm_trace_archive.convert.table import list_facts
from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.validate import validate
from llm_trace_archive.upstream.sources import Sources
from support.chance import seeds
from support.small_archive import publish

Forgery = Callable[[Path], bytes]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return publish(tmp_path_factory.mktemp("forgeries"), "https://example.org", {"one": ("one.csv", 500)})[0]


@pytest.fixture
def path(archive: Archive) -> Iterator[Path]:
    """The table, as a plain file that a test may replace; afterwards it is the true one again."""
    path, lock = archive.root / "data/demo/one.parquet", archive.root / LOCK
    target, kept = path.readlink(), lock.read_bytes()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    yield path
    path.unlink()
    path.symlink_to(target)
    lock.write_bytes(kept)
    archive.reread()


def findings(archive: Archive, path: Path, content: bytes, deep: bool = False) -> list[Result]:
    """Validate `content` in place of the table, in a lock that has its hash; `deep` without any upstream."""
    path.write_bytes(content)
    lock = json.loads((archive.root / LOCK).read_text())
    lock["resources"][0] |= {"bytes": len(content), "hash": f"sha256:{hashlib.sha256(content).hexdigest()}"}
    (archive.root / LOCK).write_text(json.dumps(lock))
    archive.reread()
    sources = Sources(cache=path.parent / "no cache", offline=True) if deep else None
    with Table(path) as table:
        return [each for each in validate(archive, *archive.select(), table, sources) if not each.holds]


def footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def in_footer(old: bytes, new: bytes) -> Forgery:
    """Replace bytes in the footer's statistics by as many others."""

    def forge(path: Path) -> bytes:
        content = path.read_bytes()
        start = footer_start(content)
        assert old in content[start:] and len(old) == len(new)
        return content[:start] + content[start:].replace(old, new)

    return forge


def written_again(
    change: Callable[[pa.Table], pa.Table] = lambda table: table,
    facts: Mapping[str, str] | None = None,
    parts: Callable[[list[Part]], list[Part]] = lambda parts: parts,
) -> Forgery:
    """Write the rows as the archive does, with other facts, units or parts."""

    def forge(path: Path) -> bytes:
        (workload,) = Archive(path.parents[2]).select()
        with Table(path) as table:
            changed, held = change(table.file.read()), read_parts(table)
        with ParquetSink(path, changed.schema, list_facts(workload) | (facts or {})) as sink:
            sink.parts = parts(held)
            for batch in changed.combine_chunks().to_batches():
                sink.write(batch)
        return path.read_bytes()

    return forge


def between_pages_and_footer(path: Path) -> bytes:
    content = path.read_bytes()
    start = footer_start(content)
    return content[:start] + b"a hidden message" + content[start:]


def without_checksums(path: Path) -> bytes:
    metadata = pq.read_metadata(path).metadata
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({key: each for key, each in metadata.items() if key != b"ARROW:schema"})
    return path.read_bytes()


def in_milliseconds(table: pa.Table) -> pa.Table:
    """Say that arrivals are in milliseconds."""
    index = table.schema.get_field_index("arrival_us")
    return table.set_column(index, table.schema.field(index).with_metadata({"unit": "ms"}), table.column(index))


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


LAST = 499_000_000  # the arrival of the last row
FORGERIES: dict[str, tuple[Forgery, set[str]]] = {
    "the largest value": (in_footer(number(LAST), number(7)), {"largest value of arrival_us in row group 0"}),
    "the smallest value": (in_footer(number(498), number(3)), {"smallest value of input_tokens in row group 0"}),
    "bytes in a gap": (between_pages_and_footer, {"layout"}),
    "no checksums": (without_checksums, {"checksums"}),
    "the licence": (written_again(facts={"licence": "MIT"}), {"metadata.licence"}),
    "the epoch": (written_again(facts={"epoch": "2023-01-01T00:00:00"}), {"metadata.epoch"}),
    "the digest": (written_again(facts={"recipe_digest": "0" * 64}), {"metadata.recipe_digest"}),
    "another fact": (written_again(facts={"note": "trust me"}), {"metadata.note"}),
    "a unit": (written_again(in_milliseconds), {"type of arrival_us"}),
    "no upstream files": (written_again(parts=lambda parts: []), {"rows of the upstream files"}),
    "another upstream file": (
        written_again(parts=lambda parts: [Part("two.csv", parts[0].rows, parts[0].layout)]),
        {"upstream files[0]"},
    ),
    "a file twice": (
        written_again(parts=lambda parts: [*parts, Part(parts[0].name, 0, parts[0].layout)]),
        {"rows of the upstream files"},
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_file_is_found_without_the_upstream(archive: Archive, path: Path, name: str) -> None:
    forge, names = FORGERIES[name]
    if name == "the smallest value":
        with Table(path) as table:
            smallest = min(table.column("input_tokens").to_pylist())
        forge = in_footer(number(smallest), number(smallest + 1))
    found = {each.name for each in findings(archive, path, forge(path)) if each.check != "lock"}
    assert names <= found and len(found) <= len(names) + 1, found


def test_the_true_file_has_no_finding(archive: Archive, path: Path) -> None:
    assert findings(archive, path, path.read_bytes(), deep=True) == []


@pytest.mark.faults
def test_any_changed_byte_is_found_without_the_upstream(archive: Archive, path: Path) -> None:
    """Also in indexes, headers and encodings, which no reader of rows sees: the rows are written again."""
    content = path.read_bytes()
    for seed in seeds(60):
        chance = random.Random(f"forgery {seed}")
        changed = bytearray(content)
        place = chance.randrange(len(content))
        changed[place] ^= 1 << chance.randrange(8)
        try:
            assert findings(archive, path, bytes(changed), deep=True), (seed, place)
        except Problem as problem:
            assert problem.subject, (seed, place)


def test_page_headers_and_footers_are_read_as_arrow_reads_them(path: Path) -> None:
    content = path.read_bytes()
    footer, end = read_struct(content[footer_start(content) : -8])
    metadata = pq.read_metadata(path)
    assert end == metadata.serialized_size and footer[3] == metadata.num_rows
    assert footer[6].decode() == metadata.created_by
    assert {each[1] for each in footer[5]} == metadata.metadata.keys() >= {METADATA_KEY.encode()}
    chunks = footer[4][0][1]
    group = metadata.row_group(0)
    for index, chunk in enumerate(chunks):
        about = group.column(index)
        assert b".".join(chunk[3][3]).decode() == about.path_in_schema
        assert chunk[3][7] == about.total_compressed_size and chunk[3][9] == about.data_page_offset


@pytest.mark.parametrize(
    "content", [b"", b"\x15", b"\x1c" * 99, b"\x19\xfc" + b"\xff" * 9, b"\x18\x09abc", b"\x1b\x00"]
)
def test_bytes_that_are_no_struct_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_struct(content)
