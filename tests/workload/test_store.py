"""Content outside a clone: the archive of the wheel, and the user's data folder."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import Absent, Problem, Unavailable
from llm_trace_archive.upstream.cache import Cache
from llm_trace_archive.upstream.sources import Patience, Sources
from llm_trace_archive.workload import store
from llm_trace_archive.workload.catalogue import list_traces
from support import servers
from support.no_clone import NoClone
from support.programs import Samples
from support.tmpfs import run_on_tmpfs


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


# -- the store, in this process ----------------------------------------------------------------------------------------

NAME = "azure-2023/code"


def make_store(samples: Samples, home: Path, urls: list[str] | None = None, locked: bool = True) -> Archive:
    """Return the archive of a package, with an empty store; `urls` are those of the released file of NAME."""
    root = home / "package"
    for name in ("recipes", "schemas"):
        shutil.copytree(samples.root / name, root / name)
    if locked:
        lock = json.loads((samples.root / "datapackage.json").read_text())
        for each in lock["resources"]:
            if urls and f"{each['trace']}/{each['workload']}" == NAME:
                each["urls"] = urls
        (root / "datapackage.json").write_text(json.dumps(lock))
    return Archive(root, home / "store")


def fetch(archive: Archive, home: Path, mirror: Path | None = None) -> Path:
    sources = Sources(cache=home / "cache", mirror=str(mirror) if mirror else None, patience=Patience(tries=1))
    (workload,) = archive.select([NAME])
    store.fetch(archive, [workload], sources)
    return archive.path(workload)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def right(samples: Samples) -> bytes:
    return (samples.root / f"data/{NAME}.parquet").read_bytes()


def test_the_released_file_is_downloaded_and_kept_once(samples: Samples, tmp_path: Path, right: bytes) -> None:
    with servers.site() as site:
        site.scripts["/code.parquet"] = servers.plain(right)
        content = fetch(make_store(samples, tmp_path, [f"{site.url}/code.parquet"]), tmp_path)
        assert site.requests == {"/code.parquet": 1}
    assert content.read_bytes() == right
    assert files_in(tmp_path / "store") == [content.name]
    assert list(Cache(tmp_path / "cache").entries()) == []


def test_figures_are_checked_unless_the_bytes_are_those_of_the_lock(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []  # which needs numba for hit ratios
    monkeypatch.setattr("llm_trace_archive.lock.build._check_figures", lambda workload, _: checked.append(workload))
    fetch(make_store(samples, tmp_path / "locked"), tmp_path, samples.mirror)
    assert checked == []
    fetch(make_store(samples, tmp_path / "new", locked=False), tmp_path, samples.mirror)
    assert [str(each) for each in checked] == [NAME]


def test_a_wrong_released_file_is_not_used_and_the_workload_built(
    samples: Samples, tmp_path: Path, right: bytes
) -> None:
    with servers.site() as site:
        site.scripts["/code.parquet"] = servers.plain(right[:-1] + b"?")
        content = fetch(make_store(samples, tmp_path, [f"{site.url}/code.parquet"]), tmp_path, samples.mirror)
    assert content.read_bytes() == right


def test_the_message_says_what_was_tried(samples: Samples, tmp_path: Path) -> None:
    with servers.site() as site, pytest.raises(Unavailable) as caught:
        fetch(make_store(samples, tmp_path, [f"{site.url}/gone.parquet"]), tmp_path)
    message = str(caught.value)
    assert message.startswith("azure-2023/code: AzureLLMInferenceTrace_code.csv is not available")
    assert "gone.parquet: HTTP 404" in message
    assert files_in(tmp_path / "store") == []


def test_content_that_was_never_locked_has_a_record_beside_it(samples: Samples, tmp_path: Path, right: bytes) -> None:
    archive = make_store(samples, tmp_path, locked=False)
    (before,) = list_traces(archive, [NAME])
    assert (before.period, before.state) == (None, "not built")
    content = fetch(archive, tmp_path, samples.mirror)
    assert content.read_bytes() == right
    (after,) = list_traces(archive, [NAME])
    assert (after.rows, after.state) == (182, "here")
    assert after.period and after.period.startswith("2023-11-16")
    content.write_bytes(right[:-1] + b"?")
    with pytest.raises(Problem, match="the content is corrupt"):
        store.require(archive, archive.select([NAME]))


def test_content_of_a_changed_recipe_is_absent(samples: Samples, tmp_path: Path) -> None:
    archive = make_store(samples, tmp_path, locked=False)
    fetch(archive, tmp_path, samples.mirror)
    recipe = archive.root / "recipes/azure-2023.toml"
    recipe.write_text(recipe.read_text().replace("2023-11-16T00:00:00", "2023-11-17T00:00:00"))
    changed = Archive(archive.root, archive.store)
    with pytest.raises(Absent):
        store.require(changed, changed.select([NAME]))


def test_two_threads_that_fetch_the_same_fetch_it_once(samples: Samples, tmp_path: Path, right: bytes) -> None:
    with servers.site() as site:
        site.scripts["/code.parquet"] = servers.slow(right, len(right) // 5 + 1, 0.1)
        archive = make_store(samples, tmp_path, [f"{site.url}/code.parquet"])
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda _: fetch(archive, tmp_path), range(2))
        assert site.requests == {"/code.parquet": 1}
    assert first == second and first.read_bytes() == right


def test_a_full_disk_is_one_message_and_nothing_is_half_written(wheel: Path, tmp_path: Path, samples: Samples) -> None:
    user = NoClone(wheel, tmp_path, samples.mirror)
    user.data.mkdir()
    command = '"$@"; code=$?; find . -type f; exit $code'
    program = [sys.executable, "-m", "llm_trace_archive.cli.main", "get", "mooncake/conversation"]
    ran = run_on_tmpfs(user.data, "4k", "sh", "-c", command, "sh", *program, **user.environment)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "can't be written: No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
