"""Keys, references and relations between rows: each fault is a finding with its first rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace_archive.checks.keys import check_keys, find_repeats, find_unmatched
from llm_trace_archive.checks.relations import check_relations
from llm_trace_archive.checks.result import Result
from llm_trace_archive.columns import keys as engine
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.core.table import Table
from llm_trace_archive.lock.validate import validate
from support.programs import Samples, llm_traces


def write(path: Path, columns: dict[str, Any], rows_a_group: int = 3) -> Table:
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return Table(path)


def relation(name: str, path: Path, columns: dict[str, Any]) -> Result:
    (found,) = check_relations([name], write(path, columns), {}, "by hand")
    return found


def turns(path: Path, rows: list[tuple[str | None, int | None]]) -> Result:
    sessions, numbers = zip(*rows, strict=True)
    return relation(
        "turns", path, {"session_id": pa.array(sessions, pa.string()), "turn": pa.array(numbers, pa.int32())}
    )


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([("a", 1), ("b", 1), ("a", 2), ("a", 3), (None, None), (None, 7)], []),
        ([("a", 2), ("b", 2), ("a", 1), ("b", 1)], []),
        ([("a", 1), ("a", 3)], [(1, "3")]),
        ([("a", 1), ("b", 1), ("c", 1), ("a", 1)], [(3, "1")]),
        ([("a", 2)], [(0, "2")]),
        ([("a", 1), ("b", 2)], [(1, "2")]),
        ([("a", 1), ("a", None)], [(1, "None")]),
    ],
)
def test_turns_of_a_session(tmp_path: Path, rows: list[tuple[str, int]], broken: list[tuple[int, str]]) -> None:
    found = turns(tmp_path / "t.parquet", rows)
    assert list(found.rows) == broken and found.found == len(broken) and found.column == "turn"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("totals", "no column 'total_tokens', no column 'output_tokens'"),
        ("blocks", "no column 'hash_ids', no block_tokens in [properties]"),
        ("turns", "no column 'turn'"),
    ],
)
def test_a_relation_of_missing_columns_is_a_finding(tmp_path: Path, name: str, missing: str) -> None:
    found = relation(name, tmp_path / "t.parquet", {"input_tokens": [1], "session_id": ["a"]})
    assert (found.found, found.holds) == (missing, False)


def test_turns_count_within_a_segment(tmp_path: Path) -> None:
    columns = {"session_id": ["a", "a"], "turn": [1, 1], "segment": [0, 1]}
    assert relation("turns", tmp_path / "t.parquet", columns).holds


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 5)), min_size=1, max_size=40), st.integers(1, 7))
def test_turns_hold_where_a_plain_count_says_so(tmp_path_factory: Any, rows: list[tuple[str, int]], share: int) -> None:
    """Whatever the size of a share."""
    by_session: dict[str, list[int]] = {}
    for session, turn in rows:
        by_session.setdefault(session, []).append(turn)
    right = all(sorted(each) == list(range(1, len(each) + 1)) for each in by_session.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "KEYS_AT_ONCE", share)
        assert turns(tmp_path_factory.getbasetemp() / "turns.parquet", rows).holds == right


def chats(path: Path, rows: list[tuple[int, int | None, str]]) -> Result:
    chat, parent, session = zip(*rows, strict=True)
    columns = {"chat_id": chat, "parent_chat_id": pa.array(parent, pa.int64()), "session_id": session}
    return relation("parents", path, {name: pa.array(values) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([(5, -1, "5"), (9, 5, "5"), (7, 5, "5"), (8, 9, "5")], []),
        ([(5, 3, "3"), (6, 5, "3"), (7, 3, "3")], []),
        ([(5, 3, "5")], [0]),
        ([(5, 6, "6"), (6, -1, "6")], [0]),
        ([(5, 5, "5")], [0]),
        ([(5, -1, "6")], [0]),
        ([(5, -1, "5"), (6, -1, "6"), (7, 6, "5")], [2]),
        ([(5, -1, "5"), (6, 99, "5")], [1]),
        ([(5, None, "5")], [0]),
    ],
)
def test_parents_stand_before(tmp_path: Path, rows: list[tuple[int, int, str]], broken: list[int]) -> None:
    found = chats(tmp_path / "t.parquet", rows)
    assert [row for row, _ in found.rows] == broken and found.found == len(broken)


@pytest.mark.parametrize("share", [1, 2, 100])
def test_repeats_and_unmatched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    monkeypatch.setattr(engine, "KEYS_AT_ONCE", share)

    def rows(parts: Any) -> list[int]:
        return sorted(int(row) for part in parts for row in part)

    table = write(
        tmp_path / "t.parquet",
        {
            "number": pa.array([1, 2, 1, None, None, 3, 1], pa.int32()),
            "text": pa.array(["a", "b", "a", "a", None, "", ""]).dictionary_encode(),
            "lists": pa.array([[1], [], None, [1, 7], [7, 8], [2], [3]], pa.list_(pa.int64())),
        },
    )
    other = write(tmp_path / "o.parquet", {"id": pa.array([3, 1, 2, 2]), "name": ["b", "a", "x", "y"]})
    assert rows(find_repeats(table, ["number"])) == [2, 6]
    assert rows(find_repeats(table, ["text", "number"])) == [2]
    assert rows(find_unmatched(table, ["lists"], other, ["id"])) == [3, 4, *([4] if share == 1 else [])]
    assert rows(find_unmatched(table, ["number", "text"], other, ["id", "name"])) == [1, 3, 5, 6]
    assert rows(find_unmatched(table, ["number"], other, ["id"])) == []


SCHEMA = {
    "fields": [
        {"name": "request_id", "type": "integer"},
        {"name": "name", "type": "string", "constraints": {"unique": True}},
        {"name": "parent", "type": "integer"},
    ],
    "primaryKey": "request_id",
    "foreignKeys": [{"fields": "parent", "reference": {"resource": "", "fields": "request_id"}}],
}


@pytest.mark.parametrize(
    ("columns", "broken"),
    [
        ({"request_id": [0, 1], "name": ["a", "b"], "parent": [1, None]}, {}),
        ({"request_id": [0, 0], "name": ["a", "b"], "parent": [0, 0]}, {"request_id": 1}),
        ({"request_id": [0, 1, 2], "name": ["a", None, "a"], "parent": [0, 1, 2]}, {"name": 2}),
        ({"request_id": [0, 1], "name": ["a", "b"], "parent": [1, 5]}, {"parent": 1}),
    ],
)
def test_keys_of_a_table_schema(empty_archive: Archive, columns: dict[str, Any], broken: dict[str, int]) -> None:
    workload = Workload("t", "w", "T", "csv", "request", (), {}, {}, (), ())
    path = empty_archive.root / workload.path
    path.parent.mkdir(parents=True)
    every = list(check_keys(empty_archive, workload, SCHEMA, write(path, columns)))
    assert len(every) == 3
    assert {each.column: each.rows[0][0] for each in every if not each.holds} == broken


def test_a_foreign_key_to_nowhere_is_a_finding(empty_archive: Archive) -> None:
    workload = Workload("t", "w", "T", "csv", "request", (), {}, {}, (), ())
    path = empty_archive.root / workload.path
    path.parent.mkdir(parents=True)
    reference = {"fields": ["parent"], "reference": {"resource": "nowhere", "fields": ["x"]}}
    schema = SCHEMA | {"foreignKeys": [reference]}
    table = write(path, {"request_id": [0], "name": ["a"], "parent": [0]})
    assert [each.found for each in check_keys(empty_archive, workload, schema, table) if not each.holds] == [
        "no such resource"
    ]


def edit(path: Path, column: str, row: int, change: Callable[[Any], Any]) -> None:
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    values[row] = change(values[row])
    index = table.schema.get_field_index(column)
    field = table.schema.field(index)
    path.unlink()
    pq.write_table(table.set_column(index, field, pa.array(values, field.type)), path)


FAULTS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("ragpulse/requests", "passage_ids", lambda ids: [*ids, 10**6]),
    ("qwen-bailian/chat", "parent_chat_id", lambda parent: 10**9),
    ("qwen-bailian/coder", "parent_chat_id", lambda parent: 10**9),
    ("lmsys-chat-1m/requests", "turn", lambda turn: turn + 1),
    ("weka-claude-code/requests", "turn", lambda turn: turn + 1000),
    ("marconi/swebench", "turn", lambda turn: turn + 1000),
]


@pytest.fixture(scope="module")
def built(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = samples.clone(tmp_path_factory.mktemp("keys"))
    names = sorted({name for name, _, _ in FAULTS} | {"ragpulse/components"})
    llm_traces("build", *names, "--mirror", samples.mirror, cwd=clone, check=True)
    return clone


@pytest.mark.parametrize(("name", "column", "change"), FAULTS)
def test_planted_faults_in_the_look_alikes_name_column_and_row(
    built: Path, name: str, column: str, change: Callable[[Any], Any]
) -> None:
    archive = Archive(built)
    (workload,) = archive.select([name])
    path = built / workload.path
    content, link = path.read_bytes(), path.readlink()
    try:
        edit(path, column, 9, change)
        with Table(path) as table:
            results = list(validate(archive, workload, table))
        (found,) = [each for each in results if each.check in ("keys", "relations") and not each.holds]
        assert found.column == column and 9 in [row for row, _ in found.rows]
    finally:
        path.unlink()
        path.symlink_to(link)
        assert path.read_bytes() == content


def test_a_reference_to_missing_content_is_not_checked(built: Path) -> None:
    archive = Archive(built)
    (workload,) = archive.select(["ragpulse/requests"])
    table = Table(built / workload.path)
    schema = archive.schema(workload)
    assert len(list(check_keys(archive, workload, schema, table))) == 6
    path = built / "data/ragpulse/components/components.parquet"
    link = path.readlink()
    path.unlink()
    assert len(list(check_keys(archive, workload, schema, table))) == 1
    path.symlink_to(link)


@pytest.mark.parametrize(
    "keys",
    [
        {"primaryKey": ["request_di"]},
        {"primaryKey": "request_di"},
        {"primaryKey": ["session_id", "request_di"]},
        {"foreignKeys": [{"fields": "request_di", "reference": {"fields": "request_id"}}]},
        {"foreignKeys": [{"fields": "request_id", "reference": {"fields": "request_di"}}]},
    ],
)
def test_a_key_of_a_column_that_does_not_exist_is_a_finding(built: Path, keys: dict[str, Any]) -> None:
    """It is not left out: a misspelt key would check nothing."""
    archive = Archive(built)
    (workload,) = archive.select(["ragpulse/requests"])
    schema = {key: value for key, value in archive.schema(workload).items() if key != "primaryKey"} | keys
    with Table(built / workload.path) as table:
        found = [each for each in check_keys(archive, workload, schema, table) if not each.holds]
    assert [each.found for each in found] == ["no column request_di"]
