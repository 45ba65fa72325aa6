"""Synthetic look-alikes: small upstream files in their upstream's exact spelling, and an archive with recipes for them.

They stand in for the published files where these are too large, or not at hand: in the demo and in the tests. A module
a trace; adding a trace means one here, beside its recipe and its schema.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..archive import Archive
from ..errors import BadUse

Generate = Callable[[Path, int], None]

_TRACES = ("azure-2023", "azure-2024", "azure-lmm-2025", "burstgpt", "kavier", "mooncake", "qwen-bailian", "ragpulse")
# What an archive needs besides recipes and schemas; the rest is generated in it.
_COPIED = ("LICENSE.txt", ".gitattributes", ".gitignore", ".datalad/config")
_HONOURED = ("arrivals", "segments")  # expectations that hold of the look-alikes too


def _generate(trace: str, folder: Path, rows: int) -> None:
    module = importlib.import_module(f".{trace.replace('-', '_')}", __name__)
    module.generate(folder, rows)


# By trace: write every upstream file that makes a workload into a folder, about so many rows in the largest table.
GENERATORS: dict[str, Generate] = {trace: partial(_generate, trace) for trace in _TRACES}


def write_upstream(trace: str, folder: Path, rows: int = 2000) -> None:
    """Write the look-alikes of a trace's upstream files to `<folder>/<trace>/`, so that `folder` is a mirror.

    `rows` is about the rows of the largest table. Raises BadUse for a trace that has no look-alikes.
    """
    if trace not in GENERATORS:
        raise BadUse(trace, "no look-alikes of such a trace", there_are=", ".join(GENERATORS))
    target = folder / trace
    target.mkdir(parents=True, exist_ok=True)
    GENERATORS[trace](target, rows)


def sample_archive(
    source: Archive, root: Path, mirror: Path, base_url: str, rows: int = 2000, traces: Sequence[str] | None = None
) -> Archive:
    """Make an archive of look-alikes in the new folder `root`, nothing built yet, and their upstream files in `mirror`.

    base_url  where the mirror is served, for the recipes
    traces    those wanted; by default all that have a recipe in `source` and look-alikes

    Raises BadUse if `root` is in use or a trace has no recipe or no look-alikes.
    """
    if root.exists() and any(root.iterdir()):
        raise BadUse(str(root), "is not empty", expected="a new folder", next="give another folder, or remove this one")
    possible = [trace for trace in source.recipes if trace in GENERATORS]
    for trace in traces or ():
        if trace not in possible:
            raise BadUse(trace, "no recipe with look-alikes for such a trace", there_are=", ".join(possible))
    shutil.copytree(source.root / "schemas", root / "schemas")
    for name in _COPIED:
        if (source.root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.root / name, root / name)
    (root / "recipes").mkdir()
    for trace in possible if traces is None else traces:
        write_upstream(trace, mirror, rows)
        text = source.recipe(trace).file.read_text(encoding="utf-8")
        made = _recipe(text, mirror / trace, f"{base_url.rstrip('/')}/{trace}/")
        (root / "recipes" / f"{trace}.toml").write_text(made, encoding="utf-8", newline="\n")
    return Archive(root)


def _recipe(text: str, folder: Path, base: str) -> str:
    """The recipe of a trace, turned into one of its look-alikes in `folder`."""
    import tomlkit

    recipe: Any = tomlkit.parse(text)
    recipe["title"] = f"{recipe['title']} (synthetic look-alike)"
    told = "Generated look-alikes, not the published data. The rest of this text is about the published data."
    recipe["description"] = tomlkit.string(f"{told}\n{recipe['description'].lstrip()}", multiline=True)
    recipe["base"] = base
    recipe["synthetic"] = True
    for workload in recipe["workloads"]:
        workload.pop("published", None)
        rows = 0
        for file in workload["files"]:
            path = folder / file["name"]
            file.pop("url", None)
            with path.open("rb") as stream:
                file["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
            file["bytes"] = path.stat().st_size
            rows += _records(path, has_header=workload.get("format", recipe["format"]) == "csv")
        expect = tomlkit.table()
        expect["rows"] = rows
        for key in _HONOURED:
            if key in workload["expect"]:
                expect[key] = workload["expect"][key]
        workload["expect"] = expect
    made: str = tomlkit.dumps(recipe)
    return made


def _records(path: Path, has_header: bool) -> int:
    """Lines that are not blank, the header apart."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return sum(1 for line in stream if line.strip()) - has_header
