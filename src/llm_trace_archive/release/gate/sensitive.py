"""What must never leave: free text, and whatever looks like a secret, an e-mail address or an IP address.

Values are judged by column, as Arrow arrays of different values; a text file is a column of lines. Nothing found is
ever shown in full.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ...checks.result import ROWS_SHOWN, Result
from ...core.table import Table

SOURCE = "docs/release.md"
NONE = "none"
E_MAIL = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"
# What only may be an address: `ipaddress` decides.
_ENDS = r"(?:[^0-9A-Za-z:.]|[:.](?:[^0-9A-Za-z:.]|$)|$)"
IP_V4 = r"(?:^|[^0-9A-Za-z.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:" + _ENDS + r"|:[0-9])"
IP_V6 = r"(?:^|[^0-9A-Za-z.])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})" + _ENDS
# Tokens that detect-secrets does not know, each as its issuer spells it; Zenodo's are 60 letters and digits.
TOKENS = {
    "Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "Zenodo token": r"\b[A-Za-z0-9]{60}\b",
    "GitHub fine-grained token": r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "API key (sk-...)": r"\bsk-[A-Za-z0-9_-]{32,}",
}

# An identifier is one word of printable ASCII. A category is a short label, and comes again and again.
IDENTIFIER = r"^[!-~]{1,128}$"
LABEL = r"^\S+(?: \S+){0,5}$"
LONGEST_LABEL = 64  # characters
FEW_LABELS = 16  # so many different ones may also stand in a short table; else each is there ten times on average
ROWS_A_LABEL = 10


@cache
def _secrets() -> Mapping[str, str]:
    """A pattern a kind of secret, in RE2's syntax: those of detect-secrets that know a token by its spelling, and ours.

    Where one looks around (RE2 does not), it takes the character before or after instead: what it finds is the same.
    """
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    found = dict(TOKENS)
    plugins: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    for kind, plugin in sorted(plugins.items()):
        if not issubclass(plugin, RegexBasedDetector) or "IP" in kind:  # addresses are looked for by patterns of ours
            continue
        patterns, detector = [], plugin()
        for each in detector.denylist:
            text = each.pattern.replace(r"(?:(?<=\W)|(?<=^))", r"(?:\W|^)").replace(r"(?!\w)", r"(?:\W|$)")
            text = re.sub(r"\(\?!\[([^\]]*)\]\)", r"(?:[^\1]|$)", text).replace("{50,1024}", "{50,}")
            patterns.append(f"(?{'i' if each.flags & re.IGNORECASE else '-i'}:{text})")
        found[kind] = "|".join(patterns)
    return found


def kinds(values: pa.Array) -> Iterator[tuple[str, pa.Array, list[str]]]:
    """Each kind of what must not leave: its name, which of the values offend, and what each of these is, masked."""
    yield "secrets", *_found(values, "|".join(_secrets().values()), _name_secret)
    yield "e-mail addresses", *_found(values, E_MAIL, lambda value: _match(E_MAIL, value))
    yield "IP addresses", *_found(values, f"{IP_V4}|{IP_V6}", _name_address)


def _found(values: pa.Array, pattern: str, name: Any) -> tuple[pa.Array, list[str]]:
    mask = pc.fill_null(pc.match_substring_regex(values, pattern), False)
    told = [name(value) for value in values.filter(mask).to_pylist()]
    if not all(told):  # what only looked like an address
        real = iter(told)
        mask = pa.array([bool(each) and bool(next(real)) for each in mask.to_pylist()], pa.bool_())
    return mask, [each for each in told if each]


def _name_secret(value: str) -> str:
    for kind, pattern in _secrets().items():
        if pc.match_substring_regex(pa.scalar(value), pattern).as_py():
            return kind
    return "a secret"


def _match(pattern: str, value: str) -> str:
    found = re.search(pattern, value)
    return masked(found[found.lastindex or 0]) if found else ""


def _name_address(value: str) -> str:
    for pattern in map(re.compile, (IP_V4, IP_V6)):
        start = 0
        while found := pattern.search(value, start):
            start = found.end(1)  # the character after one address may be the one before the next
            for text in (found[1], found[1].removesuffix(":")):
                with contextlib.suppress(ValueError):
                    address = ipaddress.ip_address(text)
                    if not address.is_loopback and not address.is_unspecified:
                        return masked(text)
    return ""


def masked(value: str) -> str:
    """The start of a value and its length: enough to find it, too little to use it."""
    return f"{value[:4]}... ({len(value)} characters)"


# -- the lines of a text, the columns of a table ----------------------------------------------------------------------


def text_results(path: str, text: str, allowed: Collection[str] = ()) -> Iterator[Result]:
    """A result a kind for the lines of a text file; `allowed` are e-mail addresses that are meant to be public."""
    for each in allowed:
        text = text.replace(each, "")
    lines = pa.array(text.splitlines(), pa.string())
    for kind, mask, told in kinds(lines):
        numbers = pc.indices_nonzero(mask).to_pylist()
        found = "; ".join(f"line {n + 1}: {what}" for n, what in zip(numbers, told, strict=True)) or NONE
        yield Result("sensitive", f"{kind} in {path}", NONE, 0, found[:300], SOURCE)


def column_results(table: Table, schema: Mapping[str, Any]) -> Iterator[Result]:
    """Whether each column of text holds identifiers or categories, and nothing of any kind that must not leave."""
    for field in schema["fields"]:
        if "string" in field["arrowType"]:
            yield from _column(table, field["name"])


def _column(table: Table, name: str) -> Iterator[Result]:
    """The results of one column, from the different values of a row group at a time."""
    count, others = 0, [pa.array([], pa.string())]
    hits: dict[str, list[pa.Array]] = {}
    seen: dict[str, dict[str, None]] = {}
    for _, batch in table.groups([name]):
        values = _plain(batch.column(name)).drop_null()
        count += len(values)
        different = pc.unique(values)
        others.append(different.filter(pc.invert(pc.match_substring_regex(different, IDENTIFIER))))
        for kind, mask, names in kinds(different):
            hits.setdefault(kind, []).append(different.filter(mask))
            seen.setdefault(kind, {}).update(dict.fromkeys(names))
    free = _free_text(pc.unique(pa.concat_arrays(others)), count)
    longest = pc.max(pc.utf8_length(free)).as_py()
    told = f"{len(free):,} different values, up to {longest:,} characters" if len(free) else NONE
    yield Result("sensitive", f"free text in {name}", NONE, 0, told, SOURCE, name, _rows(table, name, free))
    for kind, parts in hits.items():
        told, found = "; ".join(seen[kind])[:300] or NONE, pa.concat_arrays(parts)
        yield Result("sensitive", f"{kind} in {name}", NONE, 0, told, SOURCE, name, _rows(table, name, found))


def _plain(column: pa.Array) -> pa.Array:
    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return pc.cast(values, pa.string())


def _free_text(other: pa.Array, count: int) -> pa.Array:
    """Those of the different values that are no identifiers which are no categories; a column holds `count` values."""
    if len(other) > max(FEW_LABELS, count // ROWS_A_LABEL):
        return other
    label = pc.and_(pc.match_substring_regex(other, LABEL), pc.less_equal(pc.utf8_length(other), LONGEST_LABEL))
    return other.filter(pc.invert(label))


def _rows(table: Table, name: str, values: pa.Array) -> tuple[tuple[int, str], ...]:
    """The first rows that hold one of the values, each shown masked."""
    found: list[tuple[int, str]] = []
    if not len(values):
        return ()
    for start, batch in table.groups([name]):
        column = batch.column(name)
        held = _plain(column)
        places = pc.indices_nonzero(pc.is_in(held, values)).slice(0, ROWS_SHOWN)
        numbers = pc.list_parent_indices(column).take(places) if pa.types.is_list(column.type) else places
        for number, value in zip(numbers.to_pylist(), held.take(places).to_pylist(), strict=True):
            found.append((start + number, masked(value)))
        if len(found) >= ROWS_SHOWN:
            break
    return tuple(found[:ROWS_SHOWN])
