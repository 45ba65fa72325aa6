"""Read a log: its lines become records, and records the fields that a recipe maps.

Logs are no upstream files: programs of several versions wrote them, lines are cut, and much in them is no request. What
can't be read is counted, with the first reasons, and what is no request is counted as well.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

import zstandard

from ...core.errors import BadUse

Record = dict[str, Any]
EXAMPLES = 3
_UNITS = {"s": Decimal(1_000_000), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
DATED = 1_000_000_000_000_000  # microseconds since 1970, in 2001: an earlier time is no date


class Broken(Exception):
    """A record that can't be read, and why. No value of it stands in the reason."""


@dataclass
class Counts:
    """What became of a log. `broken` are lines or requests that can't be read, `examples` the first with reasons."""

    requests: int = 0
    others: int = 0
    broken: int = 0
    repeated: int = 0
    unfinished: int = 0
    examples: list[str] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter)

    def add_broken(self, place: str, reason: str) -> None:
        """Count one, and keep the reasons of the first."""
        self.broken += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{place}: {reason}")


def read_records(path: Path, log: Mapping[str, Any], counts: Counts) -> Iterator[tuple[str, Record]]:
    """Yield where each request of a log stands, and its record. Raises BadUse for a file that is no such log."""
    records = _objects(path, log, counts)
    if "join" in log:
        records = _joined(records, log["join"], counts)
    seen: set[int] = set()
    for place, record in records:
        for name in log.get("attributes", ()):
            if isinstance(record.get(name), list):
                record[name] = _attributes(record[name])
        if not all(_is_wanted(find(record, key), wanted) for key, wanted in log.get("where", {}).items()):
            counts.others += 1
            counts.keys.update(list(record))
            continue
        if "id" in log and (identity := find(record, log["id"])) is not None:
            if hash(str(identity)) in seen:
                counts.repeated += 1
                continue
            seen.add(hash(str(identity)))
        counts.requests += 1
        yield place, record


def find(record: Any, path: str) -> Any:
    """Return the value at a dotted path, whose keys may contain dots; None if there is none."""
    if isinstance(record, list):
        number, _, rest = path.partition(".")
        if not number.isdigit() or int(number) >= len(record):
            return None
        return find(record[int(number)], rest) if rest else record[int(number)]
    if not isinstance(record, dict):
        return None
    if path in record:
        return record[path]
    end = -1
    while (end := path.find(".", end + 1)) >= 0:
        found = find(record.get(path[:end]), path[end + 1 :])
        if found is not None:
            return found
    return None


# -- lines -------------------------------------------------------------------------------------------------------------


def _objects(path: Path, log: Mapping[str, Any], counts: Counts) -> Iterator[tuple[str, Record]]:
    try:
        with _open(path) as stream:
            if log["lines"] == "text":
                yield from _matches(stream, [re.compile(each) for each in log["patterns"]], counts)
                return
            for place, value in _values(stream, log, counts):
                found = False
                for each in log.get("each", ("",)):
                    for record in _explode(value, each):
                        found = True
                        yield place, record
                if not found:
                    counts.others += 1
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise BadUse(str(path), "can't be read", reason=str(error)[:200]) from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape")
    if path.suffix == ".zst":
        stream: TextIO = zstandard.open(path, "rt", encoding="utf-8", errors="surrogateescape")
        return stream
    return path.open(encoding="utf-8", errors="surrogateescape")


def _values(stream: TextIO, log: Mapping[str, Any], counts: Counts) -> Iterator[tuple[str, Any]]:
    """Yield each line's value with the line's number."""
    if log["lines"] == "csv":
        try:
            for row in (reader := csv.DictReader(stream, strict=True)):
                if None in row or None in row.values():
                    counts.add_broken(f"line {reader.line_num:,}", "another number of columns than the header")
                else:
                    yield f"line {reader.line_num:,}", {key: value or None for key, value in row.items()}
        except csv.Error as error:
            counts.add_broken("a line", f"is not CSV: {error}")
        return
    first = stream.readline()
    if log["lines"] == "document" or first.startswith("["):
        try:
            value = json.loads(first + stream.read())
        except (ValueError, RecursionError) as error:
            counts.add_broken("the document", f"is not JSON: {str(error)[:80]}")
            return
        for number, each in enumerate(value if isinstance(value, list) else [value], 1):
            yield f"entry {number:,}", each
        return
    for number, line in enumerate(_again(first, stream), 1):
        if line.strip():
            try:
                line.encode()
                yield f"line {number:,}", json.loads(line)
            except UnicodeEncodeError:
                counts.add_broken(f"line {number:,}", "is not UTF-8 text")
            except (ValueError, RecursionError) as error:
                counts.add_broken(f"line {number:,}", f"is not JSON: {str(error)[:80]}")


def _again(first: str, rest: TextIO) -> Iterator[str]:
    yield first
    yield from rest


def _matches(stream: TextIO, patterns: list[re.Pattern[str]], counts: Counts) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(stream, 1):
        match = next(filter(None, (each.search(line) for each in patterns)), None)
        if match:
            groups = match.groupdict().items()
            yield f"line {number:,}", {key: text for key, text in groups if text not in (None, "", "None", "null")}
        else:
            counts.others += 1


