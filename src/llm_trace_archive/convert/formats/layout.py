"""What every format shares: the layout of a file, the file while it is read, and the errors about it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...core.errors import BadUpstream
from ...core.recipe import UpstreamFile, Workload

COMPARED = 1000  # unknown columns that may be a renamed one: each comparison takes time
# Text of upstream fields by name, and whether these are the file's last rows.
FieldTexts = tuple[Mapping[str, pa.Array], bool]


@dataclass
class Layout:
    """What restoring a file needs besides the values of its fields.

    header       CSV: the header line
    fields       names in their order; in JSON the paths of the leaves
    kinds        JSON: the type of each leaf ("string", "whole", "float", "ids")
    line_end     between records
    tail         what follows the last record
    compression  "gzip", or empty; the layout is that of the content
    content      sha256 (hex) of the content, where the pin is that of a file around it (compressed, or a tar)
    spelling     how the numbers of a field are written, learnt while reading
    document     how a JSON document of several lines is set out: compact, "spaced", or with an indent of so many spaces
    odd_lines    lines that are written in another style than the others, by number from 0, with their ends
    """

    format: str
    header: str = ""
    fields: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    line_end: str = "\n"
    tail: str = ""
    compression: str = ""
    content: str = ""
    spelling: dict[str, str] = field(default_factory=dict)
    document: str = ""
    odd_lines: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the format and what differs from the defaults: `Layout(**layout.to_dict())` is the same layout."""
        plain = Layout(self.format)
        return {name: value for name, value in vars(self).items() if name == "format" or value != getattr(plain, name)}


class KeyOrder:
    """The order of keys that all objects of a kind agree on, learnt from one after another."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._seen: dict[tuple[str, ...], None] = {}

    def agrees(self, keys: tuple[str, ...]) -> bool:
        """Learn the keys of an object; return whether there is an order that they and those before all have."""
        if keys in self._seen:
            return True
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for each in (*self._seen, keys):
            for key, before in zip(each, (None, *each), strict=False):
                sorter.add(key, *([before] if before else []))
        try:
            self.order = list(sorter.static_order())
        except CycleError:
            return False
        self._seen[keys] = None
        return True


@dataclass(frozen=True)
class OpenFile:
    """A file of rows that is being read.

    path     its verified bytes, or those of the archive that contains it
    stream   its content, decompressed
    helpers  the workload's verified files without rows, by their role, such as a tokenizer
    """

    workload: Workload
    file: UpstreamFile
    path: Path
    layout: Layout
    stream: pa.NativeFile
    helpers: Mapping[str, Path]

    def error(self, message: str, **details: str) -> BadUpstream:
        """Return the error that says what is wrong with this file."""
        return file_error(self.workload, self.file, message, **details)


def file_error(workload: Workload, file: UpstreamFile, message: str, **details: str) -> BadUpstream:
    """Return the error for a file with the pinned hash that can't be read, restored or converted."""
    details.setdefault("next", f"compare the file with {file.url}; nothing was built")
    return BadUpstream(str(workload), f"{file.name} {message}", **details)


def check_fields(workload: Workload, file: UpstreamFile, fields: list[str]) -> None:
    """Raise BadUpstream unless a file has the fields its recipe maps, naming those missing, unknown or renamed."""
    missing = sorted(file.fields - set(fields))
    unknown = sorted(set(fields) - file.fields)
    repeated = sorted(name for name, count in Counter(fields).items() if count > 1)
    if not (missing or unknown or repeated):
        return
    renamed = [
        f"'{near}' may be '{name}' renamed"
        for name in missing
        for near in difflib.get_close_matches(name, unknown[:COMPARED], n=1, cutoff=0.5)
    ]
    recipe = f"recipes/{workload.trace}.toml"
    raise BadUpstream(
        str(workload),
        f"{file.name} does not have the columns of {recipe}",
        missing=", ".join(missing),
        unknown=", ".join(unknown)[:500],
        repeated=", ".join(repeated)[:500],
        hint="; ".join(renamed),
        next=f"if these are the upstream's columns, fix [columns] or drops in {recipe}; nothing was built",
    )
