"""Draft the recipe and the look-alikes of a new trace by looking at one of its files.

Names, types and units are guessed, and the recipe marks each guess: they are to be confirmed by the upstream's words.
The draft is written only if it builds, which the file itself proves.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from ..convert.canonicalise import BadRow
from ..convert.table import write_proven_table
from ..core import recipe_file
from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse
from ..core.files import hash_file, replace_text
from ..core.table_schema import table_schema

RECORDS = 5000  # looked at
FEW = 64  # distinct texts of a category
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NUMBER = r"-?\d+"
_DATES = {
    "YYYY-MM-DD hh:mm:ss.fffffff": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{7}",
    "YYYY/MM/DD hh:mm:ss.fff": r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}",
    "YYYY-MM-DD hh:mm:ss[.ffffff]+00:00": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00:00",
    "YYYY-MM-DDThh:mm:ss.fffZ": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
}
# Canonical columns by what upstreams call them, the most specific first, and the kinds of values that each takes.
_ROLES = (
    ("ttft_us", r"ttft|first_?token", ("whole", "decimal")),
    ("latency_us", r"latency|duration|elapsed|e2e", ("whole", "decimal")),
    ("cached_tokens", r"cache.*(tok|len)|^cached", ("whole",)),
    ("output_tokens", r"(output|completion|generat|decode|response).*(tok|len)|^osl$", ("whole",)),
    ("input_tokens", r"(input|prompt|context|prefill|request).*(tok|len)|^isl$", ("whole",)),
    ("hash_ids", r"hash_?ids|block_?ids", ("ids",)),
    ("session_id", r"session|conversation|chat_?id", ("text", "category", "whole")),
    ("arrival_us", r"arriv|time|^ts$|start|created|date", ("date", "whole", "decimal")),
    ("model", r"model", ("text", "category")),
    ("request_type", r"type|kind|categor", ("category",)),
)
_TYPES = {
    "whole": "int64",
    "decimal": "float64",
    "category": "dictionary<string>",
    "ids": "list<int64>",
    "bool": "bool",
    "date": "string",
}


@dataclass
class Field:
    """A field of the file: its first values, what they are, and the column that is made of it."""

    name: str
    values: list[Any]
    kind: str = "text"
    column: str = ""
    unit: str = ""
    is_empty: bool = False


def draft(archive: Archive, trace: str, file: Path) -> list[Path]:
    """Write recipes/<trace>.toml and the module of look-alikes; return their paths.

    Raises BadUse for a trace that exists, and for a file that is neither CSV nor JSON Lines or that no draft reads.
    """
    recipe = archive.root / "recipes" / f"{trace}.toml"
    sample = archive.root / "src/llm_trace_archive/samples" / f"{trace.replace('-', '_')}.py"
    if not _NAME.fullmatch(trace):
        raise BadUse(trace, "is no name of a trace", expected="small letters, digits and hyphens: my-trace-2026")
    for path in (recipe, sample):
        if path.exists():
            raise BadUse(trace, "the trace exists already", found=str(path), next="give another name")
    if not file.is_file():
        raise BadUse(str(file), "is missing" if not file.exists() else "is not a file")
    form, fields = _look(file)
    _guess(fields, form)
    text = _proven(archive, trace, file, form, fields)
    replace_text(recipe, text)
    written = [recipe]
    if sample.parent.is_dir():
        replace_text(sample, _sample(trace, file, form, fields))
        written.append(sample)
    return written


# -- looking ----------------------------------------------------------------------------------------------------------


def _look(file: Path) -> tuple[str, list[Field]]:
    """Return the format of a file and its fields with their first values."""
    try:
        with _open(file) as stream:
            first = stream.readline()
            lines = itertools.chain([first], itertools.islice(stream, RECORDS))
            if first.lstrip().startswith("{"):
                return _look_at_objects([line for line in lines if line.strip()])
            reader = csv.DictReader(lines, strict=True)
            rows = list(reader)
            names = list(reader.fieldnames or ())
            if len(names) < 2 or len(set(names)) < len(names) or any(None in row for row in rows) or not rows:
                raise ValueError("no header with several names above rows of as many values")
            return "csv", [Field(name, [row[name] or "" for row in rows]) for name in names]
    except (ValueError, OSError, EOFError, csv.Error, RecursionError) as error:
        raise BadUse(
            str(file),
            "is neither CSV with a header nor JSON Lines",
            reason=str(error)[:200],
            next="copy the recipe whose format is nearest; CONTRIBUTING.md says how",
        ) from None


def _open(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8", newline="")
    return file.open(encoding="utf-8", newline="")


def _look_at_objects(lines: list[str]) -> tuple[str, list[Field]]:
    records = [json.loads(line) for line in lines]
    if not all(isinstance(each, dict) for each in records):
        raise ValueError("not every line is an object")
    names = list(dict.fromkeys(key for each in records for key in each))
    fields = [Field(name, [each.get(name) for each in records]) for name in names]
    is_plain = all(list(each) == names for each in records) and not any(
        value is None or isinstance(value, bool | dict) or (isinstance(value, list) and not _is_ids(value))
        for each in fields
        for value in each.values
    )
    is_plain = is_plain and lines[0].rstrip("\r\n") == json.dumps(records[0])
    return "jsonl" if is_plain else "records", fields


def _is_ids(value: list[Any]) -> bool:
    return all(type(each) is int for each in value)


# -- guessing ---------------------------------------------------------------------------------------------------------


def _guess(fields: list[Field], form: str) -> None:
    for field in fields:
        field.is_empty = any(each in ("", None) for each in field.values)
        field.kind = _kind([each for each in field.values if each not in ("", None)], form)
    taken: set[str] = set()
    for role, pattern, kinds in _ROLES:
        for field in fields:
            is_number = form != "csv" and role == "session_id" and field.kind == "whole"
            if field.column or role in taken or field.kind not in kinds or is_number:
                continue
            if re.search(pattern, re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", field.name).lower()):
                field.column, field.unit = role, _unit(field) if role.endswith("_us") and field.kind != "date" else ""
                taken.add(role)
    for field in fields:
        if not field.column:
            name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.name).lower()).strip("_")
            name = name if re.match("[a-z]", name) else f"field_{name}"
            known = {"trace", "workload", "request_id", "segment", "turn", "failed", "block_tokens", *taken}
            name = f"upstream_{name}" if name in known | {role for role, *_ in _ROLES} else name
            numbered = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
            field.column = next(each for each in numbered if each not in taken)
            taken.add(field.column)


def _kind(values: list[Any], form: str) -> str:
    if form == "csv":
        if values and all(re.fullmatch(_NUMBER, each) for each in values):
            return "whole"
        if values and all(re.fullmatch(rf"{_NUMBER}(\.\d+)?", each) for each in values):
            return "decimal"
    kinds = {type(each) for each in values}
    if kinds in ({int}, {float}, {bool}):
        return {int: "whole", float: "decimal", bool: "bool"}[kinds.pop()]
    if kinds == {list} and form == "jsonl":
        return "ids"
    if kinds <= {list, dict} and kinds:
        return "json"
    if values and any(all(re.fullmatch(each, str(value)) for value in values) for each in _DATES.values()):
        return "date"
    return "category" if len({str(each) for each in values}) <= min(FEW, 1 + len(values) // 4) else "text"


def _unit(field: Field) -> str:
    """Return the unit of a time: as its name says, or as its size suggests."""
    name = field.name.lower()
    for unit, pattern in (("us", r"_us$|micro"), ("ms", r"_ms$|ms$|milli"), ("s", r"_s$|_sec|second")):
        if re.search(pattern, name):
            return unit
    largest = max((abs(float(each)) for each in field.values if each not in ("", None)), default=0)
    if field.kind == "decimal" or largest < 1e6:
        return "s"
    return "us" if largest > 1e14 else "ms" if largest > 1e11 else "s" if 1e9 < largest < 1e10 else "ms"


# -- writing ----------------------------------------------------------------------------------------------------------


def _proven(archive: Archive, trace: str, file: Path, form: str, fields: list[Field]) -> str:
    """Return the text of a recipe that builds the file; a column that can't be converted becomes text, if it may."""
    restores = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{trace}.toml"
        while True:
            text = _recipe(trace, file, form, fields, restores)
            path.write_text(text, encoding="utf-8")
            recipe = recipe_file.read(path, archive.canonical)
            workload = recipe.workloads[0]
            schema = table_schema(trace, recipe.kinds["request"], archive.canonical, recipe.workloads)
            try:
                write_proven_table(workload, schema, {file.name: file}, Path(folder) / "built.parquet")
                return text
            except BadRow as bad:
                wrong = next((each for each in fields if each.column == bad.column and each.kind != "text"), None)
                if form != "csv" or wrong is None:
                    raise _refusal(file, bad) from None
                names = {each.column for each in fields}
                wrong.kind, wrong.unit, wrong.is_empty = "text", "", True
                wrong.column = (
                    f"upstream_{wrong.column}" if f"upstream_{wrong.column}" not in names else f"{wrong.column}_text"
                )
            except BadUpstream as error:
                if not restores or "restored" not in error.message:
                    raise _refusal(file, error) from None
                restores = False


