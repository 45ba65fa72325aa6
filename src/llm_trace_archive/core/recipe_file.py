"""Read a recipe from its file: TOML, `recipes/<trace>.toml`, checked against `schemas/recipe.schema.json`."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import BadUse
from .recipe import Derived, FileList, Recipe, Rule, UpstreamFile, Workload


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
    if not faults:
        made = _recipe(path, raw)
        faults = [*_loss_faults(made)]
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
    return made


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
        if error.validator == "oneOf" and all("required" in each for each in error.validator_value):
            one_of = " or ".join(f"'{key}'" for each in error.validator_value for key in each["required"])
            reason = f"takes one of {one_of}, and not both"
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
    origin = raw.get("derived_from")
    if isinstance(origin, str):
        try:
            tomllib.loads((path.parent / f"{origin}.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            yield ("derived_from",), f"recipes/{origin}.toml is missing or not valid TOML"


def _loss_faults(recipe: Recipe) -> Iterable[tuple[Where, str]]:
    for index, workload in enumerate(recipe.workloads):
        lost = sorted({name for file in workload.tables for name in file.lost})
        if workload.restores and lost:
            yield ("workloads", index), f"no column writes {', '.join(lost)} back: map it, or say restores = false"


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
    origin = raw
    if "derived_from" in raw:
        origin = tomllib.loads((path.parent / f"{raw['derived_from']}.toml").read_text(encoding="utf-8"))
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
        workloads=tuple(_workload(raw, each, origin, path.parent) for each in raw["workloads"]),
        derived_from=raw.get("derived_from"),
    )


def _workload(raw: Mapping[str, Any], own: Mapping[str, Any], origin: Mapping[str, Any], folder: Path) -> Workload:
    table = own.get("table", "request")
    # The trace's columns are those of its requests; another table maps its own.
    columns = {**(raw.get("columns", {}) if table == "request" else {}), **own.get("columns", {})}
    base = origin.get("base", "")
    listed, files = None, own.get("files")
    if files is None:
        listed, files = _listed(folder / own["files_from"], base)
    return Workload(
        trace=raw["name"],
        name=own["name"],
        title=own["title"],
        format=own.get("format", raw.get("format", "")),
        table=table,
        files=tuple(_files(origin, base, columns, files, tuple(own.get("drops", ())))),
        properties={**(raw.get("properties", {}) if table == "request" else {}), **own.get("properties", {})},
        expect=own["expect"],
        published=tuple(own.get("published", ())),
        anomalies=tuple(own.get("anomalies", ())),
        restores=own.get("restores", True),
        listed=listed,
        redistribute=own.get("redistribute", raw["licence"]["redistribute"]),
        derived=tuple(Derived(url=base + each["name"], **each) for each in own.get("derived", ())),
    )


_LIST_HEADER = "name\tgit_blob"
_LIST_LINE = re.compile(r"(?!\.)[A-Za-z0-9._+=,-]+\t[0-9a-f]{40}")


def _listed(path: Path, base: str) -> tuple[FileList, list[dict[str, str]]]:
    """The list of files at `path`, and each as a recipe would give it. Raises BadUse that names the wrong lines."""
    told = f"recipes/{path.name}"
    try:
        content = path.read_bytes()
        header, *lines = content.decode("ascii").splitlines() or [""]
    except OSError as error:
        raise BadUse(told, "the list of files can't be read", reason=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise BadUse(told, "the list of files is not ASCII text", next=f"git checkout -- {told}") from None
    faults = [(1, header)] if header != _LIST_HEADER else []
    blobs: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        name, _, blob = line.partition("\t")
        if not _LIST_LINE.fullmatch(line) or name in blobs:
            faults.append((number, line))
        blobs[name] = blob
    if faults or not blobs:
        raise BadUse(
            told,
            "the list of files is wrong",
            expected=f"{_LIST_HEADER!r}, then a line a file: its name, once, a tab and 40 hex digits",
            found="\n".join(f"line {number}: {line[:100]!r}" for number, line in faults[:5]) or "no files",
            next=f"git checkout -- {told}",
        )
    files = [{"name": name, "git_blob": blob} for name, blob in blobs.items()]
    return FileList(told, hashlib.sha256(content).hexdigest(), base), files


_WHERE_AND_PIN = ("url", "also", "sha256", "git_blob", "bytes")


def _files(
    origin: Mapping[str, Any],
    base: str,
    columns: Mapping[str, Any],
    files: Iterable[Mapping[str, Any]],
    drops: tuple[str, ...],
) -> Iterable[UpstreamFile]:
    common = _rules(columns)
    # The URL and the pin of a file that several workloads read stand once, with any of them.
    known: dict[str, dict[str, Any]] = {}
    for workload in origin.get("workloads", ()):
        for file in workload.get("files", ()):
            known.setdefault(file["name"], {}).update((key, file[key]) for key in _WHERE_AND_PIN if key in file)
    for own in files:
        told = {**known.get(own["name"], {}), **own}
        rules = () if "role" in own else _rules({**columns, **own["columns"]}) if "columns" in own else common
        yield UpstreamFile(
            origin["name"],
            own["name"],
            told.get("url") or base + own["name"],
            told.get("sha256"),
            told.get("bytes"),
            rules,
            own.get("role"),
            told.get("git_blob"),
            drops,
            tuple(own.get("members", ())),
            also=tuple(told.get("also", ())),
        )


def _rules(columns: Mapping[str, Any]) -> tuple[Rule, ...]:
    return tuple(
        Rule(column, source=rule.get("from"), **{k: v for k, v in rule.items() if k != "from"})
        for column, rule in columns.items()
    )
