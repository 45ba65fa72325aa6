"""Import a log: a workload of one's own, in the canonical columns, from any log that a recipe describes.

Records become rows as upstream files do, by `convert.canonicalise`. A row that can't be converted is left out and
counted; if too many are, nothing is written. Rows are then put in the order of arrival, by DuckDB, which needs no
memory for them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import itertools
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...checks.result import Result
from ...checks.sensitive import check_columns
from ...convert.canonicalise import BadRow, Canonicaliser
from ...convert.formats.layout import Layout
from ...convert.parquet import ParquetSink
from ...convert.read import FileRows
from ...core.archive import Archive
from ...core.errors import BadUpstream, BadUse
from ...core.extras import require
from ...core.files import hash_file
from ...core.files import output as write_output
from ...core.recipe import Recipe, UpstreamFile, Workload
from ...core.recipe_file import read_log_recipe
from ...core.schema import arrow_schema
from ...core.sql import quote, quote_name
from ...core.table import Table
from ...core.table_schema import table_schema
from ..open import open_requests
from ..origin import Origin
from ..records import cast_batch, database
from ..requests import Requests
from ..save import IMPORTED, KEY
from ..shape import warn
from ..times import Time, microseconds
from .blocks import BlockIds
from .reader import DATED, Broken, Counts, Fields, Record, find, read_records

ROWS = 1 << 13  # of a batch
MAX_BROKEN = 0.01
_CERTAIN = 1000  # records, after which a share of broken ones is taken for that of the whole log
SALT = "LLM_TRACES_SALT"
NAME = "log"  # of the workload
_TIMES = ("arrival_us", "latency_us", "ttft_us")


@dataclass(frozen=True)
class Report:
    """What an import did: the file, its rows, what was left out, and what an anonymised file would still show."""

    path: Path
    rows: int
    counts: Counts
    late: int
    dropped: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()
    findings: tuple[Result, ...] = ()

    def notes(self) -> Iterator[str]:
        """Yield what to know of the log, if anything."""
        counts = self.counts
        if counts.broken:
            yield f"{counts.broken:,} records can't be read and were left out; {'; '.join(counts.examples)}"
        if counts.repeated:
            yield f"{counts.repeated:,} records have the id of an earlier one and were left out"
        if counts.unfinished:
            yield f"{counts.unfinished:,} requests have no last line; what is known of them was kept"
        if counts.others:
            yield f"{counts.others:,} records are no requests"
        if self.late:
            yield f"{self.late:,} requests arrived before the one above them in the log; rows are in order of arrival"
        if self.dropped:
            yield f"columns of text were dropped: {', '.join(self.dropped)}"
        yield from self.remains
        yield from (str(each) for each in self.findings)


def ready_made() -> dict[str, str]:
    """Return the names of the recipes of this package, and what each is for."""
    import tomllib

    folder = importlib.resources.files(__package__) / "recipes"
    texts = {each.name.removesuffix(".toml"): each.read_text(encoding="utf-8") for each in folder.iterdir()}
    return {name: tomllib.loads(text)["log"]["title"] for name, text in sorted(texts.items())}


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or a ready-made one by its name. Raises BadUse."""
    if Path(name).is_file():
        return Path(name)
    known = ready_made()
    if name not in known:
        raise BadUse(
            name,
            "is neither a file nor a ready-made recipe",
            there_are=", ".join(known),
            next="llm-traces import --list",
        )
    return Path(str(importlib.resources.files(__package__) / "recipes" / f"{name}.toml"))


def import_log(
    log: str | Path,
    recipe: str,
    output: str | Path,
    *,
    anonymise: bool = False,
    round_times: Time | None = None,
    max_broken: float = MAX_BROKEN,
) -> Requests:
    """Write the requests of a log to a Parquet file, a workload of one's own, and open it.

    recipe       a ready-made one, such as "vllm", or the path of one
    anonymise    salt the ids of sessions, drop text and dates; `LLM_TRACES_SALT` keeps ids equal between logs
    round_times  round times down to steps such as "1s"
    max_broken   the share of records that can't be read above which nothing is written

    Prompts are never kept. Warns of what was left out. Raises BadUse for a wrong recipe, and for a log that is not what
    the recipe describes.
    """
    archive = Archive.find_or_installed()
    report = run_import(
        archive, Path(log), recipe, Path(output), anonymise=anonymise, round_times=round_times, max_broken=max_broken
    )
    for note in report.notes():
        warn("import_log()", note)
    return open_requests(archive, str(output))