def _refusal(file: Path, error: BadUpstream) -> BadUse:
    details = {key: value for key, value in error.details.items() if key != "next"}
    return BadUse(str(file), f"no draft reads it: {error.message}", **details, next="copy the recipe that is nearest")


def _recipe(trace: str, file: Path, form: str, fields: list[Field], restores: bool) -> str:
    digest, size = hash_file(file)
    lines = [
        "# A draft. Confirm every line that ends with 'guess', and replace every TODO by what the upstream says.",
        f'name = "{trace}"',
        f'title = "{trace} (TODO)"',
        'description = "TODO: whose requests they are, and what the trace shows."',
        'homepage = "https://example.org/"  # TODO',
        'cite = "TODO"',
        'collected = "TODO: how, where and when."',
        f'format = "{form}"',
        'base = "https://example.org/"  # TODO: the folder of the files',
    ]
    if not restores:
        lines.append("restores = false  # the file has formatting that this format does not describe")
    lines += [
        "",
        "[licence]",
        'spdx = "LicenseRef-unknown"  # TODO',
        "redistribute = false  # TODO",
        'source = "https://example.org/"  # TODO',
        "",
        "[properties]",
    ]
    arrival = next((each for each in fields if each.column == "arrival_us"), None)
    if arrival and arrival.kind == "date":
        earliest = min(str(each)[:10].replace("/", "-") for each in arrival.values if each)
        datetime.fromisoformat(earliest)
        lines += [f'epoch = "{earliest}T00:00:00"  # guess', 'zone = "UTC"  # guess']
    elif (
        arrival
        and float(next(each for each in arrival.values if each not in ("", None))) * _SCALES[arrival.unit] > 1e15
    ):
        lines += ['epoch = "1970-01-01T00:00:00"  # guess', 'zone = "UTC"  # guess']
    lines += [
        f'arrivals = "{"measured" if arrival else "absent"}"  # guess',
        'input_tokens = "unknown"',
        "",
        "[columns]",
        *(_column(each) for each in fields),
        "",
        "[[workloads]]",
        'name = "requests"',
        f'title = "{trace}, requests"',
        f'files = [{{ name = "{file.name}", sha256 = "{digest}", bytes = {size} }}]',
        "",
    ]
    return "\n".join(lines)


