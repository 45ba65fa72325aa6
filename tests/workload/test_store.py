"""Content outside a clone: the archive of the wheel, and the user's data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.no_clone import NoClone
from support.programs import Samples


@pytest.fixture
def user(wheel: Path, tmp_path: Path, samples: Samples) -> NoClone:
    return NoClone(wheel, tmp_path, samples.mirror)


def test_the_wheel_lists_its_archive(user: NoClone) -> None:
    listed = user.llm_traces("list")
    assert listed.returncode == 0, listed.stderr
    assert "azure-2023/code" in listed.stdout
    assert "not here" in listed.stdout
    assert user.llm_traces("info", "azure-2023").returncode == 0
    assert not user.data.exists()


def test_absent_content_is_fetched_on_request_and_opens_then(user: NoClone, samples: Samples) -> None:
    absent = user.python("import llm_trace_archive as lta; lta.open('azure-2023/code')")
    assert "llm-traces get azure-2023/code" in absent.stderr
    opened = user.python(
        "import llm_trace_archive as lta; print(lta.open('azure-2023/code', fetch=True).arrow().num_rows)"
    )
    assert opened.returncode == 0, opened.stderr
    assert opened.stdout == "182\n"
    (content,) = user.data.rglob("*.parquet")
    assert content.read_bytes() == (samples.root / "data/azure-2023/code.parquet").read_bytes()
    again = user.python(
        "import llm_trace_archive as lta; print(lta.open('azure-2023/code').head(3).num_rows)", LLM_TRACES_OFFLINE="1"
    )
    assert again.stdout == "3\n", again.stderr


def test_corrupt_content_is_one_message_and_get_replaces_it(user: NoClone) -> None:
    assert user.llm_traces("get", "azure-2023/code").returncode == 0
    (content,) = user.data.rglob("*.parquet")
    right = content.read_bytes()
    content.write_bytes(right[:-20] + bytes(20))
    opened = user.python("import llm_trace_archive as lta; lta.open('azure-2023/code')")
    assert "azure-2023/code: the content is corrupt" in opened.stderr
    assert user.llm_traces("get", "azure-2023/code").returncode == 0
    assert content.read_bytes() == right


def test_content_is_hashed_once(user: NoClone) -> None:
    assert user.llm_traces("get", "azure-2023/code").returncode == 0
    counting = """
import llm_trace_archive as lta
from llm_trace_archive.workload import store
hashed, real = [], store.hash_file
store.hash_file = lambda path: hashed.append(path) or real(path)
lta.open("azure-2023/code").head()
print(len(hashed))
"""
    assert user.python(counting).stdout == "0\n"  # the build hashed it
    (content,) = user.data.rglob("*.parquet")
    content.touch()
    assert [user.python(counting).stdout for _ in range(2)] == ["1\n", "0\n"]
