"""`llm-traces publish`: what a user of stock git-annex and DataLad clones and gets, without this package."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.annex.publish import publish
from llm_trace_archive.annex.setup import setup
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.errors import BadUse
from support import small_archive
from support.programs import git, llm_traces, run, with_package

NAMES = ("few", "excluded", "absent", "new")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A maintainer's clone: `few` and `excluded` are locked and here, `absent` is locked, `new` is here."""
    home = tmp_path_factory.mktemp("publish")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        patch.setenv("LLM_TRACES_MIRROR", str(home / "mirror"))
        workloads = {name: (f"{name}.csv", 5 + place) for place, name in enumerate(NAMES)}
        small_archive.publish(home, "http://127.0.0.1:9", workloads, unbuilt=("new",))
        recipe = home / "published/recipes/demo.toml"
        text = recipe.read_text().replace('name = "excluded"\n', 'name = "excluded"\nredistribute = false\n')
        recipe.write_text(text)
        llm_traces("describe", cwd=home / "published", check=True)
        git("commit", "--quiet", "--all", "--message", "Excluded", cwd=home / "published")
        git("clone", "--quiet", "--single-branch", f"{home}/published", "clone", cwd=home)
        setup(Archive(home / "clone"))
        paths = [f"data/demo/{name}.parquet" for name in NAMES if name != "absent"]
        git("annex", "get", "--quiet", *paths, cwd=home / "clone")
    return home / "clone"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The URL of a plain web server for the test's folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def clone_and_get(source: str, folder: Path) -> None:
    """Clone and get everything with DataLad; only what is redistributable, and was here, arrives."""
    run("datalad", "clone", source, folder, cwd=folder.parent)
    assert run("datalad", "get", "data", cwd=folder, good=False).returncode
    assert small_archive.names_here(folder) == {"few"}
    git("annex", "fsck", "--quiet", "data/demo/few.parquet", cwd=folder)


def commit_news(clone: Path, text: str) -> None:
    (clone / "NEWS").write_text(text)
    git("add", "NEWS", cwd=clone)
    git("commit", "--quiet", "--message", "News", cwd=clone)
    git("tag", text, cwd=clone)


def test_a_static_tree(clone: Path, tmp_path: Path, served: str, without_package: None) -> None:
    tree = tmp_path / "tree"
    with with_package():
        printed = llm_traces("publish", tree, cwd=clone, check=True).stdout
    assert printed.splitlines() == [
        f"published 1 workload; next: datalad clone {tree}",
        "left out, not redistributable: demo/excluded",
        "left out, content not here (llm-traces get): demo/absent",
        "left out, not in the lock (llm-traces lock): 1 workload",
    ]
    clone_and_get(str(tree), tmp_path / "by-path")
    commit_news(clone, "third")
    with with_package():
        assert publish(Archive(clone), str(tree)) == printed.splitlines()
    git("pull", "--quiet", cwd=tmp_path / "by-path")
    assert git("tag", "--points-at", "HEAD", cwd=tmp_path / "by-path") == "third\n"
    assert (tmp_path / "by-path/NEWS").read_text() == "third"
    clone_and_get(f"{served}/tree", tmp_path / "by-http")
    logs = git("cat-file", "blob", "git-annex:uuid.log", cwd=tree)
    assert str(tmp_path) not in logs and str(clone) not in logs, "a machine's folders were published"


def test_a_ria_store(clone: Path, tmp_path: Path, served: str, without_package: None) -> None:
    store = f"ria+file://{tmp_path}/store"
    for text in ("first", "second"):
        commit_news(clone, text)
        with with_package():
            first, *_ = publish(Archive(clone), store)
        assert first == f"published 1 workload; next: datalad clone {store}#~llm-trace-archive"
    clone_and_get(f"{store}#~llm-trace-archive", tmp_path / "by-file")
    clone_and_get(f"ria+{served}/store#~llm-trace-archive", tmp_path / "by-http")
    git("clone", "--quiet", tmp_path / "store/alias/llm-trace-archive", "plain", cwd=tmp_path)
    assert (tmp_path / "plain/NEWS").read_text() == "second"
    assert git("tag", "--points-at", "HEAD", cwd=tmp_path / "plain") == "second\n"


@pytest.mark.parametrize(
    "target", ["https://example.org/x", "s3://bucket", "ria+file://relative", "ria+http://example.org/x", "ria+file:"]
)
def test_other_targets_are_refused_and_nothing_changes(clone: Path, target: str) -> None:
    before = git("remote", cwd=clone)
    with pytest.raises(BadUse, match="is not a place to publish to"):
        publish(Archive(clone), target)
    assert git("status", "--short", cwd=clone) == "" and git("remote", cwd=clone) == before


def test_a_detached_head_is_refused(clone: Path, tmp_path: Path) -> None:
    git("checkout", "--quiet", "--detach", cwd=clone)
    with pytest.raises(BadUse, match=r"is not on a branch(.|\n)*git switch main"):
        publish(Archive(clone), str(tmp_path / "tree"))
    git("switch", "--quiet", "main", cwd=clone)
    assert not (tmp_path / "tree").exists()


def test_a_folder_in_use_is_refused(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BadUse, match="is not empty, and nothing was published there"):
        publish(Archive(clone), str(tmp_path))
    with pytest.raises(BadUse, match="can't be published to"):
        publish(Archive(clone), str(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "mine"
