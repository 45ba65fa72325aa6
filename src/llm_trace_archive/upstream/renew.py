"""Pins from the upstream as it is now: fetch, compute, show the difference, write the recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.archive import Archive
from ..core.files import hash_file, replace_text
from ..core.recipe import UpstreamFile, Workload
from .cache import PINNING, Cache, cant_write
from .sources import Sources


@dataclass(frozen=True)
class Pinned:
    """An upstream file with its pin in the recipe (None: there is none) and that of the bytes fetched now."""

    file: UpstreamFile
    sha256: str
    bytes: int

    @property
    def changed(self) -> bool:
        """Whether the recipe's pin is another one, or missing."""
        return (self.file.sha256, self.file.bytes) != (self.sha256, self.bytes)

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.file.name}: as pinned, sha256 {self.sha256}, {self.bytes} bytes"
        was = f"{self.file.sha256 or 'none'}, {self.file.bytes if self.file.bytes is not None else 'unknown'} bytes"
        return f"{self.file.name}:\n  was  sha256 {was}\n  now  sha256 {self.sha256}, {self.bytes} bytes"


def pin(
    archive: Archive, workloads: list[Workload], sources: Sources, on_file: Callable[[Pinned], None]
) -> list[Pinned]:
    """Fetch the files of workloads anew, tell each, and write changed pins into their recipes.

    The cache is not asked, because it is to be seen what the upstream has now; what was fetched is kept in it. Files
    whose pins stand in a table beside the recipe are left alone. Raises Problem as fetching does.
    """
    fresh = dataclasses.replace(sources, cache=sources.cache / PINNING, accept_unpinned=True)
    found: dict[str, list[Pinned]] = {}
    with _alone(fresh.cache):
        for file in _files(workloads):
            # Of its first URL alone: what others have is what it is known to be.
            path = fresh.get(dataclasses.replace(file, sha256=None, bytes=None, git_blob=None, also=()))
            each = Pinned(file, *hash_file(path))
            if path.is_relative_to(fresh.cache):
                kept = Cache(sources.cache).content(dataclasses.replace(file, sha256=each.sha256))
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.replace(kept)
            on_file(each)
            found.setdefault(file.trace, []).append(each)
    for trace, pins in found.items():
        changed = {each.file.name: each for each in pins if each.changed}
        if changed:
            _write(archive.recipe(trace).file, changed)
    return [each for pins in found.values() for each in pins]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time, and nothing there of one that was killed: it would be taken for what the upstream has now."""
    try:
        with Cache(folder).lock("pin"):
            shutil.rmtree(folder / "unpinned", ignore_errors=True)
            yield
    except OSError as error:
        raise cant_write(folder, error) from None


def _files(workloads: list[Workload]) -> Iterator[UpstreamFile]:
    """Each file once, however many workloads it makes; not those of a list beside the recipe."""
    seen = set()
    for workload in workloads:
        for file in () if workload.listed else workload.files:
            if file.url not in seen:
                seen.add(file.url)
                yield file


def _write(recipe: Path, pins: dict[str, Pinned]) -> None:
    """Put pins into a recipe, which otherwise stays as it is, comments included."""
    import tomlkit

    text = tomlkit.parse(recipe.read_text(encoding="utf-8"))
    for workload in text["workloads"]:
        for index, file in enumerate(workload.get("files", ())):
            if pin := pins.get(file["name"]):
                pinned = {**file, "sha256": pin.sha256, "bytes": pin.bytes}
                # Parsed, because keys added to an inline table get no spaces.
                members = ", ".join(f"{key} = {tomlkit.item(value).as_string()}" for key, value in pinned.items())
                workload["files"][index] = tomlkit.parse(f"file = {{ {members} }}")["file"]
    replace_text(recipe, tomlkit.dumps(text))
