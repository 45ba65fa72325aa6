"""Upstream files changed at random, with a true pin: each is built and restored byte for byte, or refused."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace_archive.convert.table import write_proven_table
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.demo.lookalikes import write_upstream
from support.mutations import faults
from support.programs import ROOT

WORKLOADS = (
    "azure-2023/code",
    "azure-lmm-2025/multimodal",
    "burstgpt/3",
    "kavier/decode",
    "kavier/utilisation",
    "mooncake/conversation",
    "qwen-bailian/chat",
    "ragpulse/requests",
    "ragpulse/components",
    "weka-claude-code/requests",
    "marconi/swebench",
)
ODD = (
    b"", b'"', b'""', b",", b"\r", b"\n", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b" ", b"[", b"]", b"{", b"}",
    b"null", b"true", b"NaN", b"-0", b"0x1F", b"1e400", b"-2147483648", b"-9223372036854775808", b"9" * 25,
    b"0." + b"1" * 30, b"1.5", b"-1", b'"\\ud800"', b'"x"', b"[null]", b"[[1]]", b"{}", b"[" * 5000, b'{"a":' * 5000,
    b"x" * 140_000,
    b"2023-02-30", b"12:61:00", "é".encode(), b"\\", b"=1+1",
)  # fmt: skip


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    for trace in {name.partition("/")[0] for name in WORKLOADS}:
        write_upstream(trace, folder, 10)
    return folder


@pytest.mark.faults
@pytest.mark.parametrize("name", WORKLOADS)
@faults(4)
@given(st.randoms(use_true_random=False))
def test_a_changed_file_is_built_or_refused(
    upstream: Path, tmp_path_factory: pytest.TempPathFactory, name: str, rng: random.Random
) -> None:
    archive = Archive(ROOT)
    (workload,) = archive.select([name])
    folder = tmp_path_factory.mktemp("changed")
    files = tuple(each for each in workload.files if (upstream / workload.trace / each.name).exists())
    workload = replace(workload, files=files)  # of a long list, the look-alikes have some
    originals = {each.name: upstream / workload.trace / each.name for each in files}
    changed = rng.choice(sorted(originals))
    is_packed = changed.endswith(".gz") and rng.random() < 0.7
    content = originals[changed].read_bytes()
    content = _change(gzip.decompress(content) if is_packed else content, rng)
    (folder / changed).write_bytes(gzip.compress(content, mtime=0) if is_packed else content)
    originals[changed] = folder / changed
    try:
        write_proven_table(workload, archive.schema(workload), originals, folder / "table.parquet")
    except Problem as problem:
        assert len(str(problem)) < 3000


def _change(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        lines = content.splitlines(keepends=True) or [b""]
        at = rng.randrange(len(lines))
        start, end = _span(lines[at], rng)
        action = rng.choice(("odd", "odd", "odd", "flip", "repeat", "remove", "cut"))
        if action == "odd":
            lines[at] = lines[at][:start] + rng.choice(ODD) + lines[at][end:]
        elif action == "flip":
            lines[at] = lines[at][:start] + bytes([rng.randrange(256)]) + lines[at][start + 1 :]
        elif action == "repeat":
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif action == "remove":
            del lines[at]
        else:
            lines[at:] = [lines[at][:start]]
        content = b"".join(lines)
    return content


def _span(line: bytes, rng: random.Random) -> tuple[int, int]:
    """Return start and end of a value in a line, or of any part of it."""
    marks = [n for n, byte in enumerate(line) if byte in b',:"[]{} \r\n'] or [0]
    start = rng.choice(marks) + rng.randint(0, 1)
    ends: Iterator[int] = (mark for mark in marks if mark >= start)
    return start, next(ends, len(line))
