"""Read a recipe from its file: TOML, `recipes/<trace>.toml`, checked against `schemas/recipe.schema.json`."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import BadUse
from .recipe import Column, Derived, FileList, Kind, Recipe, Rule, UpstreamFile, Workload

REQUEST = "request"


def read(path: Path, schema: Mapping[str, Any], canonical: Mapping[str, Any]) -> Recipe:
    """Read one recipe and check it against the JSON Schema of recipes.

    canonical  the Table Schema of requests, whose columns a recipe maps but does not describe

    Raises BadUse that names the file, every offending key with its line, and the reason.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise BadUse(path.name, "the recipe can't be read", reason=error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadUse(f"recipes/{path.name}", "is not valid TOML", reason=str(error), next="fix the recipe") from None
    faults = [*_schema_faults(raw, schema), *_meaning_faults(raw, path)]
    if not faults:
        recipe = _recipe(path, raw, canonical)
        names = frozenset(field["name"] for field in canonical["fields"])
        faults = [*_loss_faults(recipe), *_time_faults(recipe), *_column_faults(raw, recipe, names)]
        faults += _figure_faults(raw, recipe, names)
    if faults:
        lines = [
            f"line {_line_of(text, where)}: {'.'.join(map(str, where)) or 'top level'}: {why}" for where, why in faults
        ]
        raise BadUse(
            f"recipes/{path.name}",
            "the recipe is wrong" if len(lines) == 1 else f"the recipe is wrong in {len(lines)} places",
            found="\n".join(lines),
            next="fix the recipe; schemas/recipe.schema.json explains each key",
        )
    return recipe


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
            reason = f"takes either {one_of}"
        if error.validator == "not":
            reason = "takes either " + " or ".join(f"'{key}'" for key in error.validator_value["required"])
        if error.validator == "dependentRequired":
            missing, _, given = error.message.partition(" is a dependency of ")
            reason = f"{missing} is missing, which {given} requires"
        if error.validator == "required":
            reason = f"{error.message.split(' is a required')[0]} is missing"
        yield where, reason if len(reason) < 200 else reason[:197] + "..."


def _meaning_faults(raw: Mapping[str, Any], path: Path) -> Iterable[tuple[Where, str]]:
    """Find what a JSON Schema can't express."""
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
                yield ("workloads", index, "name"), f"'{name}' appears twice"
            seen.add(name)
        table = workload.get("table", REQUEST)
        tables = raw.get("tables")
        if table != REQUEST and not (isinstance(tables, dict) and table in tables):
            yield ("workloads", index, "table"), f"there is no [tables.{table}]"
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
            yield ("workloads", index), f"no column restores {', '.join(lost)}: map it, or set restores = false"


def _time_faults(recipe: Recipe) -> Iterable[tuple[Where, str]]:
    """Find dates without an epoch to count from, and a rest where no digits are left for it."""
    for index, workload in enumerate(recipe.workloads):
        shared = {id(file.rules): file.rules for file in workload.tables}.values()
        rules = [rule for each in shared for rule in each if rule.datetime]
        if rules and "epoch" not in workload.properties:
            yield ("workloads", index), "properties.epoch is missing, which 'datetime' requires"
        for rule in rules:
            if rule.rest and "fffffff" not in (rule.datetime or ""):
                yield ("columns", rule.column, "rest"), f"'{rule.datetime}' has no digits of 100 ns"


def _column_faults(raw: Mapping[str, Any], recipe: Recipe, canonical: frozenset[str]) -> Iterable[tuple[Where, str]]:
    """Find columns that are mapped but not fully described, or described though they are canonical."""
    for name, kind in recipe.kinds.items():
        described = {column.name for column in kind.columns}
        where: Where = ("columns",) if name == REQUEST else ("tables", name, "columns")
        if name == REQUEST:
            for column in sorted(described & canonical):
                yield (*where, column), "is a canonical column, which has its type and meaning in schemas/request.json"
            described |= canonical
        for own in kind.columns:
            if not own.type and own.name not in canonical:
                yield (*where, own.name), "'type' is missing, which a column of the trace's own requires"
        if name != REQUEST and sum(column.is_row for column in kind.columns) != 1:
            yield where, "one column must number the rows: row = true"
        files = [file for workload in recipe.workloads if workload.table == name for file in workload.files]
        rules = {id(file.rules): file.rules for file in files}.values()  # most files share theirs
        mapped = {column: None for each in rules for rule in each for column in rule.columns}
        mapped |= {column: None for file in files for column in file.named}
        for column in mapped:
            if column not in described:
                yield (*where, column), "is not described: give its type, title and meaning"


# Expectations that name no column, and the one that they read.
_READS = {"arrivals": "arrival_us", "segments": "segment"}


def _figure_faults(raw: Mapping[str, Any], recipe: Recipe, canonical: frozenset[str]) -> Iterable[tuple[Where, str]]:
    """Find expectations and published figures of columns that the table does not have."""
    scopes: list[tuple[Where, Mapping[str, Any], str]] = [((), raw, REQUEST)]
    scopes += [(("tables", name), table, name) for name, table in raw.get("tables", {}).items()]
    scopes += [(("workloads", n), each, each.get("table", REQUEST)) for n, each in enumerate(raw["workloads"])]
    for where, given, table in scopes:
        columns = {"trace", "workload", *(column.name for column in recipe.kinds[table].columns)}
        columns |= canonical if table == REQUEST else frozenset()
        for key, value in given.get("expect", {}).items():
            for name in value if isinstance(value, dict) else [_READS[key]] if key in _READS else []:
                if name not in columns:
                    yield (*where, "expect", key), f"the table has no column '{name}'"
        for figure in _published(given.get("published", ())):
            for name in (figure.get("column"), figure.get("by")):
                if name and name not in columns:
                    yield (*where, "published"), f"{figure['figure']}: the table has no column '{name}'"


def _line_of(text: str, where: Where) -> int:
    """Return the line, from 1, of a key in TOML text: of the deepest part of `where` that can be located."""
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


def _recipe(path: Path, raw: Mapping[str, Any], canonical: Mapping[str, Any]) -> Recipe:
    origin = raw
    if "derived_from" in raw:
        origin = tomllib.loads((path.parent / f"{raw['derived_from']}.toml").read_text(encoding="utf-8"))
    kinds = _kinds(raw)
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
        workloads=tuple(_workload(raw, each, origin, path.parent, kinds, canonical) for each in raw["workloads"]),
        kinds=kinds,
        derived_from=raw.get("derived_from"),
    )


