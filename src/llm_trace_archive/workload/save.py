"""Save a shaped workload as a table of its own, which knows its sources and every step, and check such a file."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks.integrity import check_pages, unreadable
from ..checks.keys import find_repeats
from ..checks.result import Result
from ..checks.rows import first_rows
from ..columns.constraints import violations
from ..convert.parquet import ParquetSink
from ..core.archive import Archive
from ..core.errors import BadUse
from ..core.files import hash_file, output
from ..core.schema import arrow_schema
from ..core.sql import quote
from ..core.table import UNREADABLE, Table
from .notes import notes
from .origin import Origin
from .shape import Merged, Shaping, collect_warnings, warn

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "shaped"  # of the file's metadata
# How the chains of an imported log and of a replay begin, which can't be made again.
IMPORTED, REPLAYED = "import_log(", "replay("
STEPS = (
    "filter", "view", "window", "limit", "max_context", "thin", "scale", "rebase", "shift", "repeat", "merge"
)  # fmt: skip


@dataclass(frozen=True)
class Saved(Merged):
    """A saved workload: its file, and what the file says of itself."""

    path: Path = Path()
    facts: tuple[tuple[str, str], ...] = ()
    origins: tuple[Origin, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the file."""
        with Table(self.path) as table:
            return table.schema.remove_metadata()

    @cached_property
    def sql(self) -> str:
        """The SELECT that reads the file."""
        return f"SELECT * FROM read_parquet({quote(str(self.path))})"

    @property
    def epoch(self) -> str | None:
        """The date and time that arrivals count from, if they still do."""
        return dict(self.facts).get("epoch")


def save(requests: Shaping, path: Path) -> None:
    """Write requests to a Parquet file that names their sources, how they were shaped, and what to cite.

    The same steps on the same sources give the same bytes, as long as the versions stay. Warns of what `notes` finds.
    Raises BadUse if the file
    can't be written, or for several workloads that are not merged; an existing file then stays as it was.
    """
    requests.require_one_table("save()")
    for note in notes(requests):
        warn("save()", note)
    with output(path) as part, ParquetSink(part, requests.schema, _facts(requests)) as sink:
        for batch in requests.batches():
            sink.write(batch)


def _facts(requests: Shaping) -> dict[str, str]:
    """Return what the file says of itself."""
    origins = requests.source.origins
    said = {
        "schema_version": str(requests.source.archive.canonical["version"]),
        "licence": "; ".join(dict.fromkeys(each.licence for each in origins)),
        "citation": "\n".join(dict.fromkeys(each.citation for each in origins)),
        "arrivals": "; ".join(dict.fromkeys(each.arrivals for each in origins)),
        "epoch": requests.epoch or "",
        KEY: json.dumps(
            {
                "chain": requests.chain,
                "origins": [each.as_dict() for each in origins],
                "versions": {
                    name: importlib.metadata.version(name) for name in ("llm-trace-archive", "duckdb", "pyarrow")
                },
            },
            sort_keys=True,
            ensure_ascii=False,
        ),
    }
    return {name: text for name, text in said.items() if text}


def read_saved(archive: Archive, path: Path) -> Saved:
    """Return the source that a saved workload is. Raises BadUse for another file."""
    try:
        with Table(path) as table:
            said = {key.decode(): text.decode() for key, text in (table.file.metadata.metadata or {}).items()}
        shaped = json.loads(said.get(KEY, "null"))
        origins = tuple(Origin(**each) for each in shaped["origins"])
        chain = str(shaped["chain"])
    except (*UNREADABLE, LookupError, TypeError) as error:
        raise BadUse(
            str(path),
            "is not a workload that was saved with save() or llm-traces shape",
            reason="" if isinstance(error, LookupError | TypeError) else str(error)[:200],
        ) from None
    known = {str(each): each for each in archive.select()}
    workloads = tuple(known[each.workload] for each in origins if each.workload in known)
    return Saved(archive, workloads, chain, (), path, tuple(sorted(said.items())), origins)


