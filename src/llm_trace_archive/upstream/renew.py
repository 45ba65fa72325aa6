"""`llm-traces pin`: fetch the current upstream, show how its pins differ, and write them into the recipes."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.archive import Archive
from ..core.extras import require
from ..core.files import hash_file, inside, replace_text
from ..core.recipe import UpstreamFile, Workload
from .cache import PINNING, Cache, make_cache_problem
from .sources import Sources


@dataclass(frozen=True)
class Pin:
    """The pin of a file as the upstream is now; `file` has that of the recipe."""

    file: UpstreamFile
    sha256: str
    bytes: int

    @property
    def is_changed(self) -> bool:
        """Whether the recipe has another pin, or none."""
        return (self.file.sha256, self.file.bytes) != (self.sha256, self.bytes)

    def __str__(self) -> str:
        if not self.is_changed:
            return f"{self.file.name}: as pinned, sha256 {self.sha256}, {self.bytes} bytes"
        was = f"{self.file.sha256 or 'none'}, {self.file.bytes if self.file.bytes is not None else 'unknown'} bytes"
        return f"{self.file.name}:\n  was  sha256 {was}\n  now  sha256 {self.sha256}, {self.bytes} bytes"


def renew(archive: Archive, workloads: list[Workload], sources: Sources, on_pin: Callable[[Pin], None]) -> list[Pin]:
    """Fetch the files of workloads again, and write the pins that changed into their recipes; return all pins.

    The cache is not used, to see the current upstream, but it keeps what was fetched. Files whose pins are in a list
    beside the recipe are skipped. Raises Problem as fetching does.
    """
    require("tomlkit", "build", "llm-traces pin")  # before anything is fetched
    fresh = dataclasses.replace(sources, cache=sources.cache / PINNING, accept_unpinned=True)
    by_trace: dict[str, list[Pin]] = {}
    with _lock_and_clear(fresh.cache):
        for file in _select_files(workloads):
            # From its first URL only: the others serve the content that is pinned.
            path = fresh.get(dataclasses.replace(file, sha256=None, bytes=None, git_blob=None, also=()))
            pin = Pin(file, *hash_file(path))
            if path.is_relative_to(fresh.cache):
                Cache(sources.cache).add(dataclasses.replace(file, sha256=pin.sha256), path)
            on_pin(pin)
            by_trace.setdefault(file.trace, []).append(pin)
    for trace, pins in by_trace.items():
        if changed := {pin.file.name: pin for pin in pins if pin.is_changed}:
            _write_pins(inside(archive.root, f"recipes/{trace}.toml"), changed)
    return [pin for pins in by_trace.values() for pin in pins]


@contextlib.contextmanager
def _lock_and_clear(folder: Path) -> Iterator[None]:
    """Let one run at a time use the folder, and remove what a killed run left: it is not the current upstream."""
    try:
        with Cache(folder).lock("pin"):
            shutil.rmtree(folder / "unpinned", ignore_errors=True)
            yield
    except OSError as error:
        raise make_cache_problem(folder, error) from None


def _select_files(workloads: list[Workload]) -> Iterator[UpstreamFile]:
    """Yield each file once, however many workloads need it."""
    urls = set()
    for workload in workloads:
        for file in () if workload.listed else workload.files:
            if file.url not in urls:
                urls.add(file.url)
                yield file


def _write_pins(recipe: Path, pins: dict[str, Pin]) -> None:
    """Write pins (by file name) into a recipe, and leave everything else as it is, comments included."""
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
