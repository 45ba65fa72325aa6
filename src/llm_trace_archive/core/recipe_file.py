"""Read a recipe from its file: TOML, `recipes/<trace>.toml`, checked against `schemas/recipe.schema.json`."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .documents import DEEPEST, TOO_DEEP, Fault, Where, find_faults, read_text
from .errors import BadUse
from .recipe import Column, Derived, FileList, Kind, Recipe, Rule, UpstreamFile, View, Workload

REQUEST = "request"
# A dotted key that no recipe has: tomllib takes a time that grows with the square of the number of its parts.
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{DEEPEST}}}""", re.ASCII)


def read(path: Path, canonical: Mapping[str, Any]) -> Recipe:
    """Read one recipe and check it against this package's JSON Schema of recipes.

    canonical  the Table Schema of requests, whose columns a recipe maps but does not describe

    Raises BadUse that names the file, every offending key with its line, and the reason.
    """
    text, raw = _read_toml(path)
    faults = _form_faults(raw, path)
    origin = raw
    if "derived_from" in raw and not faults:
        origin, faults = _read_origin(path, raw["derived_from"])
    if not faults:
        recipe = _recipe(path, raw, origin, canonical)
        names = frozenset(field["name"] for field in canonical["fields"])
        faults = [
            *_loss_faults(recipe),
            *_time_faults(recipe),
            *_column_faults(raw, recipe, names),
            *_property_faults(recipe),
            *_figure_faults(recipe),
        ]
    if faults:
        raise _problem(path, text, faults)
    return recipe


# What a recipe of one's own log need not say. The address is asked for nothing.
_OF_A_LOG: Mapping[str, Any] = {
    "description": "Requests of a log.",
    "homepage": "https://log.invalid",
    "base": "https://log.invalid/",
    "collected": "By the owner of the log.",
    "format": "jsonl",
    "licence": {"spdx": "LicenseRef-unpublished", "redistribute": False, "source": "https://log.invalid"},
    "properties": {"arrivals": "measured"},
    "columns": {},
}