def run_import(
    archive: Archive,
    log: Path,
    recipe: str,
    output: Path,
    *,
    anonymise: bool = False,
    round_times: Time | None = None,
    max_broken: float = MAX_BROKEN,
) -> Report:
    """Write the requests of a log to a Parquet file; see `import_log`."""
    if not log.is_file():
        raise BadUse(str(log), "is missing" if not log.exists() else "is not a file")
    if output.suffix != ".parquet":
        raise BadUse(
            str(output), "the name does not end in .parquet, so that it would not open", next=f"-o {output}.parquet"
        )
    if not 0 <= max_broken <= 1:
        raise BadUse("--max-broken", f"{max_broken} is no share", expected="0 to 1")
    step = microseconds(round_times, "--round-times") if round_times is not None else 1
    if step < 1:
        raise BadUse("--round-times", f"{round_times} is no length of time")
    found, section = read_log_recipe(find_recipe(recipe), _trace_of(archive, output), NAME, archive.canonical)
    dropped: tuple[str, ...] = ()
    if anonymise:
        for package in ("detect_secrets", "stdnum"):
            require(package, "release", "the check of an anonymised log")
        found, dropped = _without_texts(found)
    job = _Import(archive, log, found, section, anonymise, max_broken)
    with write_output(output) as part, tempfile.TemporaryDirectory(dir=part.parent) as folder:
        rows = Path(folder) / "rows.parquet"
        late = job.write_rows(rows)
        job.write_sorted(rows, part, step)
    if not anonymise:
        return Report(output, job.rows, job.counts, late)
    with Table(output) as table:
        findings = tuple(each for each in check_columns(table, job.table_schema) if not each.holds)
    return Report(output, job.rows, job.counts, late, dropped, tuple(_remains(found, step)), findings)


def _trace_of(archive: Archive, output: Path) -> str:
    """Return what the trace of a file is called: as the file, unless a trace of the archive is."""
    name = re.sub(r"[^a-z0-9]+", "-", output.stem.lower()).strip("-") or NAME
    return f"my-{name}" if name in archive.recipes else name


