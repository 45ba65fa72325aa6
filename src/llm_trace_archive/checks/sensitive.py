"""What must not be published: free text, secrets, and what points to a person, their account or their machine.

Works on Arrow arrays: the distinct values of a column, or the lines of a text file. Never shows a match in full.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.table import Table
from .result import ROWS_SHOWN, Result

SOURCE = "docs/release.md"
NONE = "none"
# Local parts and domains in any script; the last label has no digits, unless it is punycode. Or written out, as in
# "jo (at) example.org".
_WORD = r"""[^\s@<>()\[\]"\\,;:]+"""
_LABEL = r"""[^\s@<>()\[\]{}"'\\,;:/=|.!?*]"""
E_MAIL = (
    rf"{_WORD}@(?:{_LABEL}+\.)+(?:xn--[A-Za-z0-9-]+|[^\s@<>()\[\]{{}}\"'\\,;:/=|.!?*0-9_-]{{2,}})"
    rf"|(?i:{_WORD} ?[(\[{{<] ?at ?[)\]}}>] ?{_LABEL}+ ?(?:\.|[(\[{{<] ?dot ?[)\]}}>]) ?\w+)"
)
# Candidates for addresses: `ipaddress` decides.
_ENDS = r"(?:[^0-9A-Za-z:.]|[:.](?:[^0-9A-Za-z:.]|$)|$)"
IP_V4 = r"(?:^|[^0-9A-Za-z.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:" + _ENDS + r"|:[0-9])"
IP_V6 = r"(?:^|[^0-9A-Za-z.])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})" + _ENDS
# International numbers, North American ones with hyphens, and any number that says what it is. Times such as +00:00 and
# exponents are none.
PHONE = (
    r"(?:^|[^\w+.-])(\+[1-9][0-9]{0,2}(?:[ ./()-]{0,2}[0-9]){6,13})(?:[^\w-]|$)"
    r"|(?:^|[^\w.-])(\(?[2-9][0-9]{2}(?:\) ?|-)[2-9][0-9]{2}-[0-9]{4})(?:[^\w-]|$)"
    r"|(?i:\b(?:tel|phone|mobile|fax)\b[.:= \"']{1,4}([0-9(][0-9 ()./-]{5,18}[0-9]))"
)
IBAN = r"(?:^|[^A-Za-z0-9])([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?:[^A-Za-z0-9]|$)"  # candidates
# Folders of users, unless they are a part of a URL or of a longer path.
HOME = (
    r"(?:^|[^A-Za-z0-9._~/-]|file://)(/(?:home|Users)/[^\s/\"'<>,;:|)\]}]+|/root/[^\s\"'<>,;:|)\]}]+)"
    r"|([A-Za-z]:(?:\\{1,2}|/)Users(?:\\{1,2}|/)[^\s\\/\"'<>,;:|)\]}]+)"
)
# Tokens that detect-secrets does not know, in the format of their issuers. Zenodo's are 60 letters and digits.
TOKENS = {
    "Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "Zenodo token": r"\b[A-Za-z0-9]{60}\b",
    "GitHub fine-grained token": r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}",
    "API key (sk-...)": r"\bsk-[A-Za-z0-9_-]{32,}",
    "Bearer token": r"(?i:\bbearer[ :]+)[A-Za-z0-9._~+/-]{12,}",
    # `password=...`; a placeholder such as <password>, ***, $PASSWORD or {password} is none.
    "Password": r"(?i:(?:\b|_)(?:password|passwd|passphrase|pwd|(?:api|secret)[_-]?key|client[_-]?secret"
    r"|(?:access|auth)[_-]?token)[\"']?"
    r" ?[:=] ?[\"']?[^\s\"'<>*${}\[\](),;|]{4,})",
}

# An identifier is one word of printable ASCII. A category is a short label that occurs again and again.
IDENTIFIER = r"^[!-~]{1,128}$"
LABEL = r"^\S+(?: \S+){0,5}$"
LONGEST_LABEL = 64  # characters
FEW_LABELS = 16  # any column may have so many distinct labels; more only if each occurs ten times on average
ROWS_PER_LABEL = 10


