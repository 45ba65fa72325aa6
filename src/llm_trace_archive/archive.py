"""An archive on disk: where its recipes, schemas, data and lock are."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import recipe_file
from .errors import BadUse
from .recipe import Recipe, Workload

LOCK = "datapackage.json"
LARGEST_JSON = 64 << 20  # a lock of 10,000 resources has a third of it


@dataclass(frozen=True)
class Archive:
    """The folder that holds `recipes/`, `schemas/`, `data/` and the lock `datapackage.json`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Archive:
        """The archive that holds `start` (default: the working folder). Raises BadUse where there is none."""
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "recipes").is_dir() and (folder / "schemas" / "recipe.schema.json").is_file():
                return cls(folder)
        raise BadUse(
            str(start),
            "not inside an archive",
            expected="a folder that holds recipes/ and schemas/, here or above",
            next="cd into your clone of the archive, or give --archive DIR",
        )

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """Every recipe by the name of its trace, in alphabetical order."""
        schema = json.loads((self.root / "schemas" / "recipe.schema.json").read_text(encoding="utf-8"))
        files = sorted((self.root / "recipes").glob("*.toml"), key=lambda file: file.stem)
        return {file.stem: recipe_file.read(file, schema) for file in files}

    def recipe(self, trace: str) -> Recipe:
        """The recipe of a trace. Raises BadUse, which lists those there are."""
        if trace not in self.recipes:
            near = [name for name in self.recipes if trace and name.startswith(trace.lower())]
            near = near or difflib.get_close_matches(trace.lower(), self.recipes, n=1)
            raise BadUse(trace, "no such trace", nearest=", ".join(near), there_are=", ".join(self.recipes))
        return self.recipes[trace]

    def select(self, names: Iterable[str] = ()) -> list[Workload]:
        """Workloads by `trace` or `trace/workload`, in the order of the recipes; all of them without names.

        Raises BadUse for a name there is not.
        """
        wanted: set[str] = set()
        for name in names:
            trace, _, workload = name.strip("/").removeprefix("data/").removesuffix(".parquet").partition("/")
            found = self.recipe(trace)
            wanted |= {str(found.workload(workload))} if workload else {str(each) for each in found.workloads}
        every = [workload for each in self.recipes.values() for workload in each.workloads]
        return [workload for workload in every if not wanted or str(workload) in wanted]

    def schema(self, workload: Workload) -> dict[str, Any]:
        """The Table Schema of a workload. Raises BadUse if it is missing or not JSON."""
        return _read_json(self.root, workload.schema_path)

    @property
    def lock(self) -> dict[str, Any]:
        """The descriptor `datapackage.json` as it stands; empty if nothing was built yet."""
        return _read_json(self.root, LOCK) if (self.root / LOCK).exists() else {}

    @property
    def locked(self) -> dict[str, Mapping[str, Any]]:
        """The lock's resources by "trace/workload". Raises BadUse if one lacks what `describe` writes."""
        try:
            found = {f"{each['trace']}/{each['workload']}": each for each in self.lock.get("resources", ())}
            for each in found.values():
                _ = each["path"], each["bytes"], each["hash"], each["facts"], each["provenance"]
            return found
        except (KeyError, TypeError) as error:
            raise BadUse(
                LOCK, "not a lock of this archive", reason=f"a resource lacks {error}", next=f"git checkout -- {LOCK}"
            ) from None

    def is_present(self, workload: Workload) -> bool:
        """Whether the content is here (a link of git-annex may dangle)."""
        return (self.root / workload.path).exists()


def _read_json(root: Path, path: str) -> dict[str, Any]:
    try:
        size = (root / path).stat().st_size
        if size > LARGEST_JSON:
            raise BadUse(
                path,
                "is too large to be ours",
                expected=f"at most {LARGEST_JSON:,} bytes",
                got=f"{size:,}",
                next=f"git checkout -- {path}",
            )
        value = json.loads((root / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadUse(path, "missing", expected=f"the file in {root}", next=f"git checkout -- {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadUse(path, "can't be read as JSON", reason=str(error), next=f"git checkout -- {path}") from None
    if not isinstance(value, dict):
        raise BadUse(path, "not a JSON object", next=f"git checkout -- {path}")
    return value


def cache_folder() -> Path:
    """Where upstream files are kept: `LLM_TRACES_CACHE`, or the user's cache folder."""
    import platformdirs

    given = os.environ.get("LLM_TRACES_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("llm-trace-archive"))


def part_of(path: Path) -> Path:
    """A place beside `path` for this process alone; what processes that were killed left there is removed."""
    for left in path.parent.glob(f".{path.name}.*.part"):
        number = left.name.removesuffix(".part").rpartition(".")[2]
        try:
            os.kill(int(number), 0)
        except (ValueError, OverflowError, PermissionError):
            continue  # not ours, or alive
        except ProcessLookupError:
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def replace_text(path: Path, text: str) -> None:
    """Replace a file's text at once: temporary file, fsync, rename. The file keeps its old text if anything fails."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    part = part_of(path)
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_output(path: Path, text: str) -> None:
    """Write text to where the user said: a new file, an old one, at once; or a device or a pipe as it is.

    Raises BadUse if that can't be written; a file that was there is then as it was.
    """
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            path.write_text(text, encoding="utf-8")  # nothing there that could be replaced, or read first
        else:
            replace_text(path.resolve(), text)
    except OSError as error:
        raise BadUse(
            str(path), f"can't be written: {error.strerror or error}", next="give another file, or make room"
        ) from None
