"""Round trips of WEKA's sessions; lists of files, and pins that are git blob ids."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard

from llm_trace_archive.analysis.prefix import hit_ratios
from llm_trace_archive.checks.figures import STATISTICS, session_hits
from llm_trace_archive.convert import restore
from llm_trace_archive.convert.parquet import read_parts
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUpstream, BadUse, Unavailable
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.core.recipe import UpstreamFile, Workload
from llm_trace_archive.core.table import Table
from llm_trace_archive.demo.lookalikes import make_archive
from llm_trace_archive.lock import describe
from llm_trace_archive.lock.build import build, build_file
from llm_trace_archive.upstream.http import unreachable_hosts
from llm_trace_archive.upstream.sources import Sources
from support import servers
from support.golden import assert_golden
from support.programs import ROOT

NAME = "weka-claude-code"
REAL = 739
EMPTY_BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's id of an empty file


def requests_of(session: dict[str, Any]) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """Yield each request with its sub-agent, or with None."""
    for each in session["requests"]:
        if each["type"] == "subagent":
            yield from ((each, request) for request in each["requests"])
        else:
            yield None, each


class Weka:
    """An archive of look-alikes of this trace alone, and the folder of its upstream files."""

    def __init__(self, root: Path) -> None:
        self.archive = Archive(root / "archive")
        self.files = root / "mirror" / NAME
        self.sources = Sources(root / "cache", mirror=str(root / "mirror"), offline=True)
        self.built = root / "built.parquet"

    @property
    def workload(self) -> Workload:
        return self.archive.recipe(NAME).workload("requests")

    def sessions(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self.files.iterdir())]

    def change(self, name: str, content: bytes) -> None:
        """Replace a file's content, and its pin in the list."""
        path, listed = self.files / name, self.archive.root / f"recipes/{NAME}.tsv"
        old = hash_file(path, "git_blob")[0]
        path.write_bytes(content)
        listed.write_text(listed.read_text().replace(old, hash_file(path, "git_blob")[0]))
        self.archive.__dict__.pop("recipes", None)

    def build(self) -> pa.Table:
        build_file(self.archive, self.workload, self.built, self.sources)
        return pq.read_table(self.built)

    def restored(self) -> dict[str, bytes]:
        return {each.name: b"".join(pieces) for each, pieces in restore.restore_files(self.workload, Table(self.built))}


def make_weka(root: Path, rows: int) -> Weka:
    make_archive(Archive(ROOT), root / "archive", root / "mirror", "http://127.0.0.1:9", rows, [NAME])
    return Weka(root)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Weka; don't change it, copy it."""
    root = tmp_path_factory.mktemp("weka")
    make_weka(root, 60)
    return root


@pytest.fixture
def weka(small: Path, tmp_path: Path) -> Weka:
    shutil.copytree(small, tmp_path, dirs_exist_ok=True)
    return Weka(tmp_path)


def test_files_are_restored_wherever_batches_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weka = make_weka(tmp_path, 1000)
    table = weka.build()
    originals = {path.name: path.read_bytes() for path in weka.files.iterdir()}
    assert len(originals) > 10
    assert {tuple(request)[9:] for session in weka.sessions() for _, request in requests_of(session)} == {
        ("api_time", "think_time"), ("api_time", "ttft", "think_time"), ("think_time",),
        ("api_time",), ("api_time", "ttft"), (),
    }  # fmt: skip
    assert weka.restored() == originals
    monkeypatch.setattr(restore, "BATCH_ROWS", 7)
    assert weka.restored() == originals
    assert len(table) == sum(len(list(requests_of(session))) for session in weka.sessions())


