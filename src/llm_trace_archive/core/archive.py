"""An archive on disk: its recipes, schemas, data and lock."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..columns.pointer import is_pointer
from . import recipe_file
from .documents import find_faults, packaged, read_json
from .errors import BadUse
from .files import real_path, require_utf8
from .recipe import Recipe, Workload
from .settings import archive_folder, data_folder
from .table_schema import table_schema

LOCK = "datapackage.json"
CITATION = "CITATION.cff"
SUMS = "SHA256SUMS"  # a folder with one is a released bundle
FAULTS_SHOWN = 5
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")  # of a trace


@dataclass(frozen=True)
class Archive:
    """The folder that holds `recipes/`, `schemas/` and the lock `datapackage.json`, and in a clone also `data/`.

    The archive that an installed package brings is read-only: its content is in the folder `store`.
    """

    root: Path
    store: Path | None = None

    @classmethod
    def find_or_installed(cls, start: Path | None = None) -> Archive:
        """Return the archive that contains the current directory, or else the one that came with this package.

        start  a folder in the archive to use instead; default: `LLM_TRACES_ARCHIVE`

        The archive of the package is recipes, schemas and lock; its content is in the user's data folder. Raises BadUse
        if `start` is in no archive.
        """
        if start := start or archive_folder():
            return cls.find(start)
        require_utf8(Path.cwd())
        with contextlib.suppress(BadUse):
            return cls.find()
        package = Path(__file__).parent.parent
        installed = package / "archive"  # of a wheel; an editable installation is in a checkout
        return cls(installed if installed.is_dir() else package.parent.parent, data_folder())

    @classmethod
    def find(cls, start: Path | None = None) -> Archive:
        """Return the archive that contains `start` (default: the current directory).

        Raises BadUse if none does, or if its path is not UTF-8.
        """
        start = real_path(start or Path.cwd())
        require_utf8(start)
        for folder in (start, *start.parents) if start.exists() else ():
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
        files = sorted((self.root / "recipes").glob("*.toml"), key=lambda file: file.stem)
        return {file.stem: recipe_file.read(file, self.canonical) for file in files}

    @property
    def canonical(self) -> dict[str, Any]:
        """The Table Schema of requests, `schemas/request.json`: the canonical columns."""
        return packaged("request.json")

    def recipe(self, trace: str) -> Recipe:
        """Return the recipe of a trace. Raises BadUse, which lists the traces.

        A recipe that is asked for before the others, as to open its content, is read alone, which is faster.
        """
        if "recipes" not in self.__dict__ and (recipe := self._read_alone(trace)):
            return recipe
        if trace not in self.recipes:
            near = [name for name in self.recipes if trace and name.startswith(trace.lower())]
            near = near or difflib.get_close_matches(trace.lower(), self.recipes, n=1)
            raise BadUse(trace, "no such trace", nearest=", ".join(near), there_are=", ".join(self.recipes))
        return self.recipes[trace]

    def _read_alone(self, trace: str) -> Recipe | None:
        path = self.root / "recipes" / f"{trace}.toml"
        if trace not in self._alone and _NAME.fullmatch(trace) and path.is_file():
            self._alone[trace] = recipe_file.read(path, self.canonical)
        return self._alone.get(trace)

    @cached_property
    def _alone(self) -> dict[str, Recipe]:
        return {}

    def select(self, names: Iterable[str] = ()) -> list[Workload]:
        """Return workloads by `trace` or `trace/workload`, in the order of the recipes; without names, all of them.

        Raises BadUse for an unknown name.
        """
        wanted: set[str] = set()
        for name in names:
            trace, *folders = self._without_path(name).split("/")
            recipe = self.recipe(trace)
            of_kind = [str(each) for each in recipe.workloads if not folders or folders == [each.table]]
            wanted |= set(of_kind) or {str(recipe.workload(folders[-1]))}
        every = [workload for each in self.recipes.values() for workload in each.workloads]
        return [workload for workload in every if not wanted or str(workload) in wanted]

    def _without_path(self, name: str) -> str:
        """Return what a path below data/ names: a trace, trace/workload, trace/kind, or trace/kind/workload."""
        data = self.root / "data"
        path = Path(os.path.normpath(Path.cwd() / name))  # of a link itself: content has another path
        if os.path.lexists(path) and path.is_relative_to(data) and path != data:
            name = str(path.relative_to(data))
        return name.strip("/").removeprefix("data/").removesuffix(".parquet")

    def schema(self, workload: Workload) -> dict[str, Any]:
        """Return the Table Schema of a workload, made from the canonical schema and the recipe."""
        recipe = self.recipe(workload.trace)
        alike = [each for each in recipe.workloads if each.table == workload.table]
        return table_schema(recipe.name, recipe.kinds[workload.table], self.canonical, alike)

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The descriptor `datapackage.json`, read once; empty if nothing was built yet. Don't change it.

        Raises BadUse that names what breaks `schemas/datapackage.schema.json`.
        """
        if not os.path.lexists(self.root / LOCK):
            return {}
        lock = read_json(self.root, LOCK)
        if faults := list(find_faults(lock, "datapackage.schema.json")):
            lines = [f"{'.'.join(map(str, where)) or 'top level'}: {why}" for where, why in faults[:FAULTS_SHOWN]]
            lines += [f"and {len(faults) - FAULTS_SHOWN:,} more"] if len(faults) > FAULTS_SHOWN else []
            raise BadUse(LOCK, "is not a lock of this archive", found="\n".join(lines), next=f"git checkout -- {LOCK}")
        return lock

    @cached_property
    def locked(self) -> dict[str, Mapping[str, Any]]:
        """The lock's resources by "trace/workload". Raises BadUse as `lock` does."""
        return {f"{each['trace']}/{each['workload']}": each for each in self.lock.get("resources", ())}

    def record(self, workload: Workload) -> Mapping[str, Any]:
        """Return what is recorded of a workload's content: its resource in the lock, or what a store keeps beside it.

        Of content that was never built, nothing.
        """
        if (locked := self.locked.get(str(workload))) or self.store is None:
            return locked or {}
        try:
            found = json.loads(self.path(workload).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def reread(self) -> None:
        """Forget the lock that was read: it has been written since."""
        for name in ("lock", "locked"):
            self.__dict__.pop(name, None)

    def path(self, workload: Workload) -> Path:
        """Return where the content of a workload is, or would be.

        In a store, content that the lock or the recipe describes otherwise has another path.
        """
        if self.store is None:
            return self.root / workload.path
        locked = self.locked.get(str(workload))
        digits = str(locked["hash"]).removeprefix("sha256:") if locked else workload.digest
        return self.store / workload.trace / f"{workload.name}-{digits[:16]}.parquet"

    def is_present(self, workload: Workload) -> bool:
        """Return whether a workload's content is here."""
        return self.has_content(workload.path) if self.store is None else self.path(workload).exists()

    def has_content(self, path: str) -> bool:
        """Return whether the content of the file at `path` is here, neither a dangling link nor git-annex's pointer."""
        file = self.root / path
        try:
            return not is_pointer(file)
        except OSError:
            return os.access(file, os.F_OK)  # a file that can't be read is here: whoever reads it reports why
