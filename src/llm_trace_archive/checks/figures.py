"""Expectations and published figures of a recipe, against the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.recipe import View, Workload
from ..core.table import Table
from .relations import check_relations
from .result import NOTHING, Result, Value

HOUR_US = 3_600_000_000


def check_figures(workload: Workload, table: Table) -> Iterator[Result]:
    """Check every expectation and published figure of a workload. Raises one of `UNREADABLE`."""
    source = f"recipes/{workload.trace}.toml, expect"
    for name, value in workload.expect.items():
        figures = _expectations({name: value}, table, workload.properties, source)
        yield from _computable(figures, "expectations", name, source)
    yield from published_figures(workload, table)
    for view in workload.views:
        if view.removes is not None:
            name = f"rows that view {view.name} removes"
            yield Result("expectations", name, view.removes, view.tolerance, _removed(view, table), view.source)


def published_figures(workload: Workload, table: Table) -> Iterator[Result]:
    """Yield each published figure of a workload beside the one found. Raises one of `UNREADABLE`."""
    for each in workload.published:
        yield from _computable(_published(each, table), "published", each["figure"], each["source"])


def _computable(figures: Iterator[Result], check: str, name: str, source: str) -> Iterator[Result]:
    """Yield results; where columns are missing or of the wrong type for a figure, one that says so."""
    try:
        yield from figures
    except (KeyError, TypeError, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        yield Result(check, name, "a figure of this table", 0, f"can't be computed: {error}"[:200], source)


def _expectations(
    expect: Mapping[str, Any], table: Table, properties: Mapping[str, Any], source: str
) -> Iterator[Result]:
    def figure(name: str, expected: Value, found: Value | None, column: str = "") -> Result:
        return Result("expectations", name, expected, 0, NOTHING if found is None else found, source, column)

    if "rows" in expect:
        yield figure("rows", expect["rows"], table.rows)
    if "arrivals" in expect:
        yield figure("order of arrivals", expect["arrivals"], _order(table, expect["arrivals"]))
    if "relations" in expect:
        yield from check_relations(expect["relations"], table, properties, source)
    if "segments" in expect:
        yield figure("segments", expect["segments"], len(table.flat("segment").unique()))
    for name, count in expect.get("count", {}).items():
        yield figure(f"count of {name}", count, _count(table, name), name)
    for name, count in expect.get("distinct", {}).items():
        yield figure(f"distinct {name}", count, len(table.flat(name).unique()), name)
    for name, total in expect.get("sum", {}).items():
        yield figure(f"sum of {name}", total, pc.sum(table.flat(name)).as_py(), name)
    for name, (low, high) in expect.get("range", {}).items():
        found = pc.min_max(table.flat(name)).as_py()
        yield figure(f"smallest {name}", low, found["min"], name)
        yield figure(f"largest {name}", high, found["max"], name)
    for end, word in (("min", "smallest"), ("max", "largest")):
        for name, value in expect.get(end, {}).items():
            yield figure(f"{word} {name}", value, pc.min_max(table.flat(name)).as_py()[end], name)
    for name, values in expect.get("values", {}).items():
        counted = {str(each["values"]): each["counts"] for each in table.flat(name).value_counts().to_pylist()}
        for value in sorted({*values, *counted}):
            yield figure(f"rows with {name} {value}", values.get(value, 0), counted.get(value, 0), name)


def _removed(view: View, table: Table) -> Value:
    """Return how many rows a view removes, or why its rule can't be read."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            rows = connection.read_parquet(str(table.path))
            return table.rows - len(rows.filter(view.where).project("request_id"))
    except duckdb.Error as error:
        return str(error).partition("\n")[0]


def _count(table: Table, name: str) -> int:
    values = table.flat(name)
    return int(pc.sum(values).as_py() or 0) if pa.types.is_boolean(values.type) else len(values)


def _order(table: Table, expected: str) -> str:
    """Return the strictest order that holds, or the row of the first inversion; between segments there is none."""
    arrivals = table.column("arrival_us").combine_chunks()
    if len(arrivals) < 2:
        return expected
    steps = pc.subtract(arrivals[1:], arrivals[:-1])
    segment = table.column("segment").combine_chunks()
    steps = pc.if_else(pc.equal(segment[1:], segment[:-1]), steps, None)
    inversion = pc.index(pc.fill_null(pc.less(steps, 0), False), True).as_py()
    if inversion >= 0:
        return f"decreasing at row {inversion + 1:,}"
    return "non-decreasing" if expected == "non-decreasing" or pc.min(steps).as_py() == 0 else "strictly increasing"