def test_rows_are_the_requests_in_document_order(weka: Weka) -> None:
    rows = weka.build().to_pylist()
    expected = [(session, *each) for session in weka.sessions() for each in requests_of(session)]
    offsets, offset = {}, 0
    for session in weka.sessions():
        offsets[session["id"]] = offset
        offset += 1 + max(id for _, request in requests_of(session) for id in request["hash_ids"])
    turns: dict[str, int] = {}
    for number, (row, (session, agent, request)) in enumerate(zip(rows, expected, strict=True)):
        turns[session["id"]] = turns.get(session["id"], 0) + 1
        start = agent["t"] if agent else 0

        def us(seconds: float | None) -> int | None:
            return None if seconds is None else round(seconds * 1_000_000)

        assert row == {
            "trace": NAME, "workload": "requests", "request_id": number, "segment": 0, "arrival_us": None,
            "failed": None, "cached_tokens": None,
            "input_tokens": request["in"], "output_tokens": request["out"], "model": request["model"],
            "request_type": request["type"], "session_id": session["id"], "turn": turns[session["id"]],
            "latency_us": us(request.get("api_time")), "ttft_us": us(request.get("ttft")),
            "hash_ids": [id + offsets[session["id"]] for id in request["hash_ids"]],
            "hash_id_offset": offsets[session["id"]], "since_start_us": us(start + request["t"]),
            "think_us": us(request.get("think_time")), "stop": request["stop"] or None,
            "input_types": request["input_types"], "output_types": request["output_types"],
            "agent_id": agent and agent["agent_id"], "agent_type": agent and agent["subagent_type"],
            "agent_status": agent and agent["status"], "agent_start_us": agent and us(agent["t"]),
            "agent_duration_us": agent and agent["duration_ms"] and 1000 * agent["duration_ms"],
            "agent_total_tokens": agent and agent["total_tokens"],
            "agent_tool_uses": agent and agent["tool_use_count"], "agent_models": agent and agent["models"],
            "agent_tool_tokens": agent and agent["tool_tokens"],
            "agent_system_tokens": agent and agent["system_tokens"], "session_models": session["models"],
            "session_tool_tokens": session["tool_tokens"], "session_system_tokens": session["system_tokens"],
            "block_tokens": 64, "hash_id_scope": "local",
        }  # fmt: skip
    assert {row["agent_status"] for row in rows} == {None, "completed", "async_launched"}
    assert any(row["agent_id"] and row["agent_duration_us"] is None for row in rows)


def test_ids_of_two_sessions_are_never_equal(weka: Weka) -> None:
    """So the hit ratio of the table is that of its sessions, each with an empty cache."""
    table = weka.build()
    hits = blocks = 0
    for session in weka.sessions():
        lists = [request["hash_ids"] for _, request in requests_of(session)]
        reuse = hit_ratios([pa.array(lists, pa.list_(pa.int64()))])
        assert reuse
        hits, blocks = hits + round(reuse.unlimited * reuse.blocks), blocks + reuse.blocks
    whole = hit_ratios(table.column("hash_ids"))
    assert whole and whole.blocks == blocks and whole.unlimited == hits / blocks
    as_published = [request["hash_ids"] for s in weka.sessions() for _, request in requests_of(s)]
    wrong = hit_ratios([pa.array(as_published, pa.list_(pa.int64()))])
    assert wrong and wrong.unlimited > whole.unlimited


def test_totals_that_are_not_sums_are_restored(weka: Weka) -> None:
    session = weka.sessions()[0]
    session["totals"] |= {"subagent_count": 7, "remark": "é"}
    content = json.dumps(session, separators=(",", ":")).encode()
    weka.change("trace_0001.json", content)
    weka.build()
    assert weka.restored()["trace_0001.json"] == content
    assert [each.layout.tail != "" for each in read_parts(Table(weka.built))][:2] == [True, False]


def test_the_lock_names_the_list_not_its_files(weka: Weka) -> None:
    built = build(weka.archive, weka.workload, weka.sources)
    package = describe.describe(weka.archive, [built])
    (resource,) = package["resources"]
    files = sorted(weka.files.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    listed = weka.archive.root / f"recipes/{NAME}.tsv"
    assert resource["provenance"]["pins"] == [
        {
            "list": f"recipes/{NAME}.tsv",
            "sha256": hashlib.sha256(listed.read_bytes()).hexdigest(),
            "files": len(files),
            "bytes": sum(path.stat().st_size for path in files),
            "contents": hashlib.sha256(sums.encode()).hexdigest(),
        }
    ]
    assert resource["sources"] == [
        {"title": f"{len(files)} files, see recipes/{NAME}.tsv", "path": f"http://127.0.0.1:9/{NAME}/"}
    ]
    out = weka.archive.root / "out"
    assert [path.read_bytes() for path, _, _ in restore.restore_to(weka.archive, weka.workload, out)] == [
        path.read_bytes() for path in files
    ]


def test_restored_files_are_checked_against_their_blob_ids(weka: Weka) -> None:
    build(weka.archive, weka.workload, weka.sources)
    content = (weka.files / "trace_0002.json").read_bytes()
    weka.change("trace_0002.json", content.replace(b'"out":', b'"out":1', 1))
    with pytest.raises(
        BadUpstream, match=r"the restored trace_0002.json has the wrong hash\n  expected  git blob [0-9a-f]{40}"
    ):
        list(restore.restore_to(weka.archive, weka.workload, weka.archive.root / "out"))


def request(session: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = session["requests"][0]
    return found


def agent(session: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in session["requests"] if each["type"] == "subagent")
    return found


# Changes of the first session: of its object, or of its text.
WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown-key": lambda session: request(session).update(cost=1),
    "missing-key": lambda session: request(session).pop("out"),
    "unknown-key-of-the-session": lambda session: session.update(date="2026-01-01"),
    "unknown-key-of-an-agent": lambda session: agent(session).update(cost=1),
    "keys-in-another-order": lambda session: request(session).update(hash_ids=request(session).pop("hash_ids")),
    "text-for-a-number": lambda session: request(session).update({"in": "640"}),
    "integer-seconds": lambda session: request(session).update(t=0),
    "nan": lambda session: request(session).update(t=float("nan")),
    "true-for-a-number": lambda session: request(session).update({"in": True}),
    "null": lambda session: request(session).update({"in": None}),
    "negative-tokens": lambda session: request(session).update({"in": -1}),
    "text-among-ids": lambda session: request(session).update(hash_ids=[1, "2"]),
    "id-beyond-64-bits": lambda session: request(session).update(hash_ids=[1, 2**64]),
    "another-scope": lambda session: session.update(hash_id_scope="global"),
    "no-requests": lambda session: session.update(requests=[]),
    "agent-without-requests": lambda session: agent(session).update(requests=[]),
    "nested-agent": lambda session: agent(session)["requests"].insert(0, dict(agent(session), requests=[])),
    "requests-not-objects": lambda session: session["requests"].insert(0, 5),
}
WRONG_TEXT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda text: text[:2000],
    "with-spaces": lambda text: text.replace(b",", b", "),
    "trailing-newline": lambda text: text + b"\n",
    "repeated-key": lambda text: text.replace(b'"out":', b'"out":1,"out":', 1),
    "number-in-another-format": lambda text: text.replace(b'"t":0.0', b'"t":0.00', 1),
    "beyond-the-microsecond": lambda text: text.replace(b'"t":0.0,', b'"t":0.0000001,', 1),
    "nested-too-deep": lambda text: b"[" * 200_000,
    "empty-file": lambda text: b"",
    "list-for-an-object": lambda text: b"[]",
    "html": lambda text: servers.HTML,
    "not-utf-8": lambda text: b'{"id":"\xff\xfe"}',
}