def _workload(
    raw: Mapping[str, Any],
    own: Mapping[str, Any],
    origin: Mapping[str, Any],
    folder: Path,
    kinds: Mapping[str, Kind],
    canonical: Mapping[str, Any],
) -> Workload:
    table = own.get("table", REQUEST)
    # What the recipe says of the trace is true of its requests; another kind of table says its own.
    shared = raw if table == REQUEST else raw["tables"][table]
    given = {**shared, **own}
    columns = _over(shared.get("columns", {}), own.get("columns", {}))
    base = origin.get("base", "")
    listed, files = None, own.get("files")
    if files is None:
        listed, files = _read_list(folder / own["files_from"], base)
    return Workload(
        trace=raw["name"],
        name=own["name"],
        title=own["title"],
        format=own.get("format", raw.get("format", "")),
        table=table,
        files=tuple(_files(origin, base, columns, files, tuple(given.get("drops", ())))),
        properties={**shared.get("properties", {}), **own.get("properties", {})},
        expect={**shared.get("expect", {}), **own.get("expect", {})},
        published=tuple(_published([*shared.get("published", ()), *own.get("published", ())])),
        anomalies=tuple(own.get("anomalies", ())),
        restores=given.get("restores", True),
        listed=listed,
        redistribute=given.get("redistribute", raw["licence"]["redistribute"]),
        same_requests_as=tuple(own.get("same_requests_as", ())),
        licence=raw["licence"]["spdx"],
        cite=raw["cite"],
        schema_version=str(canonical["version"]),
        columns=tuple(_stored(kinds[table], canonical)),
        derived=tuple(Derived(url=_url(base, each["name"]), **each) for each in own.get("derived", ())),
    )