def _published(each: Mapping[str, Any], table: Table) -> Iterator[Result]:
    figure, column = each["figure"], each.get("column", "")
    name = figure + (f" {each['q']:g}" if "q" in each else "") + (f" of {column}" if column else "")
    if "window_s" in each:
        name += " from {:,} to {:,} s".format(*each["window_s"])
    if "share" in each:
        name += f" at {each['share']:.0%} of the blocks"
    if "blocks" in each:
        name += f" at {each['blocks']:,} blocks"
    if "by" not in each:
        try:
            found = STATISTICS[figure](table, column, each)
        except TypeError:  # Arrow returns None for no values
            found = NOTHING
        value = NOTHING if found is None else found
        yield Result("published", name, each["value"], each["tolerance"], value, each["source"], column)
        return
    if figure in BY_SESSION:
        by_session = BY_SESSION[figure](table)
        for key, value in each["value"].items():
            found = by_session.get(key, "no such rows")
            where = f"{name} where {each['by']} is {key}"
            yield Result("published", where, value, each["tolerance"], found, each["source"], column)
        return
    keys = table.column(each["by"])
    needed = [column] if column else ["output_tokens", "latency_us"]
    columns = {need: table.column(need) for need in needed}
    for key, value in each["value"].items():
        mask = pc.equal(pc.cast(keys, pa.string()), key)
        part = {need: values.filter(mask) for need, values in columns.items()}
        found = BY_GROUP[figure](part, column) if len(next(iter(part.values()))) else "no such rows"
        where = f"{name} where {each['by']} is {key}"
        yield Result("published", where, value, each["tolerance"], found, each["source"], column)


