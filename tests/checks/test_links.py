"""What is under data/: absent content is no finding, any other link, file or pipe in its place is one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_trace_archive.checks.links import check_links
from llm_trace_archive.core.archive import LOCK, Archive
from llm_trace_archive.core.links import content_path, link_target, locked_key
from llm_trace_archive.lock.describe import describe
from support.command import run_here
from support.programs import git
from support.small_archive import publish

ONE, UNBUILT = "data/demo/one.parquet", "data/demo/more.parquet"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an archive with a locked and an unbuilt workload; don't change it: copy it."""
    home = tmp_path_factory.mktemp("links")
    workloads = {"one": ("one.csv", 9), "more": ("more.csv", 7)}
    return publish(home, "https://example.org", workloads, unbuilt={"more"})[0].root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "archive", symlinks=True))


def findings(root: Path) -> dict[str, tuple[str, str]]:
    results = check_links(Archive(root))
    return {each.name: (str(each.expected), str(each.found)) for each in results if not each.holds}


def key_of(root: Path) -> str:
    (resource,) = Archive(root).locked.values()
    return locked_key(resource["hash"].removeprefix("sha256:"), resource["bytes"])


def test_links_to_content_and_to_absent_content_are_no_finding(root: Path) -> None:
    assert findings(root) == {}
    assert (root / ONE).exists() and (root / UNBUILT).is_symlink() and not (root / UNBUILT).exists()
    content = root / content_path(key_of(root))
    content.parent.chmod(0o755)
    content.unlink()
    assert findings(root) == {}


def replaced(path: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / path).unlink()
        make(root / path)

    return change


def link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def copy_content(root: Path) -> None:
    content = (root / ONE).read_bytes()
    (root / ONE).unlink()
    (root / ONE).write_bytes(content)


def link_absolutely(root: Path) -> None:
    target = (root / ONE).resolve()
    (root / ONE).unlink()
    (root / ONE).symlink_to(target)


def link_to_another_clone(root: Path) -> None:
    other = Path(shutil.copytree(root, root.parent / "other", symlinks=True))
    (root / ONE).unlink()
    (root / ONE).symlink_to(Path("../../..") / "other" / content_path(key_of(other)))


OLDER_KEY = "VURL--llm-traces-demo-more-0"
OTHER_KEY = "SHA256-s5--" + "0" * 64
IN_PLACE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "an absolute link": (ONE, link_absolutely),
    "a link to another clone": (ONE, link_to_another_clone),
    "a plain file": (ONE, copy_content),
    "a link to nowhere": (ONE, replaced(ONE, link("nowhere"))),
    "a link to another key": (ONE, replaced(ONE, link(link_target(ONE, OTHER_KEY)))),
    "a link to itself": (ONE, replaced(ONE, link("one.parquet"))),
    "no link": (ONE, replaced(ONE, lambda path: None)),
    "a pipe": (ONE, replaced(ONE, os.mkfifo)),
    "a folder": (ONE, replaced(ONE, Path.mkdir)),
    "the link of an older recipe": (UNBUILT, replaced(UNBUILT, link(link_target(UNBUILT, OLDER_KEY)))),
    "content that no lock has": (UNBUILT, replaced(UNBUILT, link(link_target(UNBUILT, OTHER_KEY)))),
    "a file that no lock has": (UNBUILT, replaced(UNBUILT, lambda path: path.write_bytes(b"x"))),
    "a pipe that no lock has": (UNBUILT, replaced(UNBUILT, os.mkfifo)),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_PLACE)
def test_anything_in_place_of_a_link_is_a_finding(root: Path, case: str) -> None:
    path, change = IN_PLACE[case]
    change(root)
    assert set(findings(root)) == {f"link {path}"}
    done = run_here("validate", cwd=root)  # and no hang, although no workload is named
    assert done.returncode == 1 and f"link {path}: expected ../../.git/annex/objects/" in done.stdout


@pytest.mark.parametrize("case", ["a pipe", "a folder", "a link to nowhere"])
def test_what_is_no_file_is_a_finding_of_its_workload(root: Path, case: str) -> None:
    IN_PLACE[case][1](root)
    done = run_here("validate", "demo/one", cwd=root)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    expected = "the content is not here" if case == "a link to nowhere" else "it is not a regular file"
    assert expected in done.stdout + done.stderr


def test_a_resource_that_was_deleted_is_a_finding(root: Path) -> None:
    """Also after `describe`, which takes the workload for one that was never built."""
    lock = json.loads((root / LOCK).read_text())
    lock["resources"] = []
    (root / LOCK).write_text(json.dumps(lock))
    describe(Archive(root))
    ((expected, found),) = findings(root).values()
    assert "VURL--llm-traces-demo-one" in expected and key_of_link(root) in found


def key_of_link(root: Path) -> str:
    return (root / ONE).readlink().name


def test_pointers_that_git_has_are_no_finding(root: Path) -> None:
    """git-annex leaves them for unlocked files, and where there are no symbolic links."""
    key = key_of(root)
    copy_content(root)
    for pointed, expected in ((key, set()), (OTHER_KEY, {f"link {ONE}"})):
        content = (root / ONE).read_bytes()
        (root / ONE).write_text(f"/annex/objects/{pointed}\n")
        git("add", ONE, cwd=root)
        assert set(findings(root)) == expected
        (root / ONE).write_bytes(content)  # `git annex get` replaces the pointer
        assert set(findings(root)) == expected


STRAYS: dict[str, Callable[[Path], object]] = {
    "data/demo/one.parquet.bak": lambda path: path.write_bytes(b""),
    "data/demo/copy.parquet": lambda path: path.symlink_to("one.parquet"),
    "data/other/one.parquet": lambda path: path.write_bytes(b""),
    "data/notes.txt": lambda path: path.write_bytes(b""),
    "data/elsewhere": lambda path: path.symlink_to("/tmp"),
    "data/demo/.hidden.parquet": lambda path: path.write_bytes(b""),
    "data/demo/pipe.parquet": os.mkfifo,
}


@pytest.mark.parametrize("path", STRAYS)
def test_other_files_are_findings(root: Path, path: str) -> None:
    (root / path).parent.mkdir(exist_ok=True)
    STRAYS[path](root / path)
    assert findings(root) == {"other files under data/": ("none", path)}


def test_a_build_in_progress_is_no_finding(root: Path) -> None:
    (root / "data/demo/.one.parquet.0a1b.part").write_bytes(b"")
    assert findings(root) == {}


def test_an_archive_without_git_has_plain_files(root: Path) -> None:
    copy_content(root)
    (root / UNBUILT).unlink()
    shutil.rmtree(root / ".git", ignore_errors=True)
    assert findings(root) == {}
    (root / ONE).unlink()
    assert findings(root) == {}
    (root / ONE).symlink_to("nowhere")
    assert set(findings(root)) == {f"link {ONE}"}