@pytest.mark.parametrize("case", [*WRONG, *WRONG_TEXT])
def test_a_bad_session_is_refused_by_file_and_place(case: str, weka: Weka) -> None:
    path = weka.files / "trace_0001.json"
    if case in WRONG:
        session = json.loads(path.read_bytes())
        WRONG[case](session)
        weka.change(path.name, json.dumps(session, separators=(",", ":")).encode())
    else:
        weka.change(path.name, WRONG_TEXT[case](path.read_bytes()))
    with pytest.raises(BadUpstream) as caught:
        weka.build()
    assert_golden(f"weka/{case}", str(caught.value))
    assert not weka.built.exists()


def test_a_wrong_file_in_the_mirror_is_reported(weka: Weka, tmp_path: Path) -> None:
    path = weka.files / "trace_0001.json"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Unavailable) as caught:
        weka.build()
    assert_golden("weka/wrong-blob", str(caught.value), root=tmp_path)


# -- pins that are git blob ids ---------------------------------------------------------------------------------------

BODY = b"x" * 100_000


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_the_blob_id_is_the_one_git_computes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert hash_file(tmp_path / "empty", "git_blob") == (EMPTY_BLOB, 0)


def test_the_cache_knows_a_file_by_its_blob_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    unreachable_hosts.clear()
    sources = Sources(tmp_path / "cache")
    with servers.site() as site:
        site.scripts["/a.json"] = servers.plain(BODY)
        file = UpstreamFile("demo", "a.json", f"{site.url}/a.json", None, None, git_blob=blob(BODY))
        path = sources.get(file)
        assert path == tmp_path / "cache" / "git_blob" / blob(BODY)[:2] / blob(BODY)
        assert path.read_bytes() == BODY
        assert dataclasses.replace(sources, offline=True).get(file) == path
        assert site.requests["/a.json"] == 1
        with pytest.raises(BadUpstream) as caught:
            sources.get(dataclasses.replace(file, git_blob=EMPTY_BLOB))
    assert_golden("weka/wrong-blob-fetched", str(caught.value), root=tmp_path)
    assert len(list((tmp_path / "cache" / "quarantine").glob("*-a.json"))) == 1


# -- the list of files ------------------------------------------------------------------------------------------------