def _median_high(values: pa.ChunkedArray) -> float:
    ordered = pc.sort_indices(values)
    return float(values.take(ordered)[len(values) // 2].as_py())


def _median(values: pa.ChunkedArray) -> float:
    return float(pc.quantile(values, 0.5)[0].as_py())


BY_GROUP: dict[str, Callable[[dict[str, pa.ChunkedArray], str], float]] = {
    "median": lambda part, column: _median(part[column]),
    "median_high": lambda part, column: _median_high(part[column]),
    # Output tokens per second of the whole latency, the median over the requests.
    "median_output_rate": lambda part, _: _median(
        pc.divide(
            pc.multiply(pc.cast(part["output_tokens"], pa.float64()), 1e6), pc.cast(part["latency_us"], pa.float64())
        )
    ),
}


def _hourly(table: Table) -> pa.Array:
    hours = pc.divide(table.flat("arrival_us"), HOUR_US)
    return pc.value_counts(hours.combine_chunks()).field("counts")


def _turns(table: Table) -> pa.Array:
    return pc.value_counts(table.flat("session_id").combine_chunks()).field("counts")


def session_hits(table: Table) -> pa.Array:
    """Return, for each session, the share of its prompt blocks that lead the previous prompt as well.

    These are the hits of a cache of one prompt. A sub-agent is a conversation of its own within its session, and the
    first prompt of a conversation hits nothing. Read row group by row group, as ids are many.
    """
    if "session_hits" in table.memo:
        return table.memo["session_hits"]
    names = [name for name in ("session_id", "agent_id", "hash_ids") if name in table.names]
    previous: dict[tuple[str, ...], pa.Array] = {}
    hits: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    for _, batch in table.groups(names):
        *keys, prompts = (batch.column(name) for name in names)
        for index, key in enumerate(zip(*(each.to_pylist() for each in keys), strict=True)):
            ids = prompts[index].values
            hits[key[0]] += _count_shared(previous.get(key), ids)
            blocks[key[0]] += len(ids)
            previous[key] = ids
    table.memo["session_hits"] = pa.array([hits[each] / blocks[each] for each in blocks if blocks[each]])
    return table.memo["session_hits"]


def _model_hits(table: Table) -> dict[str, tuple[int, float, float]]:
    """Return, for each session, its rows, and the shares of prompt blocks that hit by two measures.

    Each model of a session has a cache of its own, and its first prompt counts neither as hits nor as blocks. One
    measure counts the blocks that lead the previous prompt as well, the other the leading blocks seen in any earlier
    prompt. The rows of a session stand together. Read row group by row group.
    """
    if "model_hits" in table.memo:
        return dict(table.memo["model_hits"])
    found: dict[str, tuple[int, float, float]] = {}
    counts, previous, seen = Counter[str](), dict[str, list[int]](), dict[str, set[int]]()
    session = None
    for _, batch in table.groups(["session_id", "model", "hash_ids"]):
        for key, model, ids in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if key != session:
                if key in found:
                    raise TypeError(f"the rows of session {key} don't stand together")
                session, counts, previous, seen = key, Counter(), {}, {}
            counts["rows"] += 1
            if model in previous:
                pairs = enumerate(zip(ids, previous[model], strict=False))
                counts["blocks"] += len(ids)
                counts["same"] += next((n for n, (a, b) in pairs if a != b), min(len(ids), len(previous[model])))
                counts["seen"] += next((n for n, each in enumerate(ids) if each not in seen[model]), len(ids))
            previous[model] = ids
            seen.setdefault(model, set()).update(ids)
            blocks = counts["blocks"] or 1
            found[key] = counts["rows"], counts["same"] / blocks, counts["seen"] / blocks
    table.memo["model_hits"] = found
    return found


BY_SESSION: dict[str, Callable[[Table], dict[str, float]]] = {
    "rows": lambda table: {key: rows for key, (rows, _, _) in _model_hits(table).items()},
    "same_model_hit": lambda table: {key: same for key, (_, same, _) in _model_hits(table).items()},
    "seen_hit": lambda table: {key: seen for key, (_, _, seen) in _model_hits(table).items()},
}


def _count_shared(previous: pa.Array | None, ids: pa.Array) -> int:
    """Return how many leading ids two prompts share."""
    if previous is None:
        return 0
    length = min(len(previous), len(ids))
    difference = pc.index(pc.not_equal(previous[:length], ids[:length]), True).as_py()
    return length if difference < 0 else int(difference)


def _succeeded(table: Table) -> pa.ChunkedArray:
    return pc.invert(table.column("failed"))


def _succeeded_per_s(table: Table, start: float, end: float) -> float:
    """Return the requests per second that arrived in [start, end), in seconds of the trace, and did not fail."""
    arrivals = table.column("arrival_us")
    inside = pc.and_(pc.greater_equal(arrivals, int(start * 1e6)), pc.less(arrivals, int(end * 1e6)))
    return float(pc.sum(pc.and_(inside, _succeeded(table))).as_py() / (end - start))


def _span_s(table: Table) -> float:
    ends = pc.min_max(table.flat("arrival_us")).as_py()
    return (int(ends["max"]) - int(ends["min"])) / 1e6


def _hit_ratio(table: Table, each: Mapping[str, Any]) -> float | str:
    """The hit ratio by leading runs of ids, each segment with a cache of its own."""
    from ..analysis.prefix import hit_ratios

    shares, blocks = ([each[key]] if key in each else [] for key in ("share", "blocks"))
    segments = table.column("segment") if "segment" in table.names else None
    reuse = hit_ratios(table.column("hash_ids"), shares, blocks=blocks, segments=segments)
    if reuse is None:
        return NOTHING
    return next(iter((*reuse.by_share.values(), *reuse.by_blocks.values())), reuse.unlimited)


STATISTICS: dict[str, Callable[[Table, str, Mapping[str, Any]], Value]] = {
    "rows": lambda table, _column, _each: table.rows,
    "mean": lambda table, column, _: float(pc.mean(table.flat(column)).as_py()),
    "median": lambda table, column, _: _median(table.flat(column)),
    "percentile": lambda table, column, each: float(pc.quantile(table.flat(column), each["q"] / 100)[0].as_py()),
    "sd": lambda table, column, _: float(pc.stddev(table.flat(column), ddof=1).as_py()),
    "min": lambda table, column, _: pc.min(table.flat(column)).as_py(),
    "max": lambda table, column, _: pc.max(table.flat(column)).as_py(),
    "count": lambda table, column, _: _count(table, column),
    "distinct": lambda table, column, _: len(table.flat(column).unique()),
    "span_s": lambda table, _column, _each: _span_s(table),
    "hourly_min": lambda table, _column, _each: pc.min(_hourly(table)).as_py(),
    "hourly_max": lambda table, _column, _each: pc.max(_hourly(table)).as_py(),
    "turns_mean": lambda table, _column, _each: float(pc.mean(_turns(table)).as_py()),
    "turns_median": lambda table, _column, _each: _median(_turns(table)),
    "turns_min": lambda table, _column, _each: pc.min(_turns(table)).as_py(),
    "turns_percentile": lambda table, _column, each: float(pc.quantile(_turns(table), each["q"] / 100)[0].as_py()),
    "single_turns": lambda table, _column, _each: pc.sum(pc.equal(_turns(table), 1)).as_py(),
    "succeeded": lambda table, _column, _each: pc.sum(_succeeded(table)).as_py(),
    "succeeded_per_s": lambda table, _column, each: _succeeded_per_s(table, *each["window_s"]),
    "turns_max": lambda table, _column, _each: pc.max(_turns(table)).as_py(),
    "session_hit_mean": lambda table, _column, _each: float(pc.mean(session_hits(table)).as_py()),
    "session_hit_median": lambda table, _column, _each: _median(session_hits(table)),
    "session_hit_percentile": lambda table, _column, each: float(
        pc.quantile(session_hits(table), each["q"] / 100)[0].as_py()
    ),
    "session_hit_min": lambda table, _column, _each: pc.min(session_hits(table)).as_py(),
    "session_hit_max": lambda table, _column, _each: pc.max(session_hits(table)).as_py(),
    "prefix_hit_ratio": lambda table, _column, each: _hit_ratio(table, each),
    "lru_hit_ratio": lambda table, _column, each: _hit_ratio(table, each),
}
