"""Read a recipe: the facts about one trace's upstream files and how their fields become our columns.

A recipe is TOML, `recipes/<trace>.toml`, checked against `schemas/recipe.schema.json`. It is declarative, so that the
same mapping runs forwards (canonicalise) and backwards (restore).
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    value     the constant itself
    """

    column: str
    source: str | None = None
    unit: str | None = None
    datetime: str | None = None
    rest: str | None = None
    prefix: str = ""
    empty: str | None = None
    derive: str | None = None
    value: str | None = None

    @property
    def restores(self) -> bool:
        """Whether the upstream field is written back from this column."""
        return self.source is not None and self.derive is None


@dataclass(frozen=True)
class UpstreamFile:
    """One upstream file and its pin (sha256 in hex, size in bytes; None where the upstream's is not known).

    `role` is None for a file of rows, "tokenizer" for the one that counts the tokens of the others.
    """

    trace: str
    name: str
    url: str
    sha256: str | None
    bytes: int | None
    rules: tuple[Rule, ...] = ()
    role: str | None = None

    @property
    def fields(self) -> frozenset[str]:
        """Every upstream field the recipe knows in this file."""
        return frozenset(rule.source for rule in self.rules if rule.source is not None)


@dataclass(frozen=True)
class Workload:
    """One table of a trace: `trace/name`, built from `files` in their order.

    `restores` is False where the table does not hold all of the upstream, so that it can't be written back.
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
    def tables(self) -> tuple[UpstreamFile, ...]:
        """The files that hold rows."""
        return tuple(file for file in self.files if file.role is None)

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
            [[f.name, f.sha256, [vars(rule) for rule in f.rules]] for f in self.files],
        ]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """One trace: its licence, citation and workloads. `file` is where it was read."""

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
    raw: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def workload(self, name: str) -> Workload:
        """The workload of that name. Raises BadUse, which lists those there are."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        raise BadUse(
            f"{self.name}/{name}", "no such workload", there_are=", ".join(str(each) for each in self.workloads)
        )


def read(path: Path, schema: Mapping[str, Any]) -> Recipe:
    """Read one recipe and check it against the JSON Schema of recipes.

    Raises BadUse that names the file, every offending key with its line, and the reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise BadUse(path.name, "the recipe can't be read", reason=error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadUse(f"recipes/{path.name}", "not valid TOML", reason=str(error), next="mend the recipe") from None
    faults = [*_schema_faults(raw, schema), *_meaning_faults(raw, path)]
    if faults:
        told = [
            f"line {_line_of(text, where)}: {'.'.join(map(str, where)) or 'top level'}: {why}" for where, why in faults
        ]
        raise BadUse(
            f"recipes/{path.name}",
            "the recipe is wrong" if len(told) == 1 else f"the recipe is wrong in {len(told)} places",
            found="\n".join(told),
            next="mend the recipe; schemas/recipe.schema.json says what each key takes",
        )
    return _recipe(path, raw)


Where = tuple[str | int, ...]


def _schema_faults(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterable[tuple[Where, str]]:
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(raw), key=lambda e: [str(part) for part in e.absolute_path]):
        where = tuple(error.absolute_path)
        reason = error.message
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            unknown = sorted(set(error.instance) - set(error.schema.get("properties", {})))
            for key in unknown:
                yield (*where, key), "unknown key"
            continue
        if error.validator == "required":
            reason = f"{error.message.split(' is a required')[0]} is missing"
        yield where, reason if len(reason) < 200 else reason[:197] + "..."


def _meaning_faults(raw: Mapping[str, Any], path: Path) -> Iterable[tuple[Where, str]]:
    """What a JSON Schema can't say."""
    if isinstance(raw.get("name"), str) and raw["name"] != path.stem:
        yield ("name",), f"'{raw['name']}' but the file is {path.name}"
    seen: set[str] = set()
    workloads = raw.get("workloads")
    for index, workload in enumerate(workloads if isinstance(workloads, list) else ()):
        if not isinstance(workload, dict):
            continue
        name = workload.get("name")
        if isinstance(name, str):
            if name in seen:
                yield ("workloads", index, "name"), f"'{name}' stands twice"
            seen.add(name)


def _line_of(text: str, where: Where) -> int:
    """The line of a key in TOML text: the deepest part of `where` that is found, counted from 1."""
    lines = text.splitlines()
    found, start, names = 1, 0, [part for part in where if isinstance(part, str)]
    indices = [part for part in where if isinstance(part, int)]
    for depth, name in enumerate(names):
        header = re.compile(r"^\s*\[+\s*(?:[\w.-]+\.)?" + re.escape(name) + r"\s*\]+")
        headers = [n for n in range(start, len(lines)) if header.match(lines[n])]
        if headers:
            nth = indices.pop(0) if indices and lines[headers[0]].lstrip().startswith("[[") else 0
            start = headers[min(nth, len(headers) - 1)]
            found = start + 1
            continue
        key = re.compile(r'(?:^|[{,])\s*"?' + re.escape(name) + r'"?\s*=')
        end = len(lines) if depth else next((n for n, line in enumerate(lines) if line.startswith("[")), len(lines))
        for n in range(start, end):
            if key.search(lines[n]):
                start, found = n, n + 1
                break
    return found


def _recipe(path: Path, raw: Mapping[str, Any]) -> Recipe:
    return Recipe(
        file=path,
        name=raw["name"],
        title=raw["title"],
        description=raw["description"].strip(),
        homepage=raw["homepage"],
        cite=raw["cite"],
        doi=raw.get("doi"),
        collected=raw["collected"],
        licence=raw["licence"],
        synthetic=raw.get("synthetic", False),
        anomalies=tuple(raw.get("anomalies", ())),
        workloads=tuple(_workload(raw, each) for each in raw["workloads"]),
        raw=raw,
    )


def _workload(raw: Mapping[str, Any], own: Mapping[str, Any]) -> Workload:
    table = own.get("table", "request")
    # The trace's columns are those of its requests; another table maps its own.
    columns = {**(raw.get("columns", {}) if table == "request" else {}), **own.get("columns", {})}
    base = raw.get("base", "")
    return Workload(
        trace=raw["name"],
        name=own["name"],
        title=own["title"],
        format=own.get("format", raw.get("format", "")),
        table=table,
        files=tuple(_file(raw["name"], base, columns, each) for each in own["files"]),
        properties={**raw.get("properties", {}), **own.get("properties", {})},
        expect=own["expect"],
        published=tuple(own.get("published", ())),
        anomalies=tuple(own.get("anomalies", ())),
        restores=own.get("restores", True),
    )


def _file(trace: str, base: str, columns: Mapping[str, Any], own: Mapping[str, Any]) -> UpstreamFile:
    merged = {} if "role" in own else {**columns, **own.get("columns", {})}
    rules = tuple(
        Rule(column, source=rule.get("from"), **{k: v for k, v in rule.items() if k != "from"})
        for column, rule in merged.items()
    )
    url = own.get("url") or base + own["name"]
    return UpstreamFile(trace, own["name"], url, own.get("sha256"), own.get("bytes"), rules, own.get("role"))
