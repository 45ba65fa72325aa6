"""An archive on disk: its recipes, schemas, data and lock."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from . import recipe_file
from .errors import BadUse
from .recipe import Recipe, Workload
from .table_schema import table_schema

LOCK = "datapackage.json"
CITATION = "CITATION.cff"
SUMS = "SHA256SUMS"  # a folder with one is a released bundle
LARGEST_JSON = 64 << 20  # a lock of 10,000 resources has a third of it


@dataclass(frozen=True)
class Archive:
    """The folder that holds `recipes/`, `schemas/`, `data/` and the lock `datapackage.json`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Archive:
        """Return the archive that contains `start` (default: the current directory). Raises BadUse if none does."""
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "recipes").is_dir() and (folder / "schemas" / "recipe.schema.json").is_file():
                return cls(folder)
        raise BadUse(
            str(start),
            "is not inside an archive",
            expected="a folder with recipes/ and schemas/, here or above",
            next="cd into your clone of the archive, or use --archive DIR",
        )

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """Every recipe by the name of its trace, in alphabetical order. Raises BadUse."""
        schema = _read_json(self.root, "schemas/recipe.schema.json")
        files = sorted((self.root / "recipes").glob("*.toml"), key=lambda file: file.stem)
        return {file.stem: recipe_file.read(file, schema, self.canonical) for file in files}

    @cached_property
    def canonical(self) -> dict[str, Any]:
        """The Table Schema of requests, `schemas/request.json`: the canonical columns."""
        return _read_json(self.root, "schemas/request.json")

    def recipe(self, trace: str) -> Recipe:
        """Return the recipe of a trace. Raises BadUse, which lists the traces."""
        if trace not in self.recipes:
            near = [name for name in self.recipes if trace and name.startswith(trace.lower())]
            near = near or difflib.get_close_matches(trace.lower(), self.recipes, n=1)
            raise BadUse(trace, "no such trace", nearest=", ".join(near), there_are=", ".join(self.recipes))
        return self.recipes[trace]

    def select(self, names: Iterable[str] = ()) -> list[Workload]:
        """Return workloads by `trace` or `trace/workload`, in the order of the recipes; without names, all of them.

        Raises BadUse for an unknown name.
        """
        wanted: set[str] = set()
        for name in names:
            # Also a path: data/<trace>/<workload>.parquet, data/<trace>/<kind>/<workload>.parquet, data/<trace>/
            trace, *folders = name.strip("/").removeprefix("data/").removesuffix(".parquet").split("/")
            workload = folders[-1] if folders else ""
            found = self.recipe(trace)
            wanted |= {str(found.workload(workload))} if workload else {str(each) for each in found.workloads}
        every = [workload for each in self.recipes.values() for workload in each.workloads]
        return [workload for workload in every if not wanted or str(workload) in wanted]

    def schema(self, workload: Workload) -> dict[str, Any]:
        """Return the Table Schema of a workload, made from the canonical schema and the recipe."""
        recipe = self.recipe(workload.trace)
        alike = [each for each in recipe.workloads if each.table == workload.table]
        return table_schema(recipe.name, recipe.kinds[workload.table], self.canonical, alike)

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The descriptor `datapackage.json`, read once; empty if nothing was built yet. Don't change it."""
        return _read_json(self.root, LOCK) if (self.root / LOCK).exists() else {}

    @cached_property
    def locked(self) -> dict[str, Mapping[str, Any]]:
        """The lock's resources by "trace/workload". Raises BadUse if one lacks what `describe` writes."""
        try:
            resources = {f"{each['trace']}/{each['workload']}": each for each in self.lock.get("resources", ())}
            for each in resources.values():
                _ = each["path"], each["bytes"], each["hash"], each["facts"], each["provenance"]
            return resources
        except (KeyError, TypeError) as error:
            raise BadUse(
                LOCK,
                "is not a lock of this archive",
                reason=f"a resource lacks {error}",
                next=f"git checkout -- {LOCK}",
            ) from None

    def reread(self) -> None:
        """Forget the lock that was read: it has been written since."""
        for name in ("lock", "locked"):
            self.__dict__.pop(name, None)

    def is_present(self, workload: Workload) -> bool:
        """Return whether the content is here; a link of git-annex may dangle."""
        return (self.root / workload.path).exists()


def _read_json(root: Path, path: str) -> dict[str, Any]:
    try:
        size = (root / path).stat().st_size
        if size > LARGEST_JSON:
            raise BadUse(
                path,
                "is too large to be a file of the archive",
                expected=f"at most {LARGEST_JSON:,} bytes",
                got=f"{size:,}",
                next=f"git checkout -- {path}",
            )
        value = json.loads((root / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadUse(path, "is missing", expected=f"the file in {root}", next=f"git checkout -- {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadUse(path, "can't be read as JSON", reason=str(error), next=f"git checkout -- {path}") from None
    if not isinstance(value, dict):
        raise BadUse(path, "is not a JSON object", next=f"git checkout -- {path}")
    return value