@cache
def load_secret_patterns() -> Mapping[str, str]:
    """Return one pattern per kind of secret, in RE2 syntax: TOKENS, and those of detect-secrets that know a format.

    RE2 has no lookaround, so such patterns match the character before or after instead. They find the same values.
    """
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    kinds = dict(TOKENS)
    plugins: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    for kind, plugin in sorted(plugins.items()):
        if not issubclass(plugin, RegexBasedDetector) or "IP" in kind:  # addresses have their own patterns here
            continue
        patterns, detector = [], plugin()
        for each in detector.denylist:
            text = each.pattern.replace(r"(?:(?<=\W)|(?<=^))", r"(?:\W|^)").replace(r"(?!\w)", r"(?:\W|$)")
            text = re.sub(r"\(\?!\[([^\]]*)\]\)", r"(?:[^\1]|$)", text).replace("{50,1024}", "{50,}")
            patterns.append(f"(?{'i' if each.flags & re.IGNORECASE else '-i'}:{text})")
        kinds[kind] = "|".join(patterns)
    return kinds


def find_sensitive(values: pa.Array) -> Iterator[tuple[str, pa.Array, list[str]]]:
    """Yield for each kind of sensitive value its name, a mask of the values that match, and each match described."""
    yield "secrets", *_match_values(values, "|".join(load_secret_patterns().values()), _describe_secret)
    yield "e-mail addresses", *_match_values(values, E_MAIL, lambda value: _describe_match(E_MAIL, value))
    yield "IP addresses", *_match_values(values, f"{IP_V4}|{IP_V6}", _describe_address)
    yield "phone numbers", *_match_values(values, PHONE, lambda value: _describe_match(PHONE, value))
    yield "bank accounts", *_match_values(values, IBAN, _describe_account)
    yield "home folders", *_match_values(values, HOME, lambda value: _describe_match(HOME, value))


def _match_values(values: pa.Array, pattern: str, describe: Callable[[str], str]) -> tuple[pa.Array, list[str]]:
    """Return a mask of the values that match, and their descriptions. A value with an empty description is no match."""
    mask = pc.fill_null(pc.match_substring_regex(values, pattern), False)
    descriptions = [describe(value) for value in values.filter(mask).to_pylist()]
    if not all(descriptions):
        matches = iter(descriptions)
        mask = pa.array([bool(each) and bool(next(matches)) for each in mask.to_pylist()], pa.bool_())
    return mask, [each for each in descriptions if each]


def _describe_secret(value: str) -> str:
    for kind, pattern in load_secret_patterns().items():
        if pc.match_substring_regex(pa.scalar(value), pattern).as_py():
            return kind
    return "a secret"


def _describe_match(pattern: str, value: str) -> str:
    match = re.search(pattern, value, re.ASCII)  # as RE2 reads it
    return mask_value(next(filter(None, match.groups()), match[0])) if match else ""


def _describe_account(value: str) -> str:
    from stdnum import iban

    start = 0
    while match := re.compile(IBAN).search(value, start):
        start = match.end(1)
        words = match[1].split(" ")
        # The candidate may go on into the words after the number.
        for count in range(len(words), 0, -1):
            if iban.is_valid("".join(words[:count])):
                return mask_value(" ".join(words[:count]))
    return ""


def _describe_address(value: str) -> str:
    for pattern in map(re.compile, (IP_V4, IP_V6)):
        start = 0
        while match := pattern.search(value, start):
            start = match.end(1)  # the character after one address may be the one before the next
            for text in (match[1], match[1].removesuffix(":")):
                with contextlib.suppress(ValueError):
                    address = ipaddress.ip_address(text)
                    if not address.is_loopback and not address.is_unspecified:
                        return mask_value(text)
    return ""


def mask_value(value: str) -> str:
    """Return the start of a value and its length: enough to find it, too little to use it."""
    return f"{value[:4]}... ({len(value)} characters)"


