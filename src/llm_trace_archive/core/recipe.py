"""A recipe: the facts about one trace's upstream files and how their fields become our columns.

It is declarative, so that the same mapping runs forwards (canonicalise) and backwards (restore).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import BadUse


@dataclass(frozen=True)
class Rule:
    """Where one of our columns comes from.

    source    the upstream field (JSON: a dotted path); None for a constant
    unit      "s", "ms" or "us": the upstream's unit of a column that holds microseconds
    datetime  the upstream's spelling of a date and time, such as "YYYY-MM-DD hh:mm:ss[.ffffff]+00:00"
    rest      the own column that takes the digits of `datetime` beyond the microsecond
    prefix    a constant text the upstream puts before every value
    empty     "null": an empty text means no value
    derive    the named transform that computes the column; such a column is not needed to restore the upstream
    parent    the upstream field with the id of the request before, for `derive = "chain_root"`
    value     the constant itself
    first     the upstream's number of what is 1 in a column that counts from 1
    """

    column: str
    source: str | None = None
    unit: str | None = None
    datetime: str | None = None
    rest: str | None = None
    prefix: str = ""
    empty: str | None = None
    derive: str | None = None
    parent: str | None = None
    value: str | None = None
    first: int | None = None

    def told(self) -> dict[str, str | int]:
        """What the rule says, less what it leaves open: new keys of rules leave the digests of old ones as they are."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}

    @property
    def sources(self) -> tuple[str, ...]:
        """Every upstream field it reads."""
        return tuple(each for each in (self.source, self.parent) if each is not None)

    @property
    def restores(self) -> bool:
        """Whether the upstream field is written back from this column."""
        return self.source is not None and self.derive is None


@dataclass(frozen=True)
class UpstreamFile:
    """One upstream file and its pin (sha256 in hex, size in bytes; None where the upstream's is not known).

    `git_blob` is git's id of the content, in hex: what an upstream on git pins its files by. It serves in place of a
    sha256. `role` is None for a file of rows, "tokenizer" for the one that counts the tokens of the others.

    also       more URLs of the same bytes, tried in this order after `url`
    drops      fields that the recipe knows and makes no column of
    members    for a gzip tar whose members hold the rows: patterns of their names, such as "a_rate={rate}.jsonl"
    container  for such a member: the name of the file that holds it, which is the one at `url`
    """

    trace: str
    name: str
    url: str
    sha256: str | None
    bytes: int | None
    rules: tuple[Rule, ...] = ()
    role: str | None = None
    git_blob: str | None = None
    drops: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    container: str | None = None
    also: tuple[str, ...] = ()

    @property
    def pin(self) -> tuple[str, str] | None:
        """The hash that pins the bytes: its kind, "sha256" or "git_blob", and its hex digits. None if unpinned."""
        if self.sha256 is not None:
            return "sha256", self.sha256
        return None if self.git_blob is None else ("git_blob", self.git_blob)

    @property
    def fields(self) -> frozenset[str]:
        """Every upstream field the recipe knows in this file."""
        return frozenset(self.drops) | {rule.source for rule in self.rules if rule.source is not None}

    @property
    def lost(self) -> frozenset[str]:
        """The fields that no column writes back."""
        return self.fields - {rule.source for rule in self.rules if rule.restores}

    def member(self, name: str) -> UpstreamFile | None:
        """The member of that name, with the columns that its name tells; None if no pattern fits."""
        for pattern in self.members:
            regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[A-Za-z0-9.]+)", re.escape(pattern))
            if found := re.fullmatch(regex, name):
                rules = (*self.rules, *(Rule(column, value=text) for column, text in found.groupdict().items()))
                return replace(self, name=name, sha256=None, bytes=None, rules=rules, members=(), container=self.name)
        return None


@dataclass(frozen=True)
class FileList:
    """A list of files beside a recipe: its path below the archive's root, its own sha256, and the files' URL prefix."""

    path: str
    sha256: str
    base: str


@dataclass(frozen=True)
class Derived:
    """Another upstream file that follows from a workload by a named filter over its rows, and its pin."""

    name: str
    url: str
    filter: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Workload:
    """One table of a trace: `trace/name`, built from `files` in their order.

    `restores` is False where the table does not hold all of the upstream, so that it can't be written back.
    `listed` is where the files are listed if the recipe itself does not name them. `redistribute` is False where the
    table may be built and used, but not passed on.
    """

    trace: str
    name: str
    title: str
    format: str
    table: str
    files: tuple[UpstreamFile, ...]
    properties: Mapping[str, Any]
    expect: Mapping[str, Any]
    published: tuple[Mapping[str, Any], ...]
    anomalies: tuple[Mapping[str, str], ...]
    restores: bool = True
    listed: FileList | None = None
    redistribute: bool = True
    derived: tuple[Derived, ...] = ()

    def __str__(self) -> str:
        return f"{self.trace}/{self.name}"

    @property
    def path(self) -> str:
        """Path of the Parquet file below the archive's root."""
        return f"data/{self.trace}/{self.name}.parquet"

    @property
    def schema_path(self) -> str:
        """Path of the Table Schema below the archive's root."""
        own = self.trace if self.table == "request" else f"{self.trace}-{self.table}"
        return f"schemas/{own}.json"

    @property
    def is_pinned(self) -> bool:
        """Whether every file has a hash to be held to."""
        return all(file.pin for file in self.files)

    @property
    def tables(self) -> tuple[UpstreamFile, ...]:
        """The files that hold rows."""
        return tuple(file for file in self.files if file.role is None)

    @property
    def sources(self) -> list[tuple[str, str]]:
        """The files as (title, URL); one pair for all of a list."""
        if self.listed:
            return [(f"{len(self.files)} files, see {self.listed.path}", self.listed.base)]
        return [(file.name, file.url) for file in self.files]

    def upstream(self, name: str) -> UpstreamFile | None:
        """The file of rows, or the member of one, that has this name."""
        every = (file if file.name == name else file.member(name) for file in self.tables)
        return next((file for file in every if file), None)

    @property
    def is_requests(self) -> bool:
        """Whether the rows are requests, that is: the canonical columns come first."""
        return self.table == "request"

    @cached_property
    def digest(self) -> str:
        """sha256 over everything in the recipe that decides the bytes of the Parquet file."""
        what = [
            self.trace,
            self.name,
            self.format,
            self.table,
            self.properties.get("epoch"),
            [[f.name, f.sha256 or f.git_blob, [rule.told() for rule in f.rules]] for f in self.files],
        ]
        if any(file.members for file in self.files):
            what += [[file.members for file in self.files], self.properties.get("block_tokens")]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """One trace: its licence, citation and workloads. `file` is where it was read.

    `derived_from` is the trace whose upstream files this one is built from, if it has none of its own.
    """

    file: Path
    name: str
    title: str
    description: str
    homepage: str
    cite: str
    collected: str
    licence: Mapping[str, Any]
    synthetic: bool
    workloads: tuple[Workload, ...]
    anomalies: tuple[Mapping[str, str], ...]
    doi: str | None = None
    derived_from: str | None = None

    def workload(self, name: str) -> Workload:
        """The workload of that name. Raises BadUse, which lists those there are."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        raise BadUse(
            f"{self.name}/{name}", "no such workload", there_are=", ".join(str(each) for each in self.workloads)
        )