def check_saved(archive: Archive, path: Path, rebuild: Callable[[str], Shaping] | None = None) -> Iterator[Result]:
    """Check a saved workload: pages, columns, constraints, keys, and its sources against the lock.

    rebuild  also shape its sources again with this function, which opens a workload by its name, and compare the bytes

    Raises BadUse if it is none, and Problem as opening does.
    """
    saved = read_saved(archive, path)
    with Table(path) as table:
        pages = list(check_pages(table))
        yield from pages
        if not all(each.holds for each in pages):
            return
        try:
            yield from _check_columns(archive, table)
        except UNREADABLE as error:
            yield unreadable("every page", error)
            return
    for origin in saved.origins:
        locked = str(archive.locked.get(origin.workload, {}).get("hash", "")).removeprefix("sha256:")
        if locked and origin.sha256:
            yield Result("provenance", f"sha256 of {origin.workload}", locked, 0, origin.sha256, "datapackage.json")
    if rebuild and IMPORTED not in saved.chain and REPLAYED not in saved.chain:
        yield from _check_bytes(saved, rebuild)


def _check_columns(archive: Archive, table: Table) -> Iterator[Result]:
    source = "schemas/request.json"
    expected = arrow_schema(archive.canonical)
    found = table.schema
    names = ", ".join(expected.names)
    yield Result("schema", "columns", names, 0, ", ".join(found.names[: len(expected)]), source)
    if found.names[: len(expected)] != expected.names:
        return
    for field in expected:
        kind, own = (str(each.type).replace("<element:", "<item:") for each in (field, found.field(field.name)))
        yield Result("schema", f"type of {field.name}", kind, 0, own, source, field.name)
        if kind != own:
            return
    counts: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str], Any] = {}
    for start, batch in table.groups(expected.names):
        for column, rule, mask in violations(archive.canonical, batch):
            key = column, rule
            counts[key] = counts.get(key, 0) + mask.true_count
            rows[key] = first_rows(mask, batch.column(column), start, rows.get(key, ()))
    for (column, rule), count in counts.items():
        yield Result("schema", f"rows whose {column} is not {rule}", 0, 0, count, source, column, rows[column, rule])
    repeats = sum(map(len, find_repeats(table, ["request_id"])))
    yield Result("keys", "rows that repeat a key: request_id", 0, 0, repeats, source, "request_id")


def _check_bytes(saved: Saved, rebuild: Callable[[str], Shaping]) -> Iterator[Result]:
    name = "rebuilt from its sources"
    said = json.loads(dict(saved.facts)[KEY])["versions"]
    here = {each: importlib.metadata.version(each) for each in said}
    if said != here:
        text = ", ".join(f"{each} {version}" for each, version in said.items())
        found = ", ".join(f"{each} {version}" for each, version in here.items())
        yield Result("provenance", "versions that can rebuild it", text, 0, found, str(saved.path))
        return
    with tempfile.TemporaryDirectory() as folder, collect_warnings():
        again = Path(folder) / "again.parquet"
        save(apply_chain(saved.chain, rebuild), again)
        digests = hash_file(again)[0], hash_file(saved.path)[0]
    yield Result("provenance", name, digests[0], 0, digests[1], saved.chain)


def apply_chain(chain: str, rebuild: Callable[[str], Shaping]) -> Shaping:
    """Return the table that a chain of steps makes; no other Python is run. Raises BadUse.

    rebuild  opens a workload by its name
    """
    try:
        return _apply(ast.parse(chain, mode="eval").body, rebuild)
    except (SyntaxError, ValueError, TypeError) as error:
        raise BadUse(chain[:200], "is not a chain of steps", reason=str(error)[:200]) from None


def _apply(node: ast.AST, rebuild: Callable[[str], Shaping]) -> Shaping:
    match node:
        case ast.Call(ast.Name("open"), [ast.Constant(str(name))], []):
            return rebuild(name)
        case ast.Call(ast.Attribute(before, step), arguments, options) if step in STEPS:
            given = [_apply(each, rebuild) if step == "merge" else ast.literal_eval(each) for each in arguments]
            named = {str(each.arg): ast.literal_eval(each.value) for each in options}
            shaped: Shaping = getattr(_apply(before, rebuild), step)(*given, **named)
            return shaped
    raise ValueError(f"{ast.unparse(node)[:100]} is no step")