_SCALES = {"us": 1, "ms": 1e3, "s": 1e6, "": 1}


_REST = """
arrival_100ns = { type = "int8", title = "Arrival, rest", meaning = "Beyond the microsecond.", unit = "100 ns" }"""


def _column(field: Field) -> str:
    said = [f"from = {json.dumps(field.name)}"]
    if field.unit:
        said.append(f'in = "{field.unit}"')
    more = ""
    if field.kind == "date" and field.column == "arrival_us":
        present = [str(each) for each in field.values if each]
        pattern = next(name for name, each in _DATES.items() if all(re.fullmatch(each, text) for text in present))
        said.append(f'datetime = "{pattern}"')
        if "fffffff" in pattern:
            said.append('rest = "arrival_100ns"')
            more = _REST
    if field.is_empty:
        said.append('empty = "null"')
    if field.column in {role for role, *_ in _ROLES}:
        return f"{field.column} = {{ {', '.join(said)} }}  # guess{more}"
    said += [f'type = "{_TYPES.get(field.kind, "string")}"', f"title = {json.dumps(field.name)}", 'meaning = "TODO"']
    if field.kind in ("whole", "decimal"):
        least = min((float(each) for each in field.values if each not in ("", None)), default=0)
        said += [f"min = -{10 ** len(str(int(-least)))}"] if least < 0 else []
    return f"{field.column} = {{ {', '.join(said)} }}"


