"""The text beside an export: how to run the tool with it, what was changed, and what to cite."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import PurePath

from .rows import Rows, explain

SUFFIX = ".readme.txt"


def stem_of(file: str) -> str:
    """Return a file's name without what says its kind."""
    path = PurePath(file)
    return str(path.with_name(path.name.partition(".")[0]))


def command(rows: Rows, file: str) -> str:
    """Return how to run the tool with a file."""
    values = {
        "file": shlex.quote(file),
        "stem": shlex.quote(stem_of(file)),
        "name": shlex.quote(PurePath(stem_of(file)).name),
        "block": rows.block,
        "kind": "mooncake" if rows.blocks else "trace_synthetic",
        "count": rows.count,
        "longest": rows.longest,
        "duration_ms": rows.duration_us // 1000 + 1,
    }
    found = re.sub(r"\[(.*?)\]", r"\1" if rows.blocks else "", rows.dialect.command)
    for name, value in values.items():
        found = found.replace(f"{{{name}}}", str(value))
    return found


def readme(rows: Rows, file: str, compression: str) -> str:
    """Return the text for a file."""
    dialect, table = rows.dialect, rows.table
    lines = [f"{file}: {rows.count:,} requests for {dialect.tool}", ""]
    if compression and compression not in dialect.unpacks:
        unpack = {".gz": "gunzip", ".zst": "unzstd"}[compression]
        lines += [
            f"The tool reads no {compression} files: unpack it first.",
            "",
            f"    {unpack} {shlex.quote(file)}",
            "",
        ]
        file = file.removesuffix(compression)
    lines += [*(f"    {each}" for each in command(rows, file).splitlines()), ""]
    facts = [
        f"dialect: {dialect.name}",
        f"input tokens: {rows.input_tokens:,}",
        f"output tokens: {rows.output_tokens:,}",
    ]
    if rows.block:
        facts.append(f"block size: {rows.block} tokens")
    facts += [f"left out: {count:,} requests that {explain(reason)}" for reason, count in rows.left_out.items()]
    facts += [*rows.changes, *dialect.notes, f"The tool does not read: {dialect.ignores}."]
    for each in facts:
        lines += textwrap.wrap(each, 110, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    lines += ["", f"Source: {table.chain}", f"Licence: {table.licence}", "Cite:", *table.citation.splitlines()]
    if not all(each.redistribute for each in table.source.origins):
        lines.append("It may not be redistributed.")
    return "\n".join(lines) + "\n"
