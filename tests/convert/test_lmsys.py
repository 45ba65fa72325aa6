"""LMSYS-Chat-1M: tokens counted as a plain loop counts them, no text in the table, and an error for every bad input."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from llm_trace_archive.convert.formats import conversations
from llm_trace_archive.convert.restore import restore_to
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse, Problem, Unavailable
from llm_trace_archive.core.recipe import Workload
from llm_trace_archive.demo.lookalikes import make_archive, write_upstream
from llm_trace_archive.lock.build import Built, build_file
from llm_trace_archive.samples.lmsys_chat_1m import SCHEMA, TOKENIZER
from llm_trace_archive.upstream.sources import Sources
from support.golden import GOLDEN, assert_golden
from support.programs import ROOT, llm_traces

TRACE = "lmsys-chat-1m"
ARCHIVE = Archive(ROOT)
NAMES = [each["name"] for each in json.loads((ROOT / "schemas/request.json").read_text())["fields"]]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The look-alikes."""
    made = tmp_path_factory.mktemp("upstream")
    write_upstream(TRACE, made, 400)
    return made


@pytest.fixture(scope="module")
def table(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the look-alikes."""
    target = tmp_path_factory.mktemp("table") / "table.parquet"
    build_file(ARCHIVE, workload_of(mirror), target, sources_of(mirror))
    return target


def workload_of(mirror: Path, files: int = 6) -> Workload:
    """Return the recipe's workload with the pin of the look-alikes' tokenizer and no figures of the published data."""
    workload = ARCHIVE.recipe(TRACE).workload("requests")
    *rows, tokenizer = workload.files
    assert tokenizer.role == "tokenizer"
    path = mirror / TRACE / TOKENIZER
    pin = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else tokenizer.sha256
    return replace(workload, files=(*rows[:files], replace(tokenizer, sha256=pin)), expect={}, published=())


def sources_of(mirror: Path) -> Sources:
    return Sources(cache=mirror / "cache", mirror=str(mirror), offline=True, accept_unpinned=True)


def build_one(tmp_path: Path, mirror: Path, content: bytes | pa.Table, **options: Any) -> tuple[Built, list[Any]]:
    """Build from one upstream file; return what was built, and (session, turn, input, output tokens) of its rows."""
    here = tmp_path / "upstream" / TRACE
    here.mkdir(parents=True, exist_ok=True)
    workload = workload_of(mirror, 1)
    path = here / workload.files[0].name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path, **options)
    if not (here / TOKENIZER).exists():
        (here / TOKENIZER).write_bytes((mirror / TRACE / TOKENIZER).read_bytes())
    workload = workload_of(tmp_path / "upstream", 1)
    target = tmp_path / "table.parquet"
    built = build_file(ARCHIVE, workload, target, sources_of(tmp_path / "upstream"))
    found = pq.read_table(target, columns=["session_id", "turn", "input_tokens", "output_tokens"]).to_pydict()
    return built, list(zip(*found.values(), strict=True))


def row(name: str, *messages: tuple[str | None, str | None], **others: Any) -> dict[str, Any]:
    said = [{"role": role, "content": content} for role, content in messages]
    whole = {"conversation_id": name, "model": "m", "conversation": said, "turn": len(said) // 2, "language": "English"}
    return whole | {"openai_moderation": [], "redacted": False} | others


def rows(*each: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(each), SCHEMA)


U, A, S = "user", "assistant", "system"
GOOD = row("a", (U, "lorem ipsum"), (A, "dolor"))


def count_in_a_loop(paths: list[Path], tokenizer: Path) -> list[tuple[Any, ...]]:
    """Return the table as a plain loop makes it: session, turn, input, output, model, language, redacted."""
    known = Tokenizer.from_file(str(tokenizer))
    found = []
    for path in paths:
        for each in pq.read_table(path).to_pylist():
            before = turn = 0
            asked = False
            for message in each["conversation"]:
                tokens = len(known.encode(message["content"], add_special_tokens=False).ids)
                asked = asked or message["role"] == U
                if message["role"] == A and asked:
                    turn += 1
                    others = (each["model"], each["language"], each["redacted"])
                    found.append((each["conversation_id"], turn, before, tokens, *others))
                before += tokens
    return found


def test_counts_are_those_of_a_plain_loop(mirror: Path, table: Path) -> None:
    names = ["session_id", "turn", "input_tokens", "output_tokens", "model", "language", "redacted"]
    found = pq.read_table(table).to_pydict()
    paths = sorted((mirror / TRACE).glob("*.parquet"))
    assert len(paths) == 6
    expected = count_in_a_loop(paths, mirror / TRACE / TOKENIZER)
    assert len(expected) > 300
    assert list(zip(*(found[name] for name in names), strict=True)) == expected
    assert found["request_id"] == list(range(len(expected)))
    assert set(found["arrival_us"]) == set(found["hash_ids"]) == set(found["failed"]) == {None}


def test_no_text_is_in_the_table(mirror: Path, table: Path) -> None:
    words = {
        word.lower()
        for path in (mirror / TRACE).glob("*.parquet")
        for said in pq.read_table(path)["conversation"].to_pylist()
        for message in said
        for word in re.findall(r"\w+", message["content"])
    }
    assert len(words) > 20
    made = pq.read_table(table)
    assert made.schema.names == [*NAMES, "language", "redacted"]
    texts = {str(value).lower() for column in made.columns for value in column.to_pylist()}
    texts |= {str(pq.read_metadata(table).metadata).lower()}
    assert not [word for word in words for text in texts if word in text]


def test_the_look_alikes_have_every_oddity(mirror: Path) -> None:
    first = pq.read_table(min((mirror / TRACE).glob("*.parquet"))).to_pylist()
    roles = [[message["role"] for message in each["conversation"]] for each in first]
    assert roles[0][-1] == U
    assert first[1]["redacted"]
    assert first[2]["conversation"][-1]["content"] == ""
    assert roles[3][0] == S
    assert roles[4][:3] == [U, U, A]
    assert roles[5][:2] == [A, U]


# For each answer: the contents that are its input, and its own.
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([(U, "q"), (A, "rr")], [(["q"], "rr")]),
        ([(U, "q"), (A, "rr"), (U, "sss"), (A, "t")], [(["q"], "rr"), (["q", "rr", "sss"], "t")]),
        ([(U, "q"), (A, "rr"), (U, "nobody answers")], [(["q"], "rr")]),
        ([(U, "q")], []),
        ([(S, "be brief"), (U, "q"), (A, "rr")], [(["be brief", "q"], "rr")]),
        ([(U, "q"), (S, "be brief"), (A, "rr")], [(["q", "be brief"], "rr")]),
        ([(U, "q"), (U, "more"), (A, "rr")], [(["q", "more"], "rr")]),
        ([(U, "q"), (A, "rr"), (A, "and")], [(["q"], "rr"), (["q", "rr"], "and")]),
        ([(A, "hello"), (U, "q"), (A, "rr")], [(["hello", "q"], "rr")]),
        ([(S, "be brief"), (A, "hello"), (U, "q"), (A, "rr")], [(["be brief", "hello", "q"], "rr")]),
        ([(A, "hello")], []),
        ([(U, ""), (A, "")], [([""], "")]),
        ([(U, "größe 語 \U0001f600\r\n\0"), (A, "слово")], [(["größe 語 \U0001f600\r\n\0"], "слово")]),
    ],
)
def test_each_answer_has_all_messages_before_it_as_input(
    messages: list[tuple[str, str]], expected: list[Any], mirror: Path, tmp_path: Path
) -> None:
    known = Tokenizer.from_file(str(mirror / TRACE / TOKENIZER))

    def tokens(text: str) -> int:
        return len(known.encode(text).ids)

    # Between two others, to detect a sum that continues from one conversation to the next.
    _, found = build_one(tmp_path, mirror, rows(row("first", (U, "x y"), (A, "z")), row("it", *messages), GOOD))
    assert [each[0] for each in found] == ["first", *["it"] * len(expected), "a"]
    assert [each[1:] for each in found if each[0] == "it"] == [
        (turn, sum(map(tokens, before)), tokens(answer)) for turn, (before, answer) in enumerate(expected, 1)
    ]


def test_the_table_does_not_depend_on_batches_and_row_groups(
    mirror: Path, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversations, "ROWS_AT_ONCE", 3)
    again = tmp_path / "again.parquet"
    build_file(ARCHIVE, workload_of(mirror), again, sources_of(mirror))
    assert again.read_bytes() == table.read_bytes()
    source = pq.read_table(min((mirror / TRACE).glob("*.parquet")))
    one, other = (build_one(tmp_path, mirror, source, row_group_size=size)[0] for size in (5, 1000))
    assert one.sha256 == other.sha256


def test_truncation_and_padding_of_the_tokenizer_are_ignored(mirror: Path, tmp_path: Path) -> None:
    expected = build_one(tmp_path, mirror, rows(GOOD, GOOD))[1]
    path = tmp_path / "upstream" / TRACE / TOKENIZER
    changed = json.loads(path.read_text())
    changed["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    pad = {"pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    changed["padding"] = pad | {"strategy": {"Fixed": 50}, "direction": "Right"}
    path.write_text(json.dumps(changed))
    assert build_one(tmp_path, mirror, rows(GOOD, GOOD))[1] == expected


def test_a_file_without_rows_gives_none(mirror: Path, tmp_path: Path) -> None:
    assert build_one(tmp_path, mirror, rows())[1] == []


def test_an_archive_of_look_alikes_is_built(archive: Archive, tmp_path: Path) -> None:
    made = make_archive(archive, tmp_path / "made", tmp_path / "mirror", "http://127.0.0.1:9", 60, [TRACE])
    (workload,) = made.select()
    assert {file.role for file in workload.files} == {None, "tokenizer"}
    assert all(file.sha256 for file in workload.files)
    sources = Sources(cache=tmp_path / "cache", mirror=str(tmp_path / "mirror"), offline=True)
    built = build_file(made, workload, tmp_path / "table.parquet", sources)
    assert [pin["file"] for pin in built.provenance["pins"]] == [file.name for file in workload.files]
    assert built.provenance["tools"]["tokenizers"] == importlib.metadata.version("tokenizers")
    assert workload.digest == built.provenance["recipeDigest"]
    *others, tokenizer = workload.files
    assert replace(workload, files=(*others, replace(tokenizer, sha256="0" * 64))).digest != workload.digest


def test_the_recipe_forbids_releasing_and_restoring(archive: Archive, table: Path, tmp_path: Path) -> None:
    recipe = archive.recipe(TRACE)
    assert recipe.licence["redistribute"] is False
    (workload,) = recipe.workloads
    assert (workload.restores, workload.redistribute) == (False, False)
    copy = Archive(tmp_path)
    (tmp_path / workload.path).parent.mkdir(parents=True)
    (tmp_path / workload.path).write_bytes(table.read_bytes())
    with pytest.raises(BadUse) as caught:
        list(restore_to(copy, workload, tmp_path / "out"))
    assert_golden("lmsys/restore", str(caught.value))
    assert not (tmp_path / "out").exists()


# -- bad inputs -------------------------------------------------------------------------------------------------------


def parquet(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, compression="none")
    written: bytes = sink.getvalue().to_pybytes()
    return written


def with_column(name: str, values: pa.Array) -> pa.Table:
    return rows(GOOD).set_column(SCHEMA.get_field_index(name), name, values)


def renamed(old: str, new: str) -> pa.Table:
    return rows(GOOD).rename_columns({old: new})


WHOLE = parquet(rows(GOOD, GOOD))
BAD: dict[str, bytes | pa.Table] = {
    "missing-column": rows(GOOD).drop_columns("conversation"),
    "renamed-column": renamed("conversation_id", "id"),
    "extra-column": rows(GOOD).append_column("tstamp", pa.array([1.5])),
    "repeated-column": rows(GOOD).append_column("model", pa.array(["m"])),
    "redacted-as-text": with_column("redacted", pa.array(["no"])),
    "conversation-as-text": with_column("conversation", pa.array(["[]"])),
    "messages-renamed": with_column("conversation", pa.array([[{"from": "human", "value": "secret"}]])),
    "another-table": pa.table({"timestamp": [1], "input_length": [2]}),
    "truncated": WHOLE[: len(WHOLE) // 2],
    "missing-footer": WHOLE[:-4],
    "html": b"<!doctype html>\n<html>Sign in</html>\n",
    "empty": b"",
    "corrupt": WHOLE.replace(b"lorem ipsum", b"\xff" * 11).replace(b"PAR1\x15", b"PAR1\xff"),
    "not-utf-8": WHOLE.replace(b"lorem ipsum", b"lorem \xffpsum"),
    "conversation-empty": rows(GOOD, GOOD, row("b")),
    "conversation-null": rows(GOOD, GOOD | {"conversation": None}),
    "id-null": rows(GOOD, GOOD | {"conversation_id": None}),
    "language-null": rows(GOOD | {"language": None}),
    "redacted-null": rows(GOOD | {"redacted": None}),
    "message-null": rows(GOOD, GOOD | {"conversation": [None]}),
    "content-null": rows(GOOD, row("b", (U, "secret"), (A, None))),
    "role-null": rows(GOOD, row("b", (U, "secret"), (None, "secret"))),
    "role-unknown": rows(GOOD, GOOD, row("b", (U, "secret"), (A, "secret"), ("human", "secret"))),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case: str, mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        build_one(tmp_path, mirror, BAD[case])
    assert "secret" not in str(caught.value), "messages must not contain text of a gated upstream"
    assert not (tmp_path / "table.parquet").exists()
    assert_golden(f"lmsys/{case}", str(caught.value), root=tmp_path)


def test_rows_are_counted_across_batches(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "ROWS_AT_ONCE", 2)
    with pytest.raises(Problem, match="row 6, message 2 of its conversation, 'role'"):
        build_one(tmp_path, mirror, rows(*[GOOD] * 5, row("b", (U, "q"), ("bot", "r"))), row_group_size=3)


def test_an_unreadable_tokenizer_is_refused(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "upstream" / TRACE).mkdir(parents=True)
    (tmp_path / "upstream" / TRACE / TOKENIZER).write_text('{"version": "9.0"}')
    with pytest.raises(BadUse) as caught:
        build_one(tmp_path, mirror, rows(GOOD))
    assert_golden("lmsys/tokenizer", str(caught.value), root=tmp_path)


def test_a_tokenizer_with_the_wrong_hash_is_refused(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / TRACE).mkdir()
    for path in (mirror / TRACE).iterdir():
        (tmp_path / TRACE / path.name).write_bytes(path.read_bytes())
    workload = workload_of(mirror)
    (tmp_path / TRACE / TOKENIZER).write_text("{}")
    with pytest.raises(
        Problem, match=r"tokenizer\.json is not available: the mirror.s copy .* the pin\n  tried .*\n.*wrong bytes"
    ):
        build_file(ARCHIVE, workload, tmp_path / "table.parquet", sources_of(tmp_path))


def test_a_recipe_without_a_tokenizer_is_refused(mirror: Path, tmp_path: Path) -> None:
    workload = workload_of(mirror)
    with pytest.raises(BadUse, match="the recipe names no tokenizer"):
        build_file(ARCHIVE, replace(workload, files=workload.tables), tmp_path / "t.parquet", sources_of(mirror))


def test_nothing_is_fetched_without_the_tokenizers_package(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    monkeypatch.setattr(Sources, "get", lambda *_: pytest.fail("fetched"))
    with pytest.raises(BadUse) as caught:
        build_file(ARCHIVE, workload_of(mirror), tmp_path / "table.parquet", sources_of(mirror))
    assert_golden("lmsys/without-extra", str(caught.value))


# -- gated ------------------------------------------------------------------------------------------------------------


@contextmanager
def gated_hub() -> Iterator[tuple[str, list[str]]]:
    """Serve a hub that refuses its gated files to everybody: yield its URL and the tokens it gets."""
    shown: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            shown.append(self.headers.get("Authorization", ""))
            self.send_response(403 if shown[-1] else 401)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to this dataset is restricted.")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", shown
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("token", ["", "hf_" + "s3cret" * 6])
def test_gated_files_need_a_token_with_access(token: str, empty_archive: Archive, tmp_path: Path) -> None:
    with gated_hub() as (url, shown):
        done = llm_traces(
            *("build", TRACE, "--accept-unpinned"),
            cwd=empty_archive.root,
            LLM_TRACES_CACHE=str(tmp_path / "cache"),
            HF_HUB_OFFLINE="0",
            HF_ENDPOINT=url,
            HF_HOME=str(tmp_path / "hub"),
            HF_TOKEN=token,
            NO_PROXY="127.0.0.1",
        )
    assert done.returncode == 1
    assert (f"Bearer {token}" if token else "") in shown
    assert "s3cret" not in done.stdout + done.stderr
    assert_golden("lmsys/gated", done.stderr.strip())
    assert not (empty_archive.root / "data").exists() or not any((empty_archive.root / "data").rglob("*.parquet"))


def test_the_error_when_offline_says_how_to_get_access(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"accept the licence at https://huggingface\.co/datasets/lmsys/lmsys-chat-1m"
    ):
        build_file(archive, archive.select([TRACE])[0], tmp_path / "t", replace(sources_of(tmp_path), mirror=None))


def test_the_tokenizer_is_fetched_from_a_model_of_the_hub(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(*names: str, **options: Any) -> str:
        asked.append((*names, options["repo_type"], options["revision"]))
        (tmp_path / TOKENIZER).write_text("{}")
        return str(tmp_path / TOKENIZER)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("llm_trace_archive.upstream.hub._is_reachable", lambda _: True)
    tokenizer = archive.select([TRACE])[0].files[-1]
    with pytest.raises(Problem, match="aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"):
        Sources(cache=tmp_path / "cache").get(tokenizer)
    assert asked == [("Qwen/Qwen3-30B-A3B", TOKENIZER, "model", "ad44e777bcd18fa416d9da3bd8f70d33ebb85d39")]


def test_every_golden_file_is_compared() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    names = {path.stem for path in (GOLDEN / "lmsys").glob("*.txt")}
    assert {name for name in names if name not in BAD and f'lmsys/{name}"' not in source} == set()
