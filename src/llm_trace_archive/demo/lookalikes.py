"""Synthetic look-alikes: small upstream files in their upstream's exact spelling, and an archive with recipes for them.

They stand in for the published files where these are too large, or not at hand: in the demo and in the tests. A module
a trace; adding a trace means one here, beside its recipe and its schema.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import importlib
import os
import pkgutil
import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol, cast

from .. import samples
from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.files import hash_file
from ..samples.kit.shape import Shape


class Sample(Protocol):
    """What a module `samples/<trace>.py` offers."""

    SHAPES: Mapping[str, Shape]
    """How each file of lines is spelled, by file name; empty where the files have no lines."""

    def generate(self, folder: Path, rows: int) -> None:
        """Write every upstream file that makes a workload into a folder, about `rows` rows in the largest table."""


# What an archive needs besides recipes and schemas; the rest is generated in it.
_COPIED = ("LICENSE.txt", ".gitattributes", ".gitignore", ".datalad/config")
_HONOURED = ("arrivals", "segments", "relations", "references")  # expectations that hold of the look-alikes too
_LINES = ("csv", "jsonl")  # formats of a line a row


def sampled() -> tuple[str, ...]:
    """Return the traces that have look-alikes: one for each module of `samples`."""
    return tuple(
        sorted(each.name.replace("_", "-") for each in pkgutil.iter_modules(samples.__path__) if not each.ispkg)
    )


def sample(trace: str) -> Sample:
    """Return the module that writes a trace's look-alikes. Raises BadUse for a trace that has none."""
    if trace not in sampled():
        raise BadUse(trace, "no look-alikes of such a trace", there_are=", ".join(sampled()))
    return cast(Sample, importlib.import_module(f"{samples.__name__}.{trace.replace('-', '_')}"))


def write_upstream(trace: str, folder: Path, rows: int = 2000) -> None:
    """Write the look-alikes of a trace's upstream files to `<folder>/<trace>/`, so that `folder` is a mirror.

    `rows` is about the rows of the largest table. Raises BadUse for a trace that has no look-alikes.
    """
    found = sample(trace)
    target = folder / trace
    target.mkdir(parents=True, exist_ok=True)
    found.generate(target, rows)


def sample_archive(
    source: Archive, root: Path, mirror: Path, base_url: str, rows: int = 2000, traces: Sequence[str] | None = None
) -> Archive:
    """Make an archive of look-alikes in the new folder `root`, nothing built yet, and their upstream files in `mirror`.

    base_url  where the mirror is served, for the recipes
    traces    those wanted; by default all that have a recipe in `source` and look-alikes. Those they are derived from
              come with them.

    Raises BadUse if `root` is in use or a trace has no recipe or no look-alikes.
    """
    possible = [trace for trace, recipe in source.recipes.items() if (recipe.derived_from or trace) in sampled()]
    for trace in traces or ():
        if trace not in possible:
            raise BadUse(trace, "no recipe with look-alikes for such a trace", there_are=", ".join(possible))
    try:
        for folder in (root, mirror):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BadUse(str(folder), f"can't be written: {error.strerror}", next="give another folder") from None
    if any(root.iterdir()):
        raise BadUse(str(root), "is not empty", expected="a new folder", next="give another folder, or remove this one")
    shutil.copytree(source.root / "schemas", root / "schemas")
    for name in _COPIED:
        if (source.root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.root / name, root / name)
    (root / "recipes").mkdir()
    wanted = possible if traces is None else traces
    for trace in dict.fromkeys(each for name in wanted for each in (source.recipe(name).derived_from or name, name)):
        origin = source.recipe(trace).derived_from or trace
        if origin == trace:
            write_upstream(trace, mirror, rows)
        text = source.recipe(trace).file.read_text(encoding="utf-8")
        made = _recipe(text, mirror / origin, f"{base_url.rstrip('/')}/{origin}/")
        (root / "recipes" / f"{trace}.toml").write_text(made, encoding="utf-8", newline="\n")
        for workload in source.recipe(trace).workloads:
            if workload.listed:
                (root / workload.listed.path).write_text(_file_list(mirror / trace), encoding="ascii", newline="\n")
    return Archive(root)


def _recipe(text: str, folder: Path, base: str) -> str:
    """The recipe of a trace, turned into one of its look-alikes in `folder`."""
    import tomlkit

    recipe: Any = tomlkit.parse(text)
    derived = "derived_from" in recipe
    recipe["title"] = f"{recipe['title']} (synthetic look-alike)"
    told = "Generated look-alikes, not the published data. The rest of this text is about the published data."
    recipe["description"] = tomlkit.string(f"{told}\n{recipe['description'].lstrip()}", multiline=True)
    if not derived:
        recipe["base"] = base
    recipe["synthetic"] = True
    for shared in (recipe, *recipe.get("tables", {}).values()):
        shared.pop("published", None)
        _keep_honoured(shared)
    for workload in recipe["workloads"]:
        workload.pop("published", None)
        rows, kind = 0, workload.get("format", recipe["format"])
        for file in workload.get("files", ()):
            path = folder / file["name"]
            file.pop("url", None)
            file.pop("git_blob", None)
            if not derived:  # its files are pinned by the recipe it is derived from
                with path.open("rb") as stream:
                    file["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
                file["bytes"] = path.stat().st_size
            if "members" in file:
                rows += _records_inside(path, file["members"])
            elif kind in _LINES:
                rows += _records(path, has_header=kind == "csv")
        _keep_honoured(workload)
        if rows:
            workload.setdefault("expect", tomlkit.inline_table())["rows"] = rows
    made: str = tomlkit.dumps(recipe)
    return made


def _keep_honoured(part: Any) -> None:
    """Remove the expectations that hold of the published data alone."""
    for key in [key for key in part.get("expect", ()) if key not in _HONOURED]:
        del part["expect"][key]


def _file_list(folder: Path) -> str:
    """The list of the files in a folder, with their pins."""
    blobs = [f"{path.name}\t{hash_file(path, 'git_blob')[0]}\n" for path in sorted(folder.iterdir())]
    return "name\tgit_blob\n" + "".join(blobs)


def _records(path: Path, has_header: bool) -> int:
    """Lines that are not blank, the header apart."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return sum(1 for line in stream if line.strip()) - has_header


def _records_inside(path: Path, patterns: Sequence[str]) -> int:
    """Lines of the members of a gzip tar whose names fit a pattern."""
    globs = [re.sub(r"\{\w+\}", "*", pattern) for pattern in patterns]
    with tarfile.open(path) as archive:
        names = [each for each in archive if any(fnmatch(each.name.rpartition("/")[2], glob) for glob in globs)]
        return sum(1 for name in names for _ in archive.extractfile(name) or ())
