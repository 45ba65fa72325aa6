"""Links and keys are those of git-annex, and content that is stored by plain code is good to git-annex."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from pathlib import Path

import pytest

from llm_trace_archive.annex.setup import setup
from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from support.programs import git
from support.small_archive import publish, store

PATH = "data/demo/few.parquet"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that is set up; each test leaves the right content at PATH, or nothing."""
    home = tmp_path_factory.mktemp("links")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    git("clone", "--quiet", "--single-branch", f"file://{home}/published", "clone", cwd=home)
    setup(Archive(home / "clone"))
    return home / "clone"


@pytest.fixture(scope="module")
def content(ready: Path) -> bytes:
    return (ready.parent / "published" / PATH).read_bytes()


def test_links_are_those_of_git_annex() -> None:
    keys = [links.locked_key(hashlib.sha256(bytes([n % 256])).hexdigest(), n**4) for n in range(1000)]
    ran = subprocess.run(
        ["git-annex", "examinekey", "--batch", "--format=${hashdirmixed}\\n"],
        input="".join(f"{key}\n" for key in keys), capture_output=True, text=True, check=True,
    )  # fmt: skip
    folders = ran.stdout.splitlines()
    assert len(folders) == len(keys)
    for key, folder in zip(keys, folders, strict=True):
        assert links.link_target("data/a/b.parquet", key) == f"../../.git/annex/objects/{folder}{key}/{key}"
    assert links.link_target("a", keys[0]).startswith(".git/")


@pytest.mark.parametrize("before", ["dangling", "present", "plain", "unlocked", "absent"])
def test_store_replaces_whatever_is_there(ready: Path, content: bytes, before: str) -> None:
    archive, path = Archive(ready), ready / PATH
    if before in ("present", "unlocked"):
        store(archive, "demo/few", content)
    if before == "unlocked":
        git("annex", "unlock", "--quiet", PATH, cwd=ready)
        assert not path.is_symlink()
    if before in ("plain", "absent"):
        path.unlink()
    if before == "plain":
        path.write_bytes(b"anything")
    store(archive, "demo/few", content)
    assert path.is_symlink()
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert stat.S_IMODE(path.resolve().parent.stat().st_mode) == 0o555
    git("add", PATH, cwd=ready)
    assert git("status", "--short", cwd=ready) == ""
    assert "fixing location log" not in git("annex", "fsck", PATH, cwd=ready)
    assert "here" in git("annex", "whereis", PATH, cwd=ready)
    git("annex", "drop", "--quiet", "--force", PATH, cwd=ready)


def test_outside_a_git_repository_the_file_itself_is_stored(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("made")
    links.store(tmp_path, PATH, tmp_path / "made", "-", 4)
    assert (tmp_path / PATH).read_text() == "made" and not (tmp_path / PATH).is_symlink()
