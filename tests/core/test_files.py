"""Files are replaced as a whole or not at all, and files that killed processes left are removed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_trace_archive.core.files import (
    hash_file,
    replace_folder,
    replace_link,
    replace_text,
    replacing,
    temporary,
    temporary_folder,
)

HOLD = """
import sys
from pathlib import Path
from llm_trace_archive.core.files import temporary
with temporary(Path(sys.argv[1])) as part:
    part.write_text("half")
    print(part, flush=True)
    sys.stdin.read()
"""


def test_a_block_that_raises_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    replace_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_new_files_get_the_usual_permissions(tmp_path: Path) -> None:
    replace_text(tmp_path / "lock.json", "new")
    (tmp_path / "other").write_text("new")
    assert (tmp_path / "lock.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_only_regular_files_are_hashed(tmp_path: Path) -> None:
    """A pipe would wait for its writer, and a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            hash_file(path)


def test_files_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    path = tmp_path / "lock [1].json"
    parts = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        parts.append((process, Path(process.stdout.readline().strip())))
    (alive, held), (dead, left) = parts
    dead.kill()
    dead.wait()
    assert left.exists()
    replace_text(path, "whole")
    assert not left.exists() and held.exists()
    alive.communicate()
    assert alive.returncode == 0 and list(tmp_path.iterdir()) == [path]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "out" / "o.csv"
    victim.write_text("mine")
    path.parent.mkdir()
    for name in (".o.csv.part", ".o.csv.00000000.part"):
        (path.parent / name).symlink_to(victim)
    replace_text(path, "whole")
    assert victim.read_text() == "mine" and path.read_text() == "whole"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [str(n) * 10_000 for n in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: replace_text(path, text), texts * 20))
        list(pool.map(lambda n: replace_link(tmp_path / "link", f"target-{n % 7}"), range(200)))
    assert path.read_text() in texts
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "link"]


def test_a_name_as_long_as_a_disk_allows(tmp_path: Path) -> None:
    replace_text(tmp_path / ("n" * 255), "whole")
    assert [each.name for each in tmp_path.iterdir()] == ["n" * 255]


def test_links_that_were_never_renamed_are_removed_once_they_are_old(tmp_path: Path) -> None:
    old, young = tmp_path / ".link.00000000.link", tmp_path / ".link.00000001.link"
    for each in (old, young):
        each.symlink_to("nowhere")
    os.utime(old, (0, 0), follow_symlinks=False)
    replace_link(tmp_path / "link", "target")
    assert sorted(each.name for each in tmp_path.iterdir()) == [young.name, "link"]


def test_git_blob_is_what_git_prints(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"trace\n")
    printed = subprocess.run(["git", "hash-object", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert hash_file(tmp_path / "file", "git_blob") == (printed.stdout.strip(), 6)


def test_temporary_files_are_gone_after_the_block(tmp_path: Path) -> None:
    with temporary(tmp_path / "table") as part:
        assert part.stat().st_size == 0 and part.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("one", "two"):
        with temporary_folder(path) as part:
            (part / "inside").mkdir()
            (part / "inside" / name).write_text(name)
            replace_folder(path)
    assert [each.relative_to(tmp_path).as_posix() for each in sorted(tmp_path.rglob("*"))] == [
        "folder", "folder/inside", "folder/inside/two",
    ]  # fmt: skip


def test_a_folder_that_a_killed_process_was_replacing_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".folder.old").mkdir()
    (tmp_path / ".folder.part" / "half").mkdir(parents=True)
    with temporary_folder(tmp_path / "folder") as part:
        assert not list(part.iterdir())
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
