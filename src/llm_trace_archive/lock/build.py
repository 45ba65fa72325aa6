"""The whole build of a workload on one page: fetch, verify, convert, prove, check, compare with the lock, store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.archive import Archive
from ..core.errors import BadUpstream, BadUse, Problem
from ..core.extras import DISTRIBUTION, pinned_version
from ..core.files import hash_file, replacing, temporary
from ..core.recipe import UpstreamFile, Workload
from ..core.table import Table
from ..upstream.sources import Sources


@dataclass(frozen=True)
class Built:
    """A checked Parquet file: its sha256 (hex), its size in bytes, and what the lock records about it."""

    workload: Workload
    sha256: str
    bytes: int
    upstream_bytes: int
    facts: Mapping[str, Any]
    provenance: Mapping[str, Any]


def build(archive: Archive, workload: Workload, sources: Sources) -> Built:
    """Build a workload into the archive's data folder. Raises Problem, and then keeps the old content."""
    from ..core import links

    originals = _fetch(workload, sources)
    path = archive.root / workload.path
    with _report_disk_problems(path), temporary(path) as part:
        built = _make(archive, workload, part, originals, sources)
        _compare_with_lock(archive, built)
        links.store(archive.root, workload.path, part, built.sha256, built.bytes)
    return built


def build_file(
    archive: Archive,
    workload: Workload,
    target: Path,
    sources: Sources,
    accept: Callable[[Built], None] = lambda built: None,
) -> Built:
    """Build a workload into any file, which appears only when it is complete and checked.

    accept  called before that; may raise Problem to refuse what was built

    Raises Problem, and then leaves `target` as it was.
    """
    originals = _fetch(workload, sources)
    with _report_disk_problems(target), replacing(target) as part:
        built = _make(archive, workload, part, originals, sources)
        accept(built)
    return built


def build_all(
    archive: Archive,
    workloads: list[Workload],
    sources: Sources,
    jobs: int = 1,
    on_done: Callable[[Workload, Built | Problem], None] | None = None,
) -> list[Built | Problem]:
    """Build workloads, `jobs` at a time, and return their results in order; one that fails does not stop the others."""
    results: dict[str, Built | Problem] = {}
    stop = sources.stop or threading.Event()
    sources = replace(sources, stop=stop)

    def one(workload: Workload) -> Built | Problem:
        try:
            return build(archive, workload, sources)
        except Problem as problem:
            if problem.subject in {file.trace for file in workload.files}:
                problem.subject = str(workload)  # fetching knows traces only
            return problem

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = {pool.submit(one, workload): workload for workload in workloads}
        try:
            for future in as_completed(futures):
                results[str(futures[future])] = future.result()
                if on_done:
                    on_done(futures[future], future.result())
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [results[str(workload)] for workload in workloads]


def _fetch(workload: Workload, sources: Sources) -> dict[str, Path]:
    from ..convert.formats.registry import package_versions

    package_versions(workload)  # raises for a missing package before anything is fetched
    return {file.name: sources.get(file) for file in workload.files}


@contextmanager
def _report_disk_problems(target: Path) -> Iterator[None]:
    """Raise BadUse if the disk refuses to hold `target`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno is None:  # not from the disk
            raise
        where = error.filename or target.parent
        raise BadUse(
            str(target.parent),
            f"can't be written: {error.strerror or error}",
            path=str(where),
            kept="the old content; nothing is half-written",
            next="free some space or fix the permissions, then run the same command again",
        ) from None


def _make(archive: Archive, workload: Workload, part: Path, originals: Mapping[str, Path], sources: Sources) -> Built:
    import pyarrow as pa

    from ..convert.formats.registry import package_versions
    from ..convert.table import write_proven_table

    left_out = write_proven_table(workload, archive.schema(workload), originals, part, sources.stop)
    with Table(part) as table:
        _check_figures(workload, table)
        facts = _collect_facts(table)
    return Built(
        workload,
        *hash_file(part),
        sum(path.stat().st_size for path in originals.values()),
        facts,
        {
            "recipe": f"recipes/{workload.trace}.toml",
            "recipeDigest": workload.digest,
            "pins": _list_pins(workload, originals),
            **_name_left_out(archive, workload, left_out),
            "tools": {"llm-trace-archive": __version__, "pyarrow": pa.__version__} | package_versions(workload),
        },
    )


def _name_left_out(archive: Archive, workload: Workload, left_out: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the members of archives that no workload of the trace names, for the provenance."""
    files = [file for each in archive.recipe(workload.trace).workloads for file in each.files]
    unnamed = {
        name: [member for member in members if not any(file.member(member) for file in files if file.name == name)]
        for name, members in left_out.items()
    }
    unnamed = {name: members for name, members in unnamed.items() if members}
    return {"leftOut": unnamed} if unnamed else {}