def check_texts(texts: Mapping[str, str], allowed: Mapping[str, Collection[str]] | None = None) -> Iterator[Result]:
    """Check the lines of text files, given by path: one result per file and kind.

    allowed  e-mail addresses that may be public in a file, by its path
    """
    places: list[tuple[str, int]] = []
    lines: list[str] = []
    for path, text in texts.items():
        for each in (allowed or {}).get(path, ()):
            text = text.replace(each, "")
        of_file = text.splitlines()
        places += [(path, number) for number in range(1, len(of_file) + 1)]
        lines += of_file
    found: dict[tuple[str, str], list[str]] = {}
    kinds = []
    for kind, mask, descriptions in find_sensitive(pa.array(lines, pa.string())):  # at once: the patterns are large
        kinds.append(kind)
        for index, described in zip(pc.indices_nonzero(mask).to_pylist(), descriptions, strict=True):
            path, number = places[index]
            found.setdefault((path, kind), []).append(f"line {number}: {described}")
    for path in texts:
        for kind in kinds:
            text = "; ".join(found.get((path, kind), ())) or NONE
            yield Result("sensitive", f"{kind} in {path}", NONE, 0, text[:300], SOURCE)


def check_columns(table: Table, schema: Mapping[str, Any]) -> Iterator[Result]:
    """Check that each text column holds only identifiers or categories, and nothing sensitive."""
    for field in schema["fields"]:
        if "string" in field["arrowType"]:
            yield from _check_column(table, field["name"])


def _check_column(table: Table, name: str) -> Iterator[Result]:
    """Check one column by the distinct values of one row group at a time."""
    count, others = 0, [pa.array([], pa.string())]
    matches: dict[str, list[pa.Array]] = {}
    descriptions: dict[str, dict[str, None]] = {}
    for _, batch in table.groups([name]):
        values = _flatten(batch.column(name)).drop_null()
        count += len(values)
        distinct = pc.unique(values)
        others.append(distinct.filter(pc.invert(pc.match_substring_regex(distinct, IDENTIFIER))))
        for kind, mask, described in find_sensitive(distinct):
            matches.setdefault(kind, []).append(distinct.filter(mask))
            descriptions.setdefault(kind, {}).update(dict.fromkeys(described))
    free = _find_free_text(pc.unique(pa.concat_arrays(others)), count)
    longest = pc.max(pc.utf8_length(free)).as_py()
    values = "1 distinct value" if len(free) == 1 else f"{len(free):,} distinct values"
    found = f"{values}, up to {longest:,} characters" if len(free) else NONE
    yield Result("sensitive", f"free text in {name}", NONE, 0, found, SOURCE, name, _find_rows(table, name, free))
    for kind, parts in matches.items():
        found = "; ".join(descriptions[kind])[:300] or NONE
        rows = _find_rows(table, name, pa.concat_arrays(parts))
        yield Result("sensitive", f"{kind} in {name}", NONE, 0, found, SOURCE, name, rows)


def _flatten(column: pa.Array) -> pa.Array:
    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return pc.cast(values, pa.string())


def _find_free_text(others: pa.Array, count: int) -> pa.Array:
    """Return the values that are not categories, of the distinct values that are not identifiers.

    count  values in the column, repetitions included
    """
    if len(others) > max(FEW_LABELS, count // ROWS_PER_LABEL):
        return others
    label = pc.and_(pc.match_substring_regex(others, LABEL), pc.less_equal(pc.utf8_length(others), LONGEST_LABEL))
    return others.filter(pc.invert(label))


def _find_rows(table: Table, name: str, values: pa.Array) -> tuple[tuple[int, str], ...]:
    """Return the first rows that hold one of the values, each as (0-based number, masked value)."""
    rows: list[tuple[int, str]] = []
    if not len(values):
        return ()
    for start, batch in table.groups([name]):
        column = batch.column(name)
        flat = _flatten(column)
        places = pc.indices_nonzero(pc.is_in(flat, values)).slice(0, ROWS_SHOWN)
        numbers = pc.list_parent_indices(column).take(places) if pa.types.is_list(column.type) else places
        for number, value in zip(numbers.to_pylist(), flat.take(places).to_pylist(), strict=True):
            rows.append((start + number, mask_value(value)))
        if len(rows) >= ROWS_SHOWN:
            break
    return tuple(rows[:ROWS_SHOWN])