def read_log_recipe(path: Path, trace: str, log: str, canonical: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """Read the recipe of a log, and return it with its section [log], which says how records are found.

    trace, log  what trace and workload are called in the table, unless the recipe has a name

    It may leave out what `_OF_A_LOG` has; every column may be null. Raises BadUse as `read` does.
    """
    text, given = _read_toml(path, path.name)
    section = given.pop("log", {})
    faults: list[Fault] = [(("log", *where), why) for where, why in find_faults(section, "log.schema.json")]
    name = given.get("name", trace)
    said = {"name": name, "title": name, "cite": f"{name}, unpublished", **_OF_A_LOG, **given}
    if prompt := section.get("prompt") if not faults else None:
        said["columns"] = {**said["columns"], "hash_ids": {"from": "@blocks"}}
        said["properties"] = (
            {**said["properties"], "block_tokens": prompt["tokens"]} if "tokens" in prompt else said["properties"]
        )
    for column in said["columns"].values() if isinstance(said["columns"], dict) else ():
        if isinstance(column, dict) and "from" in column:
            column.setdefault("empty", "null")
    said["workloads"] = [{"name": log, "title": "Requests of a log", "restores": False, "files": [{"name": "log"}]}]
    if not faults:
        faults = list(find_faults(said, "recipe.schema.json"))
    if not faults:
        recipe = _recipe(path, said, said, canonical)
        names = frozenset(field["name"] for field in canonical["fields"])
        faults = [*_time_faults(recipe), *_column_faults(said, recipe, names), *_property_faults(recipe)]
    if faults:
        raise _problem(path, text, faults, path.name, "schemas/log.schema.json and schemas/recipe.schema.json explain")
    return recipe, section


def _problem(
    path: Path,
    text: str,
    faults: list[Fault],
    name: str = "",
    explained: str = "schemas/recipe.schema.json explains",
) -> BadUse:
    lines = [
        f"line {_line_of(text, where)}: {'.'.join(map(str, where))[:200] or 'top level'}: {why[:300]}"
        for where, why in faults
    ]
    return BadUse(
        name or f"recipes/{path.name}",
        "the recipe is wrong" if len(lines) == 1 else f"the recipe is wrong in {len(lines)} places",
        found="\n".join(lines),
        next=f"fix the recipe; {explained} each key",
    )


def _read_origin(path: Path, name: str) -> tuple[dict[str, Any], list[Fault]]:
    """Return the recipe that the one at `path` is derived from, and what is wrong with that relation."""
    origin = path.with_name(f"{name}.toml")
    if not origin.is_file():
        return {}, [(("derived_from",), f"recipes/{origin.name} is missing")]
    text, raw = _read_toml(origin)
    if faults := _form_faults(raw, origin):
        raise _problem(origin, text, faults)
    faults = [(("derived_from",), f"recipes/{origin.name} is itself derived")] if "derived_from" in raw else []
    return raw, faults


def _form_faults(raw: Mapping[str, Any], path: Path) -> list[Fault]:
    return list(find_faults(raw, "recipe.schema.json")) or list(_meaning_faults(raw, path))


def _read_toml(path: Path, name: str = "") -> tuple[str, dict[str, Any]]:
    name = name or f"recipes/{path.name}"
    text = read_text(path, name)
    try:
        if _LONG_KEY.search(text):
            raise RecursionError
        return text, tomllib.loads(text)
    except ValueError as error:  # also for an integer of too many digits
        raise BadUse(name, "is not valid TOML", reason=str(error), next="fix the recipe") from None
    except RecursionError:
        raise BadUse(name, "is not valid TOML", reason=TOO_DEEP, next="fix the recipe") from None


def _meaning_faults(raw: Mapping[str, Any], path: Path) -> Iterable[Fault]:
    """Find what a JSON Schema can't express, in a recipe that has its form."""
    if raw["name"] != path.stem:
        yield ("name",), f"'{raw['name']}' but the file is {path.name}"
    for key in ("workloads", "views"):
        seen: set[str] = set()
        for index, each in enumerate(raw.get(key, ())):
            if each["name"] in seen:
                yield (key, index, "name"), f"'{each['name']}' appears twice"
            seen.add(each["name"])
    names = {workload["name"] for workload in raw["workloads"]}
    for index, workload in enumerate(raw["workloads"]):
        table = workload.get("table", REQUEST)
        if table != REQUEST and table not in raw.get("tables", {}):
            yield ("workloads", index, "table"), f"there is no [tables.{table}]"
    for index, view in enumerate(raw.get("views", ())):
        for key in ("only", "removes"):
            for unknown in (each for each in view.get(key, ()) if each not in names):
                yield ("views", index, key), f"there is no workload '{unknown}'"


def _loss_faults(recipe: Recipe) -> Iterable[Fault]:
    for index, workload in enumerate(recipe.workloads):
        lost = sorted({name for file in workload.tables for name in file.lost})
        if workload.restores and lost:
            yield ("workloads", index), f"no column restores {', '.join(lost)}: map it, or set restores = false"


def _time_faults(recipe: Recipe) -> Iterable[Fault]:
    """Find dates without an epoch to count from, and a rest where no digits are left for it."""
    for index, workload in enumerate(recipe.workloads):
        shared = {id(file.rules): file.rules for file in workload.tables}.values()
        rules = [rule for each in shared for rule in each if rule.datetime]
        if rules and "epoch" not in workload.properties:
            yield ("workloads", index), "properties.epoch is missing, which 'datetime' requires"
        for rule in rules:
            if rule.rest and "fffffff" not in (rule.datetime or ""):
                yield ("columns", rule.column, "rest"), f"'{rule.datetime}' has no digits of 100 ns"


def _column_faults(raw: Mapping[str, Any], recipe: Recipe, canonical: frozenset[str]) -> Iterable[Fault]:
    """Find columns that are mapped but not described, or described though they are canonical."""
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


def _property_faults(recipe: Recipe) -> Iterable[Fault]:
    for index, workload in enumerate(recipe.workloads):
        epoch = workload.properties.get("epoch")
        try:
            datetime.fromisoformat(epoch or "1970-01-01")
        except ValueError:
            yield ("workloads", index), f"its epoch {epoch} is no date and time"
        rules = {id(file.rules): file.rules for file in workload.files}.values()
        derives_blocks = any(rule.derive == "block_ids" for each in rules for rule in each)
        if derives_blocks and "block_tokens" not in workload.properties:
            yield ("workloads", index), "derives block_ids: give their block_tokens in its properties"
        for file in workload.tables:
            for pattern in file.members:
                columns = re.findall(r"\{(\w+)\}", pattern)
                if len(set(columns)) < len(columns) or "}{" in pattern:
                    yield ("workloads", index), f"members {pattern}: a column stands twice, or next to another"


def _figure_faults(recipe: Recipe) -> Iterable[Fault]:
    """Find expectations and published figures of columns that the table does not have."""
    for index, workload in enumerate(recipe.workloads):
        columns = {name for name, _, _ in workload.columns}
        named = [name for value in workload.expect.values() if isinstance(value, dict) for name in value]
        named += [each[key] for each in workload.published for key in ("column", "by") if key in each]
        needs = {"arrivals": ("arrival_us", "segment"), "segments": ("segment",)}
        named += [name for key in workload.expect for name in needs.get(key, ())]
        for name in sorted(set(named) - columns):
            yield ("workloads", index), f"expects or publishes figures of '{name}', which is no column of its table"
        for start, end in (each["window_s"] for each in workload.published if "window_s" in each):
            if start >= end:
                yield ("workloads", index), f"succeeded_per_s from {start} to {end} is no window"


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


def _recipe(path: Path, raw: Mapping[str, Any], origin: Mapping[str, Any], canonical: Mapping[str, Any]) -> Recipe:
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
    by_file: Mapping[str, Mapping[str, float]] = {}
    listed, files = None, own.get("files")
    if files is None:
        listed, files, by_file = _read_list(folder / own["files_from"], base)
    return Workload(
        trace=raw["name"],
        name=own["name"],
        title=own["title"],
        format=own.get("format", raw.get("format", "")),
        table=table,
        files=tuple(_files(origin, base, columns, files, tuple(given.get("drops", ())))),
        properties={**shared.get("properties", {}), **own.get("properties", {})},
        expect={**shared.get("expect", {}), **own.get("expect", {})},
        published=tuple(_published([*shared.get("published", ()), *own.get("published", ())], by_file)),
        anomalies=tuple(own.get("anomalies", ())),
        restores=given.get("restores", True),
        listed=listed,
        redistribute=given.get("redistribute", raw["licence"]["redistribute"]),
        same_requests_as=tuple(own.get("same_requests_as", ())),
        licence=raw["licence"]["spdx"],
        cite=raw["cite"],
        schema_version=str(canonical["version"]),
        columns=tuple(_stored(kinds[table], canonical)),
        views=tuple(_views(raw.get("views", ()), own["name"])) if table == REQUEST else (),
        derived=tuple(Derived(url=_url(base, each["name"]), **each) for each in own.get("derived", ())),
    )


def _views(views: Iterable[Mapping[str, Any]], workload: str) -> Iterator[View]:
    """Yield the views that a workload has."""
    for view in views:
        if workload in view.get("only", (workload,)):
            yield View(
                view["name"],
                view["title"],
                view["where"],
                view["source"],
                view.get("removes", {}).get(workload),
                view.get("tolerance", 0),
            )


def _stored(kind: Kind, canonical: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and unit of every column of a kind of table, in the order of the table."""
    for field in canonical["fields"]:
        if kind.name == REQUEST or field["name"] in ("trace", "workload"):
            yield field["name"], field["arrowType"], field.get("unit", "")
    for column in kind.columns:
        yield column.name, column.type, column.unit


# -- published figures ------------------------------------------------------------------------------------------------


def _published(
    groups: Iterable[Mapping[str, Any]], by_file: Mapping[str, Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    """Yield every figure of groups that share a source, a tolerance and a note.

    by_file  the figures of the list of files, by figure and by file; a group names those that it publishes
    """
    for group in groups:
        shared = {"tolerance": 0} | {key: group[key] for key in ("tolerance", "source", "note") if key in group}
        listed = {name: by_file.get(name, {}) for name in group.get("listed", ())}
        for figure, value in {**group, **listed}.items():
            if figure not in ("source", "note", "tolerance", "by", "listed"):
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
_LIST_LINE = re.compile(r"(?!\.)[A-Za-z0-9._+=,-]+\t[0-9a-f]{40}((?:\t\d+(?:\.\d+)?)*)", re.ASCII)
_LIST_FIGURES = re.compile(_LIST_HEADER + r"((?:\t[a-z_]+)*)")


def _read_list(path: Path, base: str) -> tuple[FileList, list[dict[str, str]], dict[str, dict[str, float]]]:
    """Read the list of files at `path`: what it is, each file as a recipe gives it, and figures of the files.

    The figures are by name and by file, without its ending. Raises BadUse that names the wrong lines.
    """
    name = f"recipes/{path.name}"
    text = read_text(path, name)
    if not text.isascii():
        raise BadUse(name, "the list of files is not ASCII text", next=f"git checkout -- {name}")
    header, *lines = text.splitlines() or [""]
    named = _LIST_FIGURES.fullmatch(header)
    faults = [] if named else [(1, header)]
    figures: dict[str, dict[str, float]] = {each: {} for each in named[1].split("\t")[1:]} if named else {}
    blobs: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        file, blob, *values = (*line.split("\t"), "")
        if not _LIST_LINE.fullmatch(line) or file in blobs or len(values) != len(figures) + 1:
            faults.append((number, line))
            continue
        blobs[file] = blob
        for each, value in zip(figures, values, strict=False):
            figures[each][file.partition(".")[0]] = float(value)
    if faults or not blobs:
        raise BadUse(
            name,
            "the list of files is wrong",
            expected=f"{_LIST_HEADER!r}, then one line per file: its name, once, a tab and 40 hex digits",
            found="\n".join(f"line {number}: {line[:100]!r}" for number, line in faults[:5]) or "no files",
            next=f"git checkout -- {name}",
        )
    files = [{"name": file, "git_blob": blob} for file, blob in blobs.items()]
    return FileList(name, hashlib.sha256(text.encode()).hexdigest(), base), files, figures


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