def _list_pins(workload: Workload, originals: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return the pins of a workload's files; for a list of files, its own pin and a summary.

    `contents` of a summary is the sha256 of what `sha256sum` prints for the files, in their order.
    """
    pins = [_make_pin(file, originals[file.name]) for file in workload.files]
    if workload.listed is None:
        return pins
    sums = "".join(f"{pin['sha256']}  {pin['file']}\n" for pin in pins)
    return [
        {
            "list": workload.listed.path,
            "sha256": workload.listed.sha256,
            "files": len(pins),
            "bytes": sum(pin["bytes"] for pin in pins),
            "contents": hashlib.sha256(sums.encode()).hexdigest(),
        }
    ]


def _make_pin(file: UpstreamFile, path: Path) -> dict[str, Any]:
    sha256, size = (file.sha256, path.stat().st_size) if file.sha256 else hash_file(path)
    pin = {"file": file.name, "url": file.url, "sha256": sha256, "bytes": size}
    if file.git_blob:
        pin["git_blob"] = file.git_blob
    return pin if file.pin else pin | {"unpinned": True}


def _check_figures(workload: Workload, table: Table) -> None:
    from ..checks.figures import check_figures

    broken = [figure for figure in check_figures(workload, table) if not figure.holds]
    if broken:
        raise BadUpstream(
            str(workload),
            f"the table contradicts recipes/{workload.trace}.toml",
            found="\n".join(str(figure) for figure in broken),
            next=f"if the recipe is wrong, correct it, then: llm-traces build {workload}",
        )


def _collect_facts(table: Table) -> dict[str, Any]:
    """Return the facts about a table's rows that the lock records, so that `list` and `info` need no data."""
    import pyarrow.compute as pc

    facts: dict[str, Any] = {"rows": table.rows}
    for name in ("arrival_us", "sampled_us"):
        if name in table.names:
            facts["segments"] = _segments(table, name)
    if "failed" in table.names:  # a table of requests
        for name in ("input_tokens", "output_tokens"):
            facts[name] = pc.sum(table.column(name)).as_py()
        failed = table.column("failed")
        facts["failures"] = pc.sum(failed).as_py() if failed.null_count < table.rows else None
        for name in ("session_id", "hash_ids", "latency_us", "ttft_us"):
            # Row group by row group, as lists may be long.
            facts[f"has_{name}"] = any(batch.column(0).null_count < len(batch) for _, batch in table.groups([name]))
            if name == "session_id" and facts["has_session_id"]:
                facts["sessions"] = len(table.flat(name).unique())
    return facts


def _segments(table: Table, clock: str) -> list[dict[str, int | None]]:
    """Return rows, first and last time of each segment, in order; a table without segments is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = table.column(clock)
    numbers = table.column("segment") if "segment" in table.names else pa.repeat(pa.scalar(0), len(times))
    ends = pa.table({"segment": numbers, "us": times}).group_by("segment", use_threads=False)
    found = (
        ends.aggregate([("us", "count", pc.CountOptions(mode="all")), ("us", "min"), ("us", "max")])
        .sort_by("segment")
        .to_pylist()
    )
    return [{"rows": each["us_count"], "first_us": each["us_min"], "last_us": each["us_max"]} for each in found]


def _compare_with_lock(archive: Archive, built: Built) -> None:
    """Raise Problem if the bytes differ from the lock's though recipe and tools are the same, or because of pyarrow."""
    locked = archive.locked.get(str(built.workload))
    if not locked or locked["hash"] == f"sha256:{built.sha256}":
        return
    was, now = locked["provenance"], built.provenance
    if was["recipeDigest"] != now["recipeDigest"]:
        return
    details = {"expected": locked["hash"], "got": f"sha256:{built.sha256}", "kept": "the old content and the lock"}
    if was["tools"] == now["tools"]:
        raise BadUpstream(
            str(built.workload),
            "the build is not deterministic: the recipe, pins and tools of the lock gave other bytes",
            **details,
            next="please report this",
        )
    theirs, ours, pinned = was["tools"]["pyarrow"], now["tools"]["pyarrow"], pinned_version("pyarrow", "build")
    if theirs != ours != pinned:
        raise BadUse(
            str(built.workload),
            f"pyarrow {ours} writes other bytes than pyarrow {theirs}, which made the lock",
            **details,
            next=f"pip install '{DISTRIBUTION}[build]', then run the same command again",
        )
