"""A small archive with its upstream at any URL, for tests that run whole programs many times."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Collection
from pathlib import Path

from llm_trace_archive.core import links
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.core.files import hash_file
from llm_trace_archive.lock.build import build
from llm_trace_archive.lock.describe import describe
from llm_trace_archive.upstream.sources import Sources
from support.programs import ROOT, git

RECIPE = """
name = "demo"
title = "Demo"
description = "Made up for the tests."
homepage = "https://example.org/"
cite = "Nobody"
collected = "Not at all."
format = "csv"
base = "%s/"
synthetic = true
[licence]
spdx = "CC0-1.0"
redistribute = true
source = "https://example.org/licence"
[properties]
arrivals = "synthetic"
[columns]
arrival_us = { from = "at", in = "s" }
input_tokens = { from = "in" }
"""
WORKLOAD = """
[[workloads]]
name = "%s"
title = "Demo"
files = [{ name = "%s", sha256 = "%s", bytes = %d }]
expect = { rows = %d }
"""


def upstream(rows: int) -> bytes:
    """Return a CSV file that does not compress well, so that there is something to fetch."""
    rng = random.Random(rows)
    return b"at,in\n" + b"".join(b"%d,%d\n" % (row, rng.randrange(10**6)) for row in range(rows))


def publish(
    home: Path, url: str, workloads: dict[str, tuple[str, int]], unbuilt: Collection[str] = ()
) -> tuple[Archive, dict[str, bytes]]:
    """Build and commit the archive `home/published`, and return it and its upstream files by name.

    It has main only. `home/mirror` is a mirror of the upstream.

    workloads  for each name: the name of its upstream file below `url`, and that file's number of rows
    unbuilt    names of workloads that only have a recipe
    """
    root = home / "published"
    root.mkdir(parents=True)
    git("init", "--quiet", cwd=root)
    shutil.copytree(ROOT / "schemas", root / "schemas")
    shutil.copy(ROOT / "schemas" / "request.json", root / "schemas" / "demo.json")
    for name in (".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, root)
    (root / ".datalad").mkdir()
    shutil.copy(ROOT / ".datalad" / "config", root / ".datalad")
    files = {file: upstream(rows) for file, rows in workloads.values()}
    (home / "mirror" / "demo").mkdir(parents=True)
    for name, content in files.items():
        (home / "mirror" / "demo" / name).write_bytes(content)
    recipe = RECIPE % url
    for name, (file, rows) in workloads.items():
        recipe += WORKLOAD % (name, file, hashlib.sha256(files[file]).hexdigest(), len(files[file]), rows)
    (root / "recipes").mkdir()
    (root / "recipes" / "demo.toml").write_text(recipe)
    archive = Archive(root)
    sources = Sources(cache=home / "cache", mirror=str(home / "mirror"))
    describe(
        archive, [build(archive, workload, sources) for workload in archive.select() if workload.name not in unbuilt]
    )
    git("add", "--all", cwd=root)
    git("commit", "--quiet", "--message", "Publish", cwd=root)
    return Archive(root), files


def are_right(root: Path, names: Collection[str] | None = None, locked_in: Path | None = None) -> bool:
    """Return whether all workloads, or those named, are present with the bytes of the lock (of another archive)."""
    locked = Archive(locked_in or root).locked
    return all(
        hash_file(root / locked[name]["path"])[0] == locked[name]["hash"].removeprefix("sha256:")
        for name in (locked if names is None else names)
    )


def names_here(root: Path) -> set[str]:
    """Return the names of the workloads whose content is here, after comparing it with the lock."""
    archive = Archive(root)
    here = [each for each in archive.select() if archive.is_present(each)]
    assert are_right(root, [str(each) for each in here if str(each) in archive.locked])
    return {each.name for each in here}


def store(archive: Archive, name: str, content: bytes) -> Path:
    """Store the right bytes of a locked workload as a build does, and return its path."""
    locked = archive.locked[name]
    file = archive.root / "made.part"
    file.write_bytes(content)
    try:
        links.store(archive.root, locked["path"], file, locked["hash"].removeprefix("sha256:"), locked["bytes"])
    finally:
        file.unlink(missing_ok=True)
    return archive.root / locked["path"]


def leftovers(root: Path) -> list[str]:
    """Return files in the clone that are neither committed nor content, as git and git-annex see it."""
    strays = [path for path in root.rglob("*.part*") if ".git/annex/objects" not in str(path)]
    return [str(path.relative_to(root)) for path in strays] + git("status", "--porcelain", cwd=root).splitlines()
