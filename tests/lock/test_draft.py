"""Drafts of new traces: files that nobody described become recipes and look-alikes that build."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.lock.build import build_file
from llm_trace_archive.lock.draft import draft
from llm_trace_archive.upstream.sources import Sources
from support.command import run_here
from support.golden import assert_golden

# Three public formats without a recipe, and what the columns of each must be.
FILES = {
    "vidur.csv": (
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.012,374,44\n0.5,396,109\n1.25,879,55\n",
        ["arrival_us", "input_tokens", "output_tokens"],
    ),
    "splitwise.csv": (
        "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
        + "".join(f"{n},2,0,{n / 7:.6f},1,{n * 31},{n + 5}\n" for n in range(40)),
        ["arrival_us"],
    ),
    "replay.csv.gz": (
        "session_id,arrival_time,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
        "0,0,0,0,512,64,100\n0,0,1,576,128,64,100\n1,200,0,0,400,48,-80\n",
        ["session_id", "arrival_us", "input_tokens", "output_tokens"],
    ),
    "swissai.jsonl": (
        "".join(
            json.dumps({
                "id": f"{n:032x}:a:b", "created_at": f"2025-08-21T14:34:{n:02}.590Z", "model": "Qwen/Qwen3-32B",
                "model_parameters": {"temperature": 0.7, "max_tokens": "null"}, "stream": n % 2 == 0, "user": None,
                "reported_token_input": n - 1, "status": "DEFAULT",
            }) + "\n"
            for n in range(30)
        ),
        ["arrival_us", "model"],
    ),
    "mooncake-like.jsonl": (
        "".join(
            json.dumps({"timestamp": 3000 * n, "input_length": 700, "output_length": 3, "hash_ids": [0, n]}) + "\n"
            for n in range(20)
        ),
        ["arrival_us", "input_tokens", "output_tokens", "hash_ids"],
    ),
    "dates.csv": (
        "TIMESTAMP,ContextTokens,GeneratedTokens,Note\n2023-11-16 18:15:46.6805900,374,44,\n"
        '2023-11-16 18:15:50.9951690,396,109,"a, b"\n',
        ["arrival_us", "input_tokens", "output_tokens"],
    ),
    "late-text.csv": (
        "time,input_tokens,tag\n" + "".join(f"{n}.5,{n},x\n" for n in range(6000)) + "never,1,x\n",
        ["input_tokens"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_draft_builds_and_so_do_its_look_alikes(name: str, empty_archive: Archive, tmp_path: Path) -> None:
    text, columns = FILES[name]
    mirror = tmp_path / "mirror" / "my-trace"
    mirror.mkdir(parents=True)
    (mirror / name).write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
    samples = empty_archive.root / "src/llm_trace_archive/samples"
    samples.mkdir(parents=True)
    recipe, sample = draft(empty_archive, "my-trace", mirror / name)
    assert_golden(f"draft/{name}", recipe.read_text(), sha256=hash_file(mirror / name)[0])

    archive = Archive(empty_archive.root)
    workload = archive.recipe("my-trace").workload("requests")
    mapped = [rule.column for rule in workload.files[0].rules]
    assert [each for each in mapped if each in columns] == columns or set(columns) <= set(mapped)
    sources = Sources(tmp_path / "cache", mirror=str(tmp_path / "mirror"), offline=True)
    built = build_file(archive, workload, tmp_path / "built.parquet", sources)
    assert built.facts["rows"] == len(text.splitlines()) - (not text.startswith("{"))

    found = importlib.util.spec_from_file_location("llm_trace_archive.samples.my_trace", sample)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    (mirror / name).unlink()
    module.generate(mirror, 50)
    assert len(module.SHAPES[name].lines(mirror / name)) == 50
    old, new = workload.files[0].sha256, hash_file(mirror / name)[0]
    recipe.write_text(recipe.read_text().replace(str(old), new))
    recipe.write_text("".join(line for line in recipe.read_text().splitlines(True)).replace(
        f"bytes = {workload.files[0].bytes}", f"bytes = {(mirror / name).stat().st_size}"
    ))  # fmt: skip
    workload = Archive(empty_archive.root).recipe("my-trace").workload("requests")
    assert build_file(archive, workload, tmp_path / "built.parquet", sources).facts["rows"] == 50


def test_the_command_says_what_it_wrote(empty_archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(FILES["vidur.csv"][0])
    done = run_here("new", "my-trace", "--from", tmp_path / "file.csv", cwd=empty_archive.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str(empty_archive.root / "recipes/my-trace.toml")
    again = run_here("new", "my-trace", "--from", tmp_path / "file.csv", cwd=empty_archive.root)
    assert again.returncode == 2 and "the trace exists already" in again.stderr


WRONG = {
    "empty": "",
    "prose": "This is no table.\nAt all.\n",
    "ragged": "a,b\n1,2\n3\n",
    "repeated": "a,a\n1,2\n",
    "not-utf-8": "a,b\n\udcff,2\n",
    "a-list": '{"a": 1}\n[1]\n',
    "mixed": '{"tokens": 1}\n' * 6000 + '{"tokens": "x"}\n',
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_draft_reads_is_refused(case: str, empty_archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(WRONG[case], errors="surrogateescape")
    with pytest.raises(BadUse) as caught:
        draft(empty_archive, "my-trace", tmp_path / "file")
    assert_golden(f"draft/wrong-{case}", str(caught.value), folder=tmp_path)
    assert not (empty_archive.root / "recipes/my-trace.toml").exists()


@pytest.mark.parametrize("name", ["mooncake", "My Trace", "../mine", ""])
def test_a_wrong_name_is_refused(name: str, empty_archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(FILES["vidur.csv"][0])
    with pytest.raises(BadUse):
        draft(empty_archive, name, tmp_path / "file.csv")