LINE = f"trace_0001.json\t{EMPTY_BLOB}\n"
WRONG_LISTS = {
    "another-header": f"file\tsha1\n{LINE}",
    "no-files": "name\tgit_blob\n",
    "empty": "",
    "not-a-hash": "name\tgit_blob\ntrace_0001.json\tmain\n",
    "path-as-name": f"name\tgit_blob\n../{LINE}",
    "repeated-name": f"name\tgit_blob\n{LINE}{LINE}",
    "not-ascii": f"name\tgit_blob\né{LINE}",
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_a_wrong_list_is_refused_by_line(case: str, empty_archive: Archive) -> None:
    (empty_archive.root / f"recipes/{NAME}.tsv").write_text(WRONG_LISTS[case], encoding="utf-8")
    with pytest.raises(BadUse) as caught:
        empty_archive.recipe(NAME)
    assert_golden(f"weka/list-{case}", str(caught.value))


def test_a_recipe_names_either_its_files_or_their_list(empty_archive: Archive) -> None:
    path = empty_archive.root / f"recipes/{NAME}.toml"
    text = path.read_text()
    line = f'files_from = "{NAME}.tsv"\n'
    for other in ("", f'{line}files = [{{ name = "a.json" }}]\n'):
        path.write_text(text.replace(line, other))
        with pytest.raises(BadUse, match="takes either 'files' or 'files_from'"):
            empty_archive.recipe(NAME)
        empty_archive.__dict__.pop("recipes", None)
    path.write_text(text)
    (empty_archive.root / f"recipes/{NAME}.tsv").unlink()
    with pytest.raises(BadUse, match=f"recipes/{NAME}.tsv: the list of files can't be read"):
        empty_archive.recipe(NAME)


# -- hit ratios -------------------------------------------------------------------------------------------------------


def test_hits_count_only_the_previous_prompt_of_the_same_conversation(tmp_path: Path) -> None:
    rows = [
        ("a", None, [1, 2]), ("a", None, [1, 2, 3, 4]), ("a", "agent", [9]), ("a", None, [1, 5, 3]),
        ("a", "agent", [9, 8]), ("b", None, [1, 2]), ("c", None, []),
    ]  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    names = ["session_id", "agent_id", "hash_ids"]
    for groups in (100, 1):
        pq.write_table(pa.table(columns, names), tmp_path / "t.parquet", row_group_size=groups)
        table = Table(tmp_path / "t.parquet")
        assert session_hits(table).to_pylist() == [(2 + 1 + 1) / 12, 0.0]
        assert STATISTICS["session_hit_mean"](table, "", {}) == pytest.approx(1 / 6)


# -- the real files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror with every tenth real file."""
    packed = mirror.parent / "weka" / "traces-710-of-739.tar.zst"
    if not packed.exists():
        pytest.skip(f"real sessions: no {packed}")
    made = tmp_path_factory.mktemp("weka") / NAME
    made.mkdir()
    with (
        packed.open("rb") as stream,
        zstandard.ZstdDecompressor().stream_reader(stream) as content,
        tarfile.open(fileobj=content, mode="r|") as members,
    ):
        for index, member in enumerate(each for each in members if each.isfile()):
            found = members.extractfile(member) if index % 10 == 0 else None
            if found:
                (made / Path(member.name).name).write_bytes(found.read())
    return made.parent


def test_real_files_are_restored(archive: Archive, real: Path, tmp_path: Path) -> None:
    """The build itself proves the pins and the round trip."""
    whole = archive.recipe(NAME).workload("requests")
    assert len(whole.files) == REAL
    files = tuple(file for file in whole.files if (real / NAME / file.name).exists())
    assert len(files) == 71
    workload = dataclasses.replace(whole, files=files, expect={}, published=())
    sources = Sources(tmp_path / "cache", mirror=str(real), offline=True)
    built = build_file(archive, workload, tmp_path / "built.parquet", sources)
    assert built.facts["sessions"] == 71
    assert built.bytes < built.upstream_bytes / 100
    table = pq.read_table(
        tmp_path / "built.parquet", columns=["input_tokens", "hash_ids", "hash_id_offset", "agent_id"]
    )
    blocks = pc.cast(pc.list_value_length(table.column("hash_ids")), pa.int64())
    assert blocks.equals(pc.divide(pc.cast(table.column("input_tokens"), pa.int64()), 64))
    assert table.column("agent_id").null_count < len(table)

    reuse = hit_ratios(table.column("hash_ids"), [0.01])
    ids, offsets = table.column("hash_ids").combine_chunks(), table.column("hash_id_offset").to_numpy()
    repeated = np.repeat(offsets, pc.list_value_length(ids).to_numpy())
    published = pa.ListArray.from_arrays(ids.offsets, pc.subtract(ids.flatten(), pa.array(repeated)))
    wrong = hit_ratios([published], [0.01])
    assert reuse and wrong
    assert [round(each, 4) for each in (wrong.unlimited, wrong.by_share[0.01])] == [0.9974, 0.0007]
    assert [round(each, 4) for each in (reuse.unlimited, reuse.by_share[0.01])] == [0.9599, 0.6676]


def test_the_list_pins_the_published_files(archive: Archive, mirror: Path) -> None:
    published = mirror.parent / "weka" / "git-blobs.tsv"
    if not published.exists():
        pytest.skip(f"no {published}")
    lines = (line.split("\t") for line in published.read_text().splitlines())
    files = archive.recipe(NAME).workload("requests").files
    assert {f"traces/{file.name}": file.git_blob for file in files} == {name: blob for blob, name in lines}
