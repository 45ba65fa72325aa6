"""The JSON and TOML files of an archive, which anyone may have written: read with limits, and judged by our schemas.

The JSON Schemas and the canonical table that judge are those of this package. An archive's own copies are for readers.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UNPRINTABLE, BadUse

if TYPE_CHECKING:
    from jsonschema import ValidationError

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
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe would wait for a writer
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadUse(name, "is not a regular file", next=again)
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(handle)
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
    """Return the JSON object in the file at `path` below the root of an archive. Raises BadUse."""
    again = f"git checkout -- {path}"
    try:
        value = json.loads(read_text(root / path, path))
    except ValueError as error:
        raise BadUse(path, "can't be read as JSON", reason=str(error), next=again) from None
    except RecursionError:
        raise BadUse(path, "can't be read as JSON", reason=TOO_DEEP, next=again) from None
    if not isinstance(value, dict):
        raise BadUse(path, "is not a JSON object", next=again)
    return value


@cache
def schema_folder() -> Path:
    """Return the folder of this package's schemas."""
    package = Path(__file__).parents[1]
    # A wheel has the archive inside the package; a checkout has it two folders above.
    folders = (package / "archive" / "schemas", package.parents[1] / "schemas")
    return next(folder for folder in folders if folder.is_dir())


def is_packaged(path: Path) -> bool:
    """Return whether a file came with the wheel of this package: it was checked when the wheel was made."""
    return path.is_relative_to(Path(__file__).parents[1] / "archive")


@cache
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
    validator = _validator(schema)
    for error in sorted(validator.iter_errors(value), key=lambda e: [str(part) for part in e.absolute_path]):
        where: Where = tuple(error.absolute_path)
        unknown = _unknown_keys(error)
        yield from (((*where, key), "unknown key") for key in unknown)
        if not unknown:
            reason = _reason(error)
            yield where, reason if len(reason) < 200 else reason[:197] + "..."


@cache
def _validator(schema: str) -> Any:
    import jsonschema

    # A schema's patterns are ECMA's: `$` is the end of the text, never before a last newline, and digits are ASCII.
    def pattern(_validator: Any, pattern: str, text: Any, _schema: Any) -> Iterator[ValidationError]:
        if isinstance(text, str) and not _ecma(pattern).search(text):
            yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")

    def pattern_properties(
        validator: Any, patterns: Mapping[str, Any], value: Any, _schema: Any
    ) -> Iterator[ValidationError]:
        for pattern, subschema in patterns.items() if isinstance(value, dict) else ():
            for key, each in value.items():
                if _ecma(pattern).search(key):
                    yield from validator.descend(each, subschema, path=key, schema_path=pattern)

    keywords = {"pattern": pattern, "patternProperties": pattern_properties}
    extend: Any = jsonschema.validators.extend
    return extend(jsonschema.Draft202012Validator, keywords)(packaged(schema))


@cache
def _ecma(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern, re.ASCII)


def _unknown_keys(error: ValidationError) -> list[str]:
    if error.validator != "additionalProperties" or error.validator_value is not False:
        return []
    schema: Any = error.schema
    instance: Any = error.instance
    patterns = [_ecma(pattern) for pattern in schema.get("patternProperties", {})]
    unknown = set(instance) - set(schema.get("properties", {}))
    return sorted(key for key in unknown if not any(pattern.search(key) for pattern in patterns))


def _reason(error: ValidationError) -> str:
    value: Any = error.validator_value
    if error.validator == "oneOf" and all("required" in each for each in value):
        return "takes either " + " or ".join(f"'{key}'" for each in value for key in each["required"])
    if error.validator == "not":
        return "takes either " + " or ".join(f"'{key}'" for key in value["required"])
    if error.validator == "dependentRequired":
        missing, _, given = error.message.partition(" is a dependency of ")
        return f"{missing} is missing, which {given} requires"
    if error.validator == "required":
        return f"{error.message.split(' is a required')[0]} is missing"
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
    yield (), f"has more than {MOST:,} values"  # a few lines of YAML may stand for any number
