"""A recipe: the facts about one trace's upstream files, and how their fields become our columns.

It is declarative, so that the same mapping runs forwards (convert.canonicalise) and backwards (convert.restore).
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
    datetime  the upstream's format of a date and time, such as "YYYY-MM-DD hh:mm:ss[.ffffff]+00:00"
    rest      the own column that takes the digits of `datetime` beyond the microsecond
    offset    the own column that takes what is added to the ids of a file, so that no two files share an id
    prefix    a constant text that the upstream puts before every value
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
    offset: str | None = None
    prefix: str = ""
    empty: str | None = None
    derive: str | None = None
    parent: str | None = None
    value: str | None = None
    first: int | None = None

    def as_digested(self) -> dict[str, str | int]:
        """Return the settings that are not defaults, so that new kinds of setting leave old digests as they are."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}

    @property
    def sources(self) -> tuple[str, ...]:
        """Every upstream field the rule reads."""
        return tuple(each for each in (self.source, self.parent) if each is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the rule fills."""
        return tuple(each for each in (self.column, self.rest, self.offset) if each is not None)

    @property
    def restores(self) -> bool:
        """Whether the upstream field is restored from this column."""
        return self.source is not None and self.derive is None


@dataclass(frozen=True)
class Column:
    """A column of a trace's own: what its Table Schema says of it.

    type      Arrow type, such as "int32" or "list<int64>"
    is_row    whether it numbers the rows of its table, from 0
    """

    name: str
    type: str
    title: str
    meaning: str
    unit: str = ""
    min: float | None = None
    max: float | None = None
    enum: tuple[str, ...] = ()
    required: bool = True
    is_row: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of table of a trace: "request", or one of its own such as "telemetry", with the columns of its own.

    key  the column that identifies a row; the one that numbers the rows if empty
    """

    name: str
    title: str
    description: str
    columns: tuple[Column, ...]
    key: str = ""


@dataclass(frozen=True)
class UpstreamFile:
    """One upstream file and its pin (sha256 in hex, size in bytes; None where the upstream's is not known).

    `git_blob` is git's object id of the content, in hex: what an upstream on git pins its files by. It serves in place
    of a sha256. `role` is None for a file of rows, "tokenizer" for the one that counts the tokens of the others.

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
        """Every upstream field that the recipe knows in this file."""
        return frozenset(self.drops) | {rule.source for rule in self.rules if rule.source is not None}

    @property
    def lost(self) -> frozenset[str]:
        """The fields that no column restores."""
        return self.fields - {rule.source for rule in self.rules if rule.restores}

    @property
    def named(self) -> frozenset[str]:
        """The columns whose values stand in the names of members."""
        return frozenset(name for pattern in self.members for name in re.findall(r"\{(\w+)\}", pattern))

    def member(self, name: str) -> UpstreamFile | None:
        """Return the member of that name, with the columns that its name holds; None if no pattern matches."""
        for pattern in self.members:
            regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[A-Za-z0-9.]+)", re.escape(pattern))
            if match := re.fullmatch(regex, name):
                rules = (*self.rules, *(Rule(column, value=text) for column, text in match.groupdict().items()))
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
    """One table of a trace: `trace/name`, built from `files` in their order; `table` is the name of its kind.

    `published` are figures, each with figure, value, tolerance and source, and where they apply column, q, share,
    window_s and by. `restores` is False where the table does not hold all of the upstream, so that it can't be
    restored. `listed` is where the files are listed if the recipe itself does not name them. `redistribute` is False
    where the table may be built and used but not redistributed. `same_requests_as` names the workloads that have the
    same requests, so that no reader counts them twice. `columns` are those of the table: name, Arrow type, unit.
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
    same_requests_as: tuple[str, ...] = ()
    licence: str = ""
    cite: str = ""
    schema_version: str = ""
    columns: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.trace}/{self.name}"

    @property
    def path(self) -> str:
        """Path of the Parquet file below the archive's root."""
        # One kind of table a glob: data/*/*.parquet are requests.
        folder = self.trace if self.is_requests else f"{self.trace}/{self.table}"
        return f"data/{folder}/{self.name}.parquet"

    @property
    def schema_path(self) -> str:
        """Path of the Table Schema below the archive's root."""
        return f"schemas/{self.trace}.json" if self.is_requests else f"schemas/{self.trace}-{self.table}.json"

    @property
    def rows(self) -> int | None:
        """The number of rows that the recipe expects or that was published exactly; None if neither is known."""
        exact = (f["value"] for f in self.published if f["figure"] == "rows" and not f["tolerance"])
        rows: int | None = self.expect.get("rows", next(exact, None))
        return rows

    @property
    def is_pinned(self) -> bool:
        """Whether every file has a pin."""
        return all(file.pin for file in self.files)

    @property
    def tables(self) -> tuple[UpstreamFile, ...]:
        """The files that hold rows."""
        return tuple(file for file in self.files if file.role is None)

    @property
    def sources(self) -> list[tuple[str, str]]:
        """The files as (title, URL); one pair for all the files of a list."""
        if self.listed:
            return [(f"{len(self.files)} files, see {self.listed.path}", self.listed.base)]
        return [(file.name, file.url) for file in self.files]

    def upstream(self, name: str) -> UpstreamFile | None:
        """Return the file of rows, or the member of one, that has this name; None if there is none."""
        every = (file if file.name == name else file.member(name) for file in self.tables)
        return next((file for file in every if file), None)

    @property
    def is_requests(self) -> bool:
        """Whether the rows are requests: then the canonical columns come first."""
        return self.table == "request"

    @cached_property
    def digest(self) -> str:
        """sha256 over everything in the recipe that decides the bytes of the Parquet file."""
        what = [
            self.facts(),
            self.format,
            self.table,
            self.columns,
            [
                [file.name, file.sha256 or file.git_blob, file.members, [rule.as_digested() for rule in file.rules]]
                for file in self.files
            ],
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def facts(self) -> dict[str, str]:
        """Return what the Parquet file says of itself. No prose, so that rewording changes no bytes."""
        facts = {
            "trace": self.trace,
            "workload": self.name,
            "schema_version": self.schema_version,
            "licence": self.licence,
            "citation": self.cite,
            **{key: str(self.properties.get(key, "")) for key in ("epoch", "zone", "arrivals", "block_tokens")},
        }
        return {key: fact for key, fact in facts.items() if fact}


@dataclass(frozen=True)
class Recipe:
    """One trace: its licence, citation, workloads, and kinds of tables by name. `file` is where it was read.

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
    kinds: Mapping[str, Kind]
    anomalies: tuple[Mapping[str, str], ...]
    doi: str | None = None
    derived_from: str | None = None

    def workload(self, name: str) -> Workload:
        """Return the workload of that name. Raises BadUse, which lists those there are."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        raise BadUse(
            f"{self.name}/{name}", "no such workload", there_are=", ".join(str(each) for each in self.workloads)
        )