class _Import:
    """One log on its way to a file."""

    def __init__(
        self,
        archive: Archive,
        log: Path,
        recipe: Recipe,
        section: Mapping[str, Any],
        anonymise: bool,
        max_broken: float,
    ) -> None:
        self.archive, self.log, self.recipe, self.section = archive, log, recipe, section
        self.anonymise, self.max_broken = anonymise, max_broken
        self.workload: Workload = recipe.workloads[0]
        self.file: UpstreamFile = self.workload.files[0]
        self.table_schema = table_schema(recipe.name, recipe.kinds["request"], archive.canonical, [self.workload])
        self.schema = arrow_schema(self.table_schema)
        self.kinds = {name: self.schema.field(rule.column).type for rule in self.file.rules for name in rule.sources}
        self.salt = os.environ.get(SALT, "").encode()[:64] or secrets.token_bytes(32)
        self.counts = Counts()
        self.rows = 0
        self.base = 0

    # -- records to rows ----------------------------------------------------------------------------------------------

    def write_rows(self, path: Path) -> int:
        """Write the rows in the order of the log; return how many arrived before the one above them."""
        canonicaliser = Canonicaliser(self.workload, self.table_schema)
        records = self._fields(read_records(self.log, self.section, self.counts))
        late, last = 0, -(1 << 62)
        with pq.ParquetWriter(path, self.schema) as writer:
            while batch := list(itertools.islice(records, ROWS)):
                for rows in self._convert(canonicaliser, batch):
                    writer.write_batch(rows)
                    self.rows += rows.num_rows
                    for arrival in rows.column("arrival_us").drop_null().to_pylist():
                        late += arrival < last
                        last = arrival
                self._refuse(len(batch) == ROWS)
        self._refuse(False)
        if not self.rows:
            seen = ", ".join(f"{key} ({count:,})" for key, count in self.counts.keys.most_common(8))
            raise BadUse(
                str(self.log),
                "has no request that the recipe describes",
                records=f"{self.counts.others:,} of other kinds, {self.counts.broken:,} that can't be read",
                keys=seen,
                reason="; ".join(self.counts.examples),
                next="llm-traces import --list",
            )
        return late

    def _refuse(self, is_going_on: bool) -> None:
        """Raise BadUse if too many records are broken."""
        counts = self.counts
        records = counts.broken + self.rows
        if counts.broken <= self.max_broken * records or (is_going_on and records < _CERTAIN):
            return
        raise BadUse(
            str(self.log),
            f"{counts.broken:,} of {records:,} records can't be read, which is more than {self.max_broken:.2%}",
            found="\n".join(counts.examples),
            next="fix the recipe, or accept more: --max-broken 0.1; nothing was written",
        )

    def _fields(self, records: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
        """Yield the fields that the recipe maps, by name."""
        fields, wanted = Fields(self.section), [rule for rule in self.file.rules if rule.source != "@blocks"]
        needed = [name for rule in wanted if rule.column == "arrival_us" for name in rule.sources]
        names = [name for rule in wanted for name in rule.sources]
        sessions = [name for rule in wanted if rule.column == "session_id" for name in rule.sources]
        prompt = self.section.get("prompt", {})
        blocks = BlockIds(self.salt, prompt.get("tokens") or prompt.get("bytes", 1), are_tokens="tokens" in prompt)
        for place, record in records:
            try:
                row = {name: fields.value(record, name) for name in names}
                if missing := [name for name in needed if row[name] is None]:
                    raise Broken(f"'{missing[0]}' has no value")
                for name in sessions if self.anonymise else ():
                    row[name] = None if row[name] is None else self._secret(str(row[name]))
                if prompt:
                    found = next((v for each in prompt["from"] if (v := find(record, each)) is not None), None)
                    row["@blocks"] = None if found is None else blocks(found)
            except (Broken, ValueError) as broken:
                self.counts.requests -= 1
                self.counts.add_broken(place, str(broken)[:120])
                continue
            yield place, row

    def _secret(self, text: str) -> str:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self.salt, digest_size=10).hexdigest()

    def _convert(self, canonicaliser: Canonicaliser, batch: list[tuple[str, Record]]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of records, without those that can't be converted."""
        names = [name for rule in self.file.rules for name in rule.sources]
        while batch:
            arrays = [_array([row[name] for _, row in batch], self.kinds[name]) for name in names]
            source = FileRows(self.file, Layout("jsonl"), iter([pa.RecordBatch.from_arrays(arrays, names=names)]))
            try:
                yield from canonicaliser.convert(source)
                return
            except BadRow as bad:
                self.counts.requests -= 1
                self.counts.add_broken(batch[bad.row][0], bad.reason)
                batch = batch[: bad.row] + batch[bad.row + 1 :]
                if self.counts.broken > _CERTAIN:
                    self._refuse(True)
            except BadUpstream as error:
                raise BadUse(str(self.log), error.message, **error.details) from None

    # -- rows to the file ---------------------------------------------------------------------------------------------

    def write_sorted(self, rows: Path, path: Path, step: int) -> None:
        """Write the rows in the order of arrival, from 0, with the turns of their sessions."""
        first = self._first_arrival(rows)
        is_dated = first >= DATED and not self.anonymise
        start = first // 1_000_000 * 1_000_000 if is_dated else first
        has = {rule.column for rule in self.file.rules}
        order = "segment, arrival_us, request_id" if "arrival_us" in has else "segment, request_id"
        changed = {"request_id": f"row_number() OVER (ORDER BY {order}) - 1"}
        if "arrival_us" in has:
            changed["arrival_us"] = f"arrival_us - {start}"
        if "session_id" in has:
            turn = f"row_number() OVER (PARTITION BY segment, session_id ORDER BY {order})"
            changed["turn"] = f"CASE WHEN session_id IS NOT NULL THEN {turn} END"
        for name in _TIMES if step > 1 else ():
            value = changed.get(name, name)
            changed[name] = f"(({value}) // {step}) * {step}"
        columns = ", ".join(f"{changed[n]} AS {n}" if n in changed else quote_name(n) for n in self.schema.names)
        sql = f"SELECT * FROM (SELECT {columns} FROM read_parquet({quote(str(rows))})) ORDER BY request_id"
        facts = self._facts(start if is_dated else None)
        with ParquetSink(path, self.schema, facts) as sink:
            for batch in database().cursor().sql(sql).to_arrow_reader(1 << 17):
                sink.write(cast_batch(batch, self.schema))

    def _first_arrival(self, rows: Path) -> int:
        query = f"SELECT min(arrival_us) FROM read_parquet({quote(str(rows))})"
        ((first,),) = database().cursor().sql(query).fetchall()
        return int(first or 0)

    def _facts(self, start: int | None) -> dict[str, str]:
        """Return what the file says of itself: as a saved workload does, and what it was imported from."""
        text = self.recipe.file.read_text(encoding="utf-8")
        imported: dict[str, Any] = {"recipe": text, "requests": self.rows, "left_out": self.counts.broken}
        name = self.recipe.name
        if not self.anonymise:
            imported |= {"sha256": hash_file(self.log)[0], "name": self.log.name}
        origin = Origin(
            f"{name}/{NAME}",
            "",
            hashlib.sha256(text.encode()).hexdigest(),
            self.workload.licence,
            self.workload.redistribute,
            self.workload.cite,
            str(self.workload.properties.get("arrivals", "absent")),
        )
        said = {
            "schema_version": str(self.archive.canonical["version"]),
            "licence": origin.licence,
            "citation": origin.citation,
            "arrivals": origin.arrivals,
            "epoch": "" if start is None else datetime.fromtimestamp(start / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            KEY: json.dumps(
                {
                    "chain": f"{IMPORTED}{imported.get('name', NAME)!r}, {name!r})",
                    "origins": [origin.as_dict()],
                    "versions": {
                        each: importlib.metadata.version(each) for each in ("llm-trace-archive", "duckdb", "pyarrow")
                    },
                    "imported": imported,
                },
                sort_keys=True,
                ensure_ascii=False,
            ),
        }
        return {key: value for key, value in said.items() if value}


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return fields as transforms take them: lists and bools for such columns, text for others."""
    if pa.types.is_list(kind) or pa.types.is_boolean(kind):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, TypeError):
            pass
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(texts, pa.string())


def _without_texts(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """Return a recipe without its own columns of text, and their names; categories stay."""
    kind = recipe.kinds["request"]
    texts = tuple(each.name for each in kind.columns if each.type in ("string", "list<string>"))
    workload = recipe.workloads[0]
    file = replace(workload.files[0], rules=tuple(r for r in workload.files[0].rules if r.column not in texts))
    kept = replace(kind, columns=tuple(each for each in kind.columns if each.name not in texts))
    columns = tuple(each for each in workload.columns if each[0] not in texts)
    return replace(
        recipe, kinds={**recipe.kinds, "request": kept}, workloads=(replace(workload, files=(file,), columns=columns),)
    ), texts


def _remains(recipe: Recipe, step: int) -> Iterator[str]:
    """Yield what could still identify someone in an anonymised file."""
    columns = {rule.column for rule in recipe.workloads[0].files[0].rules}
    kind = recipe.kinds["request"]
    if "arrival_us" in columns:
        yield f"still there: times since the first request, to {step:,} us, by whose gaps requests can be found again"
    if {"input_tokens", "output_tokens"} & columns:
        yield "still there: numbers of tokens; who has the same prompts can recognise a sequence of them"
    if names := sorted(
        {"model", "request_type"} & columns | {c.name for c in kind.columns if c.type.startswith("dict")}
    ):
        yield f"still there: {', '.join(names)} as the log spells them; look at their values"
