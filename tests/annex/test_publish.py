"""`llm-traces publish`: what a user of stock git-annex and DataLad clones and gets, without this package."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import git, llm_traces, run, with_us
from support.small_archive import are_right, publish


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A maintainer's clone: `few` and `barred` are locked and here, `absent` is locked and not here."""
    home = tmp_path_factory.mktemp("publish")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        workloads = {name: (f"{name}.csv", 5 + place) for place, name in enumerate(("few", "barred", "absent", "new"))}
        publish(home, "http://127.0.0.1:9", workloads, unbuilt=("new",))
        recipe = home / "published/recipes/demo.toml"
        text = recipe.read_text().replace('name = "barred"\n', 'name = "barred"\nredistribute = false\n')
        recipe.write_text(text)
        llm_traces("describe", cwd=home / "published", check=True)
        git("commit", "--quiet", "--all", "--message", "Barred", cwd=home / "published")
        git("clone", "--quiet", "--single-branch", f"{home}/published", "clone", cwd=home)
        got = ("get", "demo/few", "demo/barred", "demo/new", "--mirror", str(home / "mirror"))
        llm_traces(*got, cwd=home / "clone", check=True)
    return home / "clone"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The test's folder by a plain web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def got(source: str, folder: Path) -> None:
    """Clone and get as a user; only what may be passed on, and was here, is there."""
    run("datalad", "clone", source, folder, cwd=folder.parent)
    run("datalad", "get", "data/demo/few.parquet", cwd=folder)
    assert are_right(folder, ("demo/few",))
    git("annex", "fsck", "--quiet", "data/demo/few.parquet", cwd=folder)
    for name in ("barred", "absent", "new"):
        assert run("datalad", "get", f"data/demo/{name}.parquet", cwd=folder, good=False).returncode, name


def test_a_static_tree(clone: Path, tmp_path: Path, served: str, without_us: None) -> None:
    with with_us():
        told = llm_traces("publish", tmp_path / "tree", cwd=clone, check=True).stdout
        assert told.splitlines() == [
            f"published 1 workload; next: datalad clone {tmp_path}/tree",
            "left out, not redistributable: demo/barred",
            "left out, content not here (llm-traces get): demo/absent",
            "left out, not in the lock (llm-traces lock): 1 workload",
        ]
        assert llm_traces("publish", tmp_path / "tree", cwd=clone, check=True).stdout == told
    got(f"{served}/tree", tmp_path / "by-http")
    got(str(tmp_path / "tree"), tmp_path / "by-path")
    logs = git("cat-file", "blob", "git-annex:uuid.log", cwd=tmp_path / "tree")
    assert str(tmp_path) not in logs and str(clone) not in logs, "a machine's folders were published"


def test_a_ria_store(clone: Path, tmp_path: Path, served: str, without_us: None) -> None:
    with with_us():
        store = f"ria+file://{tmp_path}/store"
        for _ in range(2):
            told = llm_traces("publish", store, cwd=clone, check=True).stdout
            assert told.startswith(f"published 1 workload; next: datalad clone {store}#~llm-trace-archive\n")
    got(f"{store}#~llm-trace-archive", tmp_path / "by-file")
    got(f"ria+{served}/store#~llm-trace-archive", tmp_path / "by-http")
    git("clone", "--quiet", tmp_path / "store/alias/llm-trace-archive", "plain", cwd=tmp_path)
    assert (tmp_path / "plain/recipes").is_dir()


def test_what_is_published_later_arrives_too(clone: Path, tmp_path: Path) -> None:
    llm_traces("publish", tmp_path / "tree", cwd=clone, check=True)
    run("datalad", "clone", tmp_path / "tree", tmp_path / "user", cwd=tmp_path)
    (clone / "NEWS").write_text("new")
    git("add", "NEWS", cwd=clone)
    git("commit", "--quiet", "--message", "News", cwd=clone)
    llm_traces("publish", tmp_path / "tree", cwd=clone, check=True)
    git("pull", "--quiet", cwd=tmp_path / "user")
    assert (tmp_path / "user/NEWS").read_text() == "new"


@pytest.mark.parametrize(
    "place", ["https://example.org/x", "s3://bucket", "ria+file://relative", "ria+http://example.org/x", "ria+file:"]
)
def test_what_is_no_place_is_refused_and_leaves_nothing(clone: Path, place: str) -> None:
    before = git("remote", cwd=clone)
    refused = llm_traces("publish", place, cwd=clone)
    assert refused.returncode == 2 and "is not a place to publish to" in refused.stderr
    assert git("status", "--short", cwd=clone) == "" and git("remote", cwd=clone) == before


def test_a_folder_in_use_is_refused(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    refused = llm_traces("publish", tmp_path, cwd=clone)
    assert refused.returncode == 2 and "is not empty, and nothing was published there" in refused.stderr
    refused = llm_traces("publish", tmp_path / "mine", cwd=clone)
    assert refused.returncode == 2 and "can't be published to" in refused.stderr
    assert (tmp_path / "mine").read_text() == "mine"
