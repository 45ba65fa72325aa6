"""Archives of look-alikes, which replace the published files where these are too large or not available.

The demo and the tests use them. `samples` has the modules that write the look-alikes, one per trace.
"""

from __future__ import annotations

import errno
import gzip
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
from ..core.documents import read_text, schema_folder
from ..core.errors import BadUse
from ..core.extras import require
from ..core.files import hash_file
from ..core.recipe import Recipe
from ..samples.kit.shape import Shape


class Sample(Protocol):
    """What a module `samples/<trace>.py` offers."""

    SHAPES: Mapping[str, Shape]
    """How each file of lines is spelled, by file name; empty if the files have no lines."""

    def generate(self, folder: Path, rows: int) -> None:
        """Write every upstream file of the trace's workloads into a folder, with `rows` rows in the largest table."""


# What an archive needs besides recipes and schemas; everything else is generated.
_COPIED = ("LICENSE.txt", ".gitattributes", ".gitignore", ".datalad/config")
_KEPT = ("arrivals", "segments", "relations", "references")  # expectations that the look-alikes meet, too
_LINES = ("csv", "jsonl", "records")  # formats with one line per row


def sample_traces() -> tuple[str, ...]:
    """Return the traces that have look-alikes, one for each module of `samples`."""
    return tuple(
        sorted(each.name.replace("_", "-") for each in pkgutil.iter_modules(samples.__path__) if not each.ispkg)
    )


def load_sample(trace: str) -> Sample:
    """Return the module that writes a trace's look-alikes. Raises BadUse for a trace without any."""
    if trace not in sample_traces():
        raise BadUse(trace, "the trace has no look-alikes", there_are=", ".join(sample_traces()))
    return cast(Sample, importlib.import_module(f"{samples.__name__}.{trace.replace('-', '_')}"))


def write_upstream(trace: str, folder: Path, rows: int = 2000) -> None:
    """Write the look-alikes of a trace's upstream files to `<folder>/<trace>/`, so that `folder` is a mirror.

    The largest table has about `rows` rows. Raises BadUse for a trace without look-alikes.
    """
    sample = load_sample(trace)
    target = folder / trace
    target.mkdir(parents=True, exist_ok=True)
    sample.generate(target, rows)


def make_archive(
    source: Archive, root: Path, mirror: Path, base_url: str, rows: int = 2000, traces: Sequence[str] | None = None
) -> Archive:
    """Write an archive of look-alikes, nothing built yet, to the new folder `root` and their files to `mirror`.

    base_url  the URL that serves the mirror, for the recipes
    traces    by default all that have a recipe in `source` and look-alikes; traces they are derived from are added

    Raises BadUse if `root` is not empty, or a trace has no recipe, or look-alikes of other files than the recipe's.
    """
    require("tomlkit", "build", "an archive of look-alikes")  # before anything is written
    possible = [trace for trace, recipe in source.recipes.items() if (recipe.derived_from or trace) in sample_traces()]
    for trace in traces or ():
        if trace not in possible:
            raise BadUse(trace, "the trace has no recipe with look-alikes", there_are=", ".join(possible))
    try:
        for folder in (root, mirror):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BadUse(str(folder), f"can't be written: {error.strerror}", next="give another folder") from None
    if any(root.iterdir()):
        raise BadUse(str(root), "is not empty", expected="a new folder", next="give another folder, or remove this one")
    shutil.copytree(schema_folder(), root / "schemas")
    for name in _COPIED:
        if (source.root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(read_text(source.root / name, name), encoding="utf-8", newline="\n")
    (root / "recipes").mkdir()
    wanted = possible if traces is None else traces
    for trace in dict.fromkeys(each for name in wanted for each in (source.recipe(name).derived_from or name, name)):
        origin = source.recipe(trace).derived_from or trace
        if origin == trace:
            write_upstream(trace, mirror, rows)
            _check_files(source.recipe(trace), mirror / trace)
        text = read_text(source.recipe(trace).file, f"recipes/{trace}.toml")
        text = _sample_recipe(text, mirror / origin, f"{base_url.rstrip('/')}/{origin}/")
        (root / "recipes" / f"{trace}.toml").write_text(text, encoding="utf-8", newline="\n")
        for workload in source.recipe(trace).workloads:
            if workload.listed:
                (root / workload.listed.path).write_text(_file_list(mirror / trace), encoding="ascii", newline="\n")
    return Archive(root)


def _check_files(recipe: Recipe, folder: Path) -> None:
    """Raise BadUse unless a folder has every file that a recipe names; a list of files follows from the folder."""
    files = {file.name for workload in recipe.workloads if not workload.listed for file in workload.files}
    written = {path.name for path in folder.iterdir()}
    if missing := sorted(files - written):
        raise BadUse(
            recipe.name,
            "the look-alikes lack files of the recipe",
            missing=", ".join(missing),
            written=", ".join(sorted(written)),
            next=f"fix generate() in samples/{recipe.name.replace('-', '_')}.py",
        )


def _sample_recipe(text: str, folder: Path, base: str) -> str:
    """Return a trace's recipe, changed into one for its look-alikes in `folder`."""
    import tomlkit

    recipe: Any = tomlkit.parse(text)
    derived = "derived_from" in recipe
    recipe["title"] = f"{recipe['title']} (synthetic look-alike)"
    notice = "Generated look-alikes, not the published data. The rest of this text is about the published data."
    recipe["description"] = tomlkit.string(f"{notice}\n{recipe['description'].lstrip()}", multiline=True)
    if not derived:
        recipe["base"] = base
    recipe["synthetic"] = True
    for shared in (recipe, *recipe.get("tables", {}).values()):
        shared.pop("published", None)
        _drop_expectations(shared)
    for view in recipe.get("views", ()):
        view.pop("removes", None)
    for workload in recipe["workloads"]:
        workload.pop("published", None)
        rows, kind = 0, workload.get("format", recipe["format"])
        for file in workload.get("files", ()):
            path = folder / file["name"]
            file.pop("url", None)
            file.pop("git_blob", None)
            if not derived:  # its files are pinned by the recipe it is derived from
                file["sha256"], file["bytes"] = hash_file(path)
            if "members" in file:
                rows += _records_inside(path, file["members"])
            elif kind in _LINES:
                rows += _records(path, has_header=kind == "csv")
        _drop_expectations(workload)
        if rows:
            workload.setdefault("expect", tomlkit.inline_table())["rows"] = rows
    changed: str = tomlkit.dumps(recipe)
    return changed


def _drop_expectations(part: Any) -> None:
    """Remove the expectations that hold of the published data alone."""
    for key in [key for key in part.get("expect", ()) if key not in _KEPT]:
        del part["expect"][key]


def _file_list(folder: Path) -> str:
    """Return the list of the files in a folder, with their pins."""
    blobs = [f"{path.name}\t{hash_file(path, 'git_blob')[0]}\n" for path in sorted(folder.iterdir())]
    return "name\tgit_blob\n" + "".join(blobs)


def _records(path: Path, has_header: bool) -> int:
    """Return the number of lines that are neither blank nor the header."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return sum(1 for line in stream if line.strip()) - has_header


def _records_inside(path: Path, patterns: Sequence[str]) -> int:
    """Return the number of lines in the members of a gzip tar whose names fit a pattern."""
    globs = [re.sub(r"\{\w+\}", "*", pattern) for pattern in patterns]
    with tarfile.open(path) as archive:
        names = [each for each in archive if any(fnmatch(each.name.rpartition("/")[2], glob) for glob in globs)]
        return sum(1 for name in names for _ in archive.extractfile(name) or ())