def _stored(kind: Kind, canonical: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and unit of every column of a kind of table, in the order of the table."""
    for field in canonical["fields"]:
        if kind.name == REQUEST or field["name"] in ("trace", "workload"):
            yield field["name"], field["arrowType"], field.get("unit", "")
    for column in kind.columns:
        yield column.name, column.type, column.unit


# -- published figures ------------------------------------------------------------------------------------------------


def _published(groups: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every figure of groups that share a source, a tolerance and a note."""
    for group in groups:
        shared = {"tolerance": 0} | {key: group[key] for key in ("tolerance", "source", "note") if key in group}
        for figure, value in group.items():
            if figure not in ("source", "note", "tolerance", "by"):
                for each in _figures(figure, value, group.get("by")):
                    yield each | shared


def _figures(figure: str, value: Any, by: str | None) -> Iterator[dict[str, Any]]:
    """Yield the figures of one key: a number, numbers by column, or, with `by`, tables of them by a column's values."""
    percentile = re.fullmatch(r"(.*?)_?p(\d+)", figure)
    named: dict[str, Any] = {"figure": figure}
    if percentile:
        named = {"figure": f"{percentile[1]}_percentile".lstrip("_"), "q": int(percentile[2])}
    if not isinstance(value, dict):
        yield named | {"value": value}
    elif by and not any(isinstance(each, dict) for each in value.values()):
        yield named | {"by": by, "value": value}
    else:
        for key, each in value.items():
            if figure == "lru_hit_ratio":
                size, is_blocks, _ = key.partition(" blocks")
                yield named | ({"blocks": int(size)} if is_blocks else {"share": float(size)}) | {"value": each}
            elif figure == "succeeded_per_s":
                yield named | {"window_s": [int(part) for part in key.split("-")], "value": each}
            else:
                yield named | {"column": key, "value": each} | ({"by": by} if by else {})


# -- columns ----------------------------------------------------------------------------------------------------------

_DESCRIBES = ("type", "title", "meaning", "unit", "min", "max", "enum", "optional", "row")


def _kinds(raw: Mapping[str, Any]) -> dict[str, Kind]:
    title = raw["title"]
    own = {
        REQUEST: {
            "title": f"{title}: requests",
            "description": f"The canonical columns of a request, then those of {raw['name']} alone.",
            "columns": raw.get("columns", {}),
        }
    }
    return {
        name: Kind(name, table["title"], table["description"], tuple(_columns(table["columns"])), table.get("key", ""))
        for name, table in {**own, **raw.get("tables", {})}.items()
    }


def _columns(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[Column]:
    for name, given in columns.items():
        if "title" not in given:
            continue
        is_row = given.get("row", False)
        yield Column(
            name,
            given.get("type", "int64" if is_row else ""),
            given["title"],
            given["meaning"],
            given.get("unit", ""),
            given.get("min"),
            given.get("max"),
            tuple(given.get("enum", ())),
            not (given.get("optional") or given.get("empty")),
            is_row,
        )


def _over(columns: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns with a workload's or a file's own in place of those of the same name."""
    return {name: given for name, given in columns.items() if name not in own} | dict(own)


def _rules(columns: Mapping[str, Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules of the columns that are mapped; others are only described, and filled by another rule."""
    keys = {"from": "source", "in": "unit"}
    return tuple(
        Rule(column, **{keys.get(key, key): value for key, value in given.items() if key not in _DESCRIBES})
        for column, given in columns.items()
        if "from" in given or "value" in given
    )


# -- files ------------------------------------------------------------------------------------------------------------

_LIST_HEADER = "name\tgit_blob"
_LIST_LINE = re.compile(r"(?!\.)[A-Za-z0-9._+=,-]+\t[0-9a-f]{40}")


def _read_list(path: Path, base: str) -> tuple[FileList, list[dict[str, str]]]:
    """Read the list of files at `path`, and give each as a recipe would. Raises BadUse that names the wrong lines."""
    name = f"recipes/{path.name}"
    try:
        content = path.read_bytes()
        header, *lines = content.decode("ascii").splitlines() or [""]
    except OSError as error:
        raise BadUse(name, "the list of files can't be read", reason=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise BadUse(name, "the list of files is not ASCII text", next=f"git checkout -- {name}") from None
    faults = [(1, header)] if header != _LIST_HEADER else []
    blobs: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        file, _, blob = line.partition("\t")
        if not _LIST_LINE.fullmatch(line) or file in blobs:
            faults.append((number, line))
        blobs[file] = blob
    if faults or not blobs:
        raise BadUse(
            name,
            "the list of files is wrong",
            expected=f"{_LIST_HEADER!r}, then one line per file: its name, once, a tab and 40 hex digits",
            found="\n".join(f"line {number}: {line[:100]!r}" for number, line in faults[:5]) or "no files",
            next=f"git checkout -- {name}",
        )
    files = [{"name": file, "git_blob": blob} for file, blob in blobs.items()]
    return FileList(name, hashlib.sha256(content).hexdigest(), base), files


def _url(base: str, place: str) -> str:
    """Return a whole URL as it is, and one relative to the trace's base joined to it."""
    if "://" in place:
        return place
    while place.startswith("../"):
        base, place = base.rstrip("/").rpartition("/")[0] + "/", place.removeprefix("../")
    return base + place


_PLACE_AND_PIN = ("url", "also", "sha256", "git_blob", "bytes")


def _files(
    origin: Mapping[str, Any],
    base: str,
    columns: Mapping[str, Any],
    files: Iterable[Mapping[str, Any]],
    drops: tuple[str, ...],
) -> Iterable[UpstreamFile]:
    common = _rules(columns)
    # A file that several workloads read has its URL and its pin once, with any of them.
    known: dict[str, dict[str, Any]] = {}
    for workload in origin.get("workloads", ()):
        for file in workload.get("files", ()):
            known.setdefault(file["name"], {}).update((key, file[key]) for key in _PLACE_AND_PIN if key in file)
    for own in files:
        given = {**known.get(own["name"], {}), **own}
        rules = () if "role" in own else _rules(_over(columns, own["columns"])) if "columns" in own else common
        yield UpstreamFile(
            origin["name"],
            own["name"],
            _url(base, given.get("url", own["name"])),
            given.get("sha256"),
            given.get("bytes"),
            rules,
            own.get("role"),
            given.get("git_blob"),
            drops,
            tuple(own.get("members", ())),
            also=tuple(given.get("also", ())),
        )
