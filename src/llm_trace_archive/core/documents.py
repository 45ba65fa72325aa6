"""The JSON, TOML and YAML files of an archive, which anyone may have written: read with limits, judged by our schemas.

The JSON Schemas and the canonical table that judge are those of this package. An archive's own copies are for readers.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from .errors import UNPRINTABLE, BadUse
from .files import open_regular

LARGEST = 64 << 20  # bytes of a file; a lock of 10,000 resources has a third of it
DEEPEST = 32  # objects and lists inside one another
TOO_DEEP = f"it is nested more than {DEEPEST} deep"
MOST = 2_000_000  # values; a lock of 10,000 resources has half of it
BITS = 64  # of an integer

Where = tuple[str | int, ...]
Fault = tuple[Where, str]


def read_text(path: Path, name: str) -> str:
    """Return the text of a file that messages call `name`. Raises BadUse unless it is a regular file of UTF-8 text."""
    again = f"fix the file, or: git checkout -- {name}"
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise BadUse(name, "is missing", expected=f"the file {path}", next=again) from None
    except OSError as error:
        raise BadUse(name, "can't be read", reason=error.strerror or str(error), next=again) from None
    if len(content) > LARGEST:
        raise BadUse(
            name, "is too large to be a file of the archive", expected=f"at most {LARGEST:,} bytes", next=again
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadUse(name, "is not UTF-8 text", reason=str(error), next=again) from None


def read_json(root: Path, path: str) -> dict[str, Any]:
    """Return the JSON object in the file at `path` below the root of an archive or a bundle. Raises BadUse."""
    return _read_object(root, path, "JSON", json.loads)


def read_yaml(root: Path, path: str) -> dict[str, Any]:
    """Return the object in a YAML file, every value but lists and objects as text. Raises BadUse as `read_json`."""
    return _read_object(root, path, "YAML", _parse_yaml)


def _read_object(root: Path, path: str, form: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    again = f"git checkout -- {path}"
    try:
        value = parse(read_text(root / path, path))
    except ValueError as error:
        raise BadUse(path, f"can't be read as {form}", reason=str(error), next=again) from None
    except RecursionError:
        raise BadUse(path, f"can't be read as {form}", reason=TOO_DEEP, next=again) from None
    if not isinstance(value, dict):
        raise BadUse(path, f"is not a {form} object", next=again)
    return value


def _parse_yaml(text: str) -> Any:
    """Return what YAML stands for, dates and numbers as text. Raises ValueError."""
    import yaml

    try:
        value = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    for where, why in _odd_values(value):  # a few lines may stand for any number of values
        raise ValueError(f"{'.'.join(map(str, where)) or 'top level'}: {why}")
    return value


@functools.cache
def schema_folder() -> Path:
    """Return the folder of this package's schemas."""
    package = Path(__file__).parents[1]
    # A wheel has the archive inside the package; a checkout has it two folders above.
    folders = (package / "archive" / "schemas", package.parents[1] / "schemas")
    return next(folder for folder in folders if folder.is_dir())


@functools.cache
def packaged(name: str) -> dict[str, Any]:
    """Return a schema of this package, such as "recipe.schema.json". Don't change it."""
    value: dict[str, Any] = json.loads((schema_folder() / name).read_text(encoding="utf-8"))
    return value


def find_faults(value: Any, schema: str) -> Iterator[Fault]:
    """Yield where a value breaks one of this package's JSON Schemas, and why.

    Whatever the schema allows, no value is nested too deep, too large a number, or text that can't be printed.
    """
    if odd := list(_odd_values(value)):
        yield from odd
        return
    for error in sorted(_validator(schema).iter_errors(value), key=lambda e: [str(part) for part in e.instance_path]):
        where: Where = tuple(error.instance_path)
        if error.kind.name == "additionalProperties":
            yield from (((*where, key), "unknown key") for key in sorted(error.kind.unexpected))
        else:
            reason = _reason(error, functools.reduce(lambda part, key: part[key], error.schema_path, packaged(schema)))
            yield where, reason if len(reason) < 200 else reason[:197] + "..."


@functools.cache
def _validator(schema: str) -> Any:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(packaged(schema))


def _reason(error: Any, rule: Any) -> str:
    """Return why a value breaks a rule, the value of a keyword of the schema."""
    keyword, name = error.schema_path[-1], error.kind.name
    if keyword == "dependentRequired":
        keys = [f"'{key}'" for key, needs in rule.items() if error.kind.value in needs and key in error.instance]
        return f"'{error.kind.value}' is missing, which {', '.join(keys)} requires"
    if name == "required":
        return f"'{error.kind.value}' is missing"
    if name == "oneOf" and all("required" in each for each in rule):
        return "takes either " + " or ".join(f"'{key}'" for each in rule for key in each["required"])
    if name == "not":
        return "takes either " + " or ".join(f"'{key}'" for key in rule["required"])
    if keyword == "enum":
        wrong = error.kind.error.instance if name == "propertyNames" else error.instance
        return f"{json.dumps(wrong)} is not one of {', '.join(map(str, rule))}"
    return str(error.message)


def _odd_values(value: Any) -> Iterable[Fault]:
    """Find what no file of an archive needs, whatever its schema, and what would break or mislead a reader."""
    left: list[tuple[Where, Any]] = [((), value)]
    for _ in range(MOST):
        if not left:
            return
        where, each = left.pop()
        if isinstance(each, (dict, list)) and len(where) >= DEEPEST:
            yield where[:3], TOO_DEEP
        elif isinstance(each, dict):
            for key, inner in each.items():
                if UNPRINTABLE.search(key):
                    yield where, f"the key {ascii(key)[:80]} has a control character"
                left.append(((*where, key), inner))
        elif isinstance(each, list):
            left += (((*where, index), inner) for index, inner in enumerate(each))
        elif isinstance(each, str) and (found := UNPRINTABLE.search(each)):
            yield where, f"has the control character {found[0]!a}"
        elif isinstance(each, float) and not math.isfinite(each):
            yield where, f"is not a number: {each}"
        elif isinstance(each, int) and each.bit_length() >= BITS:
            yield where, f"is an integer of more than {BITS} bits"
        elif not isinstance(each, (bool, int, float, str, NoneType)):  # TOML has dates and times
            yield where, f"is a {type(each).__name__}: write it as text"
    yield (), f"has more than {MOST:,} values"