# -- look-alikes ------------------------------------------------------------------------------------------------------


def _sample(trace: str, file: Path, form: str, fields: list[Field]) -> str:
    """Return a module that draws each field by itself from what was seen of it; no text of the file is kept."""
    is_csv = form == "csv"
    first = {each.name: each.values[0] for each in fields if form != "records" or each.values[0] is not None}
    specs = [_spec(each, is_csv) for each in fields if each.name in first]
    header = ",".join(_csv_name(each.name) for each in fields) if is_csv else ""
    row = (
        '",".join(map(str, row))'
        if is_csv
        else f"json.dumps(dict(zip(_NAMES, row, strict=True)){_separators(form, file)})"
    )
    shape = rf"(.*,){{{len(fields) - 1}}}.*" if is_csv else r"\{.+\}"
    names = "" if is_csv else f"_NAMES = {tuple(first)!r}\n"
    return f'''"""A draft of look-alikes of {trace}: fields are drawn by themselves; make them as the upstream's are."""

from __future__ import annotations

{"" if is_csv else "import json" + chr(10)}from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from .kit.draws import Draws, chunks
from .kit.shape import Shape
from .kit.spell import Lines

_FILE = {json.dumps(file.name)}
SHAPES = {{_FILE: Shape(r"{shape}", {json.dumps(header)})}}  # TODO: what every line matches
{names}

def generate(folder: Path, rows: int) -> None:
    """Write the file with `rows` rows."""
    draws = Draws({json.dumps(trace)}, _FILE)
    with Lines(folder / _FILE, SHAPES[_FILE]) as lines:
        for start, stop in chunks(rows):
            columns = list(_columns(draws, start, stop - start))
            lines.write(pa.array([{row} for row in zip(*columns, strict=True)]))


def _columns(draws: Draws, start: int, count: int) -> Iterator[list[Any]]:
    """Yield the values of each field."""
{chr(10).join(f"    yield {spec}  # {name}" for spec, name in zip(specs, first, strict=True))}
'''


def _csv_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if re.search('[",]', name) else name


def _separators(form: str, file: Path) -> str:
    with _open(file) as stream:
        line = stream.readline().rstrip("\r\n")
    return "" if line == json.dumps(json.loads(line), ensure_ascii=line.isascii()) else ', separators=(",", ":")'


def _spec(field: Field, is_csv: bool) -> str:
    """Return Python that makes `count` values of a field."""
    values = [each for each in field.values if each not in ("", None)]
    if field.kind in ("whole", "decimal") and values:
        numbers = [float(each) for each in values]
        low, most = int(min(numbers)), max(1, int(max(numbers) - min(numbers)) + 1)
        if field.column == "arrival_us":
            step = max(1, most // len(values))
            drawn = f"{low} + {step} * n" if field.kind == "whole" else f"{low} + {step} * n + 0.25"
            return f"[{drawn} for n in range(start, start + count)]"
        drawn = f"draws.below(count, {min(most, 2**31)})"
        if field.kind == "whole":
            return f"({low} + {drawn}).tolist()"
        return f"[{low} + each + 0.25 for each in {drawn}.tolist()]"
    if field.kind == "date":
        return f"[{str(values[0])!r}] * count"
    if field.kind == "bool":
        return "(draws.below(count, 2) > 0).tolist()"
    if field.kind == "ids":
        return "[list(range(each)) for each in draws.below(count, 20).tolist()]"
    if field.kind == "json":
        return "[[]] * count" if isinstance(values[0], list) else "[{}] * count"
    if field.kind == "category" and values:
        return f'[f"value-{{each}}" for each in draws.below(count, {len({*map(str, values)})}).tolist()]'
    return '[f"{each:016x}" for each in draws.words(count).tolist()]'