def _explode(value: Any, path: str, number: int = -1) -> Iterator[Record]:
    """Yield the records at a path such as "a[].b[]" in a value."""
    head, brackets, rest = path.partition("[]")
    inner = find(value, head) if head else value
    if brackets:
        for n, each in enumerate(inner if isinstance(inner, list) else ()):
            yield from _explode(
                each, rest.removeprefix(".") or "\0" + head.rpartition(".")[2], n if number < 0 else number
            )
    elif head.startswith("\0") and isinstance(value, dict):
        yield {**value, "@number": number, "@in": head[1:]}
    elif not head and isinstance(value, dict):
        yield value


def _attributes(pairs: list[Any]) -> Record:
    """Return OTLP's list of {key, value} as an object."""
    return {str(each.get("key")): _plain(each.get("value")) for each in pairs if isinstance(each, dict)}


def _plain(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_plain(each) for each in (inner or {}).get("values", ())]
    if kind == "kvlistValue":
        return _attributes((inner or {}).get("values", []))
    return inner if kind in ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue") else value


def _joined(
    records: Iterator[tuple[str, Record]], join: Mapping[str, str], counts: Counts
) -> Iterator[tuple[str, Record]]:
    """Yield one record for all that share an id; those whose last line is missing come at the end."""
    pending: dict[str, tuple[str, Record]] = {}
    for place, record in records:
        identity = find(record, join["by"])
        if identity is None:
            counts.others += 1
            continue
        first_place, whole = pending.pop(str(identity), (place, {}))
        _merge(whole, record)
        if "until" in join and find(whole, join["until"]) is not None:
            yield first_place, whole
        else:
            pending[str(identity)] = first_place, whole
    if "until" in join:
        counts.unfinished += len(pending)
    yield from pending.values()


def _merge(whole: Record, more: Record) -> None:
    for key, value in more.items():
        if isinstance(whole.get(key), dict) and isinstance(value, dict):
            _merge(whole[key], value)
        elif whole.get(key) is None:
            whole[key] = value


def _is_wanted(value: Any, wanted: Any) -> bool:
    return (value is not None) is wanted if isinstance(wanted, bool) else _text(value) in wanted


# -- fields ------------------------------------------------------------------------------------------------------------


class Fields:
    """The fields that a recipe maps, of one record after another."""

    def __init__(self, log: Mapping[str, Any]) -> None:
        self._specs = log.get("fields", {})
        self._times = {name: _clock(kind) for name, kind in log.get("times", {}).items()}

    def value(self, record: Record, name: str) -> Any:
        """Return a field of a record: None, a bool, a list, or text. Raises Broken."""
        value = self._value(record, name)
        if value is None or isinstance(value, bool | list):
            return value
        return json.dumps(value) if isinstance(value, dict) else _text(value)

    def _value(self, record: Record, name: str, within: tuple[str, ...] = ()) -> Any:
        """Return a field, or the value at a path; within the field of that name, it is a path."""
        spec = name if name in within else self._specs.get(name, name)
        if isinstance(spec, dict):
            ((kind, of),) = spec.items()
            return getattr(self, f"_{kind}")(record, of, (*within, name))
        paths = [spec] if isinstance(spec, str) else spec
        value = next((found for path in paths if (found := find(record, path)) is not None), None)
        if value is None or name not in self._times:
            return value
        try:
            return self._times[name](value)
        except (ValueError, TypeError, OverflowError, InvalidOperation):
            raise Broken(f"'{name}' is no such time as [log.times] says") from None

    def _number(self, record: Record, name: str, within: tuple[str, ...]) -> Any:
        value = self._value(record, name.rstrip("?"), within)
        if value is None:
            return 0 if name.endswith("?") else None
        try:
            return value if type(value) is int else Decimal(str(value))
        except InvalidOperation:
            raise Broken(f"'{name}' is no number") from None

    def _sum(self, record: Record, names: list[str], within: tuple[str, ...]) -> Any:
        found = [self._number(record, name, within) for name in names]
        return None if None in found else sum(found)

    def _difference(self, record: Record, names: list[str], within: tuple[str, ...]) -> Any:
        first, second = (self._number(record, name, within) for name in names)
        return None if first is None or second is None else first - second

    def _length(self, record: Record, name: str, within: tuple[str, ...]) -> int | None:
        value = self._value(record, name, within)
        if value is None or isinstance(value, list):
            return None if value is None else len(value)
        inner = str(value).strip().strip("[]()").strip().rstrip(",")
        return inner.count(",") + 1 if inner else 0

    def _present(self, record: Record, name: str, within: tuple[str, ...]) -> bool:
        return self._value(record, name, within) not in (None, "", {}, [])

    def _is(self, record: Record, given: list[str], within: tuple[str, ...]) -> bool | None:
        value = self._value(record, given[0], within)
        return None if value is None else _text(value) in given[1:]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, bool) else str(value)


def _clock(kind: str) -> Callable[[Any], int]:
    """Return what turns a time of this kind into microseconds, since 1970 if it is a moment."""
    if kind in _UNITS:
        return lambda value: int(Decimal(str(value)) * _UNITS[kind])
    if kind == "ISO 8601":
        return lambda value: _microseconds(datetime.fromisoformat(str(value).strip()))
    if "%Y" in kind or "%y" in kind:
        return lambda value: _microseconds(datetime.strptime(str(value), kind))
    # A year with a 29 February; it is no date, and long before DATED.
    return lambda value: _microseconds(datetime.strptime(f"1972 {value}", f"%Y {kind}"))


def _microseconds(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICRO
