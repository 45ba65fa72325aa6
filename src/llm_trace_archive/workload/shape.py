"""Shape a workload: windows, rates, samples, repetitions and merges, each a step from one lazy table to the next.

Every step is SQL over the rows before it, keeps them in the order of `request_id`, and gives the same rows each time. A
step that changes the order of arrival or copies requests numbers them anew. What a step needs to know (when the first
request arrives, whether there are sessions) is read when it is called, so that a wrong one fails at once.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import duckdb

from ..core.errors import BadUse
from ..core.schema import arrow_schema
from ..core.sql import ROWS, quote, quote_name
from .notes import ramp
from .origin import Origin
from .records import Records, Source
from .times import Time, duration, microseconds, since_epoch

if TYPE_CHECKING:
    import pyarrow as pa

DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
LARGEST_FAMILY = 0.25  # of the share that stays; a sample depends on a family that is larger
NEARLY_EMPTY = 0.2  # of the rate of the whole


class ShapeWarning(UserWarning):
    """Something that spoils a benchmark unless it is meant."""


@dataclass(frozen=True)
class Span:
    """The requests of a segment that have an arrival, and the first and the last arrival in microseconds."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True)
class Family:
    """Requests that share their first `depth` blocks: how many families there are, and the share of the largest."""

    depth: int
    count: int
    largest: float


@dataclass(frozen=True)
class Merged(Source):
    """Workloads on one clock, as `merge` makes them, with the canonical columns; `chain` says how, of which tables."""

    chain: str = ""
    parts: tuple[Source, ...] = ()

    @property
    def epoch(self) -> str | None:
        """None: merged clocks have no common date."""
        return None

    @property
    def run(self) -> tuple[str, ...]:
        """The segment alone: all workloads share a clock and a cache."""
        return ("segment",)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Those of all parts, each once."""
        return tuple(dict.fromkeys(origin for part in self.parts for origin in part.origins))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the canonical columns."""
        return arrow_schema(self.archive.canonical)


class Shaping(Records):
    """A lazy table of requests that can be shaped."""

    # -- which requests ------------------------------------------------------------------------------------------------

    def filter(self, expression: str) -> Self:
        """Return the requests for which an SQL expression over the columns is true: "output_tokens > 0"."""
        step = f"filter({expression!r})"
        shaped = self.derive(f"SELECT * FROM {ROWS} WHERE (\n{expression}\n)", step)
        try:
            shaped.relation()
        except duckdb.Error as error:
            reason, _, rest = str(error).partition("\n")
            is_unknown = "not found in FROM clause" in reason
            raise BadUse(
                step,
                "is no condition on these rows",
                reason=reason,
                nearest=rest.splitlines()[0].removeprefix("Candidate bindings: ") if is_unknown and rest else "",
                columns=", ".join(self.schema.names) if is_unknown else "",
            ) from None
        return shaped

    def view(self, name: str) -> Self:
        """Return a clean view that the recipe names, such as "succeeded"; see `info` for those there are."""
        views = [{view.name: view for view in workload.views} for workload in self.source.workloads]
        common = {each: view for each, view in (views[0] if views else {}).items() if all(each in v for v in views)}
        rules = {known[name].where for known in views if name in known}
        if name not in common or len(rules) != 1:
            raise BadUse(
                ", ".join(self.names),
                f"there is no view '{name}'",
                there_are=", ".join(common) or "none for these rows",
            )
        return self.derive(f"SELECT * FROM {ROWS} WHERE ({rules.pop()})", f"view({name!r})")

    def window(
        self, start: Time = 0, end: Time | None = None, *, duration: Time | None = None, sessions: str = "whole"
    ) -> Self:
        """Return the requests that arrive from `start` to before `end`, or within `duration`.

        start, end  since the first arrival of each segment, such as "30min", or dates if the arrivals have them
        sessions    "whole": all requests of a session whose first one is in the window, and none of other sessions;
                    "cut": exactly the requests in the window. Both warn of what lies outside.
        """
        until = f"{end!r}" if end is not None else f"duration={duration!r}"
        step = f"window({start!r}, {until}, sessions={sessions!r})"
        _one_of("sessions", sessions, ("whole", "cut"), step)
        if (end is None) == (duration is None):
            raise BadUse(step, "needs either an end or a duration")
        spans = self._spans(step)
        low = {segment: self._moment(start, span, step) for segment, span in spans.items()}
        if end is not None:
            high = {segment: self._moment(end, span, step) for segment, span in spans.items()}
        else:
            length = microseconds(duration or 0, step)
            high = {segment: at + length for segment, at in low.items()}
        if any(low[segment] >= high[segment] for segment in spans):
            raise BadUse(step, "ends before it starts, so no request can be in it")

        inside = f"(arrival_us >= {_by_segment(low)} AND arrival_us < {_by_segment(high)})"
        begins = f"arg_min(coalesce({inside}, false), request_id)"
        if sessions == "cut" or not self._count("session_id"):
            sql = f"SELECT * FROM {ROWS} WHERE {inside}"
        else:
            sql = (
                f"SELECT * FROM {ROWS} WHERE (session_id IS NULL AND {inside}) OR session_id IN ("
                f"SELECT session_id FROM {ROWS} WHERE session_id IS NOT NULL GROUP BY session_id HAVING {begins}"
                ") ORDER BY request_id"
            )
        shaped = self.derive(sql, step)
        counts = self.fetch(f"SELECT segment, count(*) FROM {ROWS} WHERE {inside} GROUP BY segment")
        if not counts or not shaped._count("*"):
            raise BadUse(step, "holds no request", arrivals=_shown(spans))
        self._warn_of_sessions(step, sessions, inside, begins, f"arrival_us < {_by_segment(low)}")
        for segment, rows in counts:
            span = spans[segment]
            self._warn_of_rate(step, segment, span, rows, low[segment], high[segment], inside)
        return shaped

    def limit(self, requests: int) -> Self:
        """Return the first requests."""
        step = f"limit({requests!r})"
        self.require_one_table(step)
        if requests < 1:
            raise BadUse(step, "must be at least 1")
        found = self.fetch(f"SELECT request_id FROM {ROWS} ORDER BY request_id LIMIT 1 OFFSET {int(requests) - 1}")
        if not found:
            return self.derive(f"SELECT * FROM {ROWS}", step)
        return self.derive(f"SELECT * FROM {ROWS} WHERE request_id <= {found[0][0]}", step)

    def max_context(self, tokens: int, how: str = "drop") -> Self:
        """Return requests whose prompt and answer fit into a context of so many tokens.

        how  "drop" leaves out those that don't fit. "clip" shortens their answer to less than the context, and then
             their prompt from the end, together with its blocks: to whole blocks, as part of a block has no id.
        """
        step = f"max_context({tokens!r}, {how!r})"
        self.require_one_table(step)
        _one_of("how", how, ("drop", "clip"), step)
        if tokens < 2:
            raise BadUse(step, "must be at least 2 tokens, for a prompt and an answer")
        context = "coalesce(input_tokens, 0) + coalesce(output_tokens, 0)"
        ((rows, known),) = self.fetch(f"SELECT count(*), count(input_tokens) FROM {ROWS}")
        if not known:
            raise BadUse(step, "needs input_tokens, which no request has")
        if known < rows:
            warn(step, f"{_requests(rows - known)} of unknown length are kept")
        if how == "drop":
            return self.derive(f"SELECT * FROM {ROWS} WHERE {context} <= {int(tokens)}", step)
        most = int(tokens) - 1
        answer = f"CASE WHEN output_tokens > {most} THEN {most} ELSE output_tokens END"
        room = f"({int(tokens)} - coalesce({answer}, 0))"
        fits = f"coalesce(input_tokens, 0) <= {room}"
        prompt = f"{room} // coalesce(block_tokens, 1) * coalesce(block_tokens, 1)"
        columns = {
            "input_tokens": f"CASE WHEN {fits} THEN input_tokens ELSE {prompt} END",
            "output_tokens": answer,
            "cached_tokens": f"CASE WHEN {fits} OR cached_tokens <= {prompt} THEN cached_tokens ELSE {prompt} END",
            "hash_ids": f"CASE WHEN {fits} THEN hash_ids ELSE hash_ids[1:{room} // block_tokens] END",
        }
        return self._replace(columns, step)

    def thin(self, share: float, by: str = "session", seed: int = 0, depth: int | None = None) -> Self:
        """Return a random share of the requests that keeps what belongs together.

        by     "request"; "session": whole sessions; "prefix": whole families of requests that share their first blocks
        seed   another one gives another sample
        depth  by "prefix": how many first blocks; by default as few as it takes for the largest family to be a quarter
               of the share or less

        The groups are ordered by their size, and of each 1 / share groups in a row one is drawn, so that large and
        small ones are kept in proportion. Requests without a session or ids are groups of their own.
        """
        step = f"thin({share!r}, by={by!r}, seed={seed!r})"
        self.require_one_table(step)
        _one_of("by", by, ("session", "prefix", "request"), step)
        if not 0 < share <= 1:
            raise BadUse(step, "the share must be above 0 and at most 1")
        if by == "session" and not self._count("session_id"):
            raise BadUse(step, "needs sessions, and no request has one", next="by='prefix' or by='request'")
        key, size = "request_id", "count(*)"
        if by == "session":
            key = "coalesce(session_id, chr(0) || request_id)"
        if by == "prefix":
            if not self._count("hash_ids"):
                raise BadUse(step, "needs prefix blocks, and no request has them", next="by='session' or by='request'")
            family = self.families(depth) if depth else self.families_for(share)
            step = f"thin({share!r}, by={by!r}, seed={seed!r}, depth={family.depth})"
            if family.largest > LARGEST_FAMILY * share:
                warn(step, f"the largest family has {family.largest:.1%} of the requests, so the sample depends on it")
            key, size = f"coalesce(hash_ids[1:{family.depth}], [-1 - request_id])", "sum(len(hash_ids))"
        if share == 1:
            return self.derive(f"SELECT * FROM {ROWS}", step)
        order = "first" if by == "request" else "size DESC, first"
        groups = f"SELECT {key} AS key, {size} AS size, min(request_id) AS first FROM {ROWS} GROUP BY ALL"
        if by == "request":
            groups = f"SELECT request_id AS key, request_id AS first FROM {ROWS}"
        # One of every 1 / share groups in a row stays; of a share above 1/2, one of 1 / (1 - share) goes.
        part, chosen = (share, "IN") if share <= 0.5 else (1 - share, "NOT IN")
        sql = f"""
            SELECT * FROM {ROWS} WHERE {key} {chosen} (
                SELECT arg_min(key, md5_number({quote(f"{seed}:")} || first)) FROM (
                    SELECT key, first, row_number() OVER (ORDER BY {order}) - 1 AS place FROM ({groups})
                ) GROUP BY floor(place * {part!r}::DOUBLE)
            ) ORDER BY request_id
        """
        return self.derive(sql, step)

    def families(self, depth: int) -> Family:
        """Return the families of requests that share their first `depth` blocks."""
        ((count, largest),) = self.fetch(
            f"SELECT count(*), max(size) / sum(size) FROM (SELECT count(*) AS size FROM {ROWS}"
            f" WHERE hash_ids IS NOT NULL GROUP BY hash_ids[1:{int(depth)}])"
        )
        return Family(depth, count, largest or 0.0)

    def families_for(self, share: float) -> Family:
        """Return the families of the least depth that suits a sample of this share; if none does, the smallest."""
        ((longest,),) = self.fetch(f"SELECT max(len(hash_ids)) FROM {ROWS}")
        best: Family | None = None
        for depth in DEPTHS:
            found = self.families(depth)
            if best is None or found.largest < best.largest:
                best = found
            if found.largest <= LARGEST_FAMILY * share or depth >= (longest or 0):
                break
        assert best is not None
        return best

    # -- when they arrive ----------------------------------------------------------------------------------------------

    def scale(self, rate: float | None = None, *, requests_per_s: float | None = None, sessions: str = "scale") -> Self:
        """Return the requests at `rate` times their rate, or at so many requests per second on average.

        sessions  "scale" changes all gaps; "keep" moves whole sessions, so that the gaps within one stay
        """
        given = f"rate={rate!r}" if rate is not None else f"requests_per_s={requests_per_s!r}"
        step = f"scale({given}, sessions={sessions!r})"
        _one_of("sessions", sessions, ("scale", "keep"), step)
        if (rate is None) == (requests_per_s is None):
            raise BadUse("scale", "needs either rate or requests_per_s")
        wanted = rate if rate is not None else requests_per_s or 0
        if not 0 < wanted < math.inf:
            raise BadUse(step, "must be above 0")
        spans = self._spans(step)
        if requests_per_s is not None:
            length = sum(span.last - span.first for span in spans.values())
            gaps = sum(span.rows - 1 for span in spans.values())
            if not length:
                raise BadUse(step, "needs requests that arrive at different times")
            rate = requests_per_s * length / 1e6 / gaps
        first = _by_segment({segment: span.first for segment, span in spans.items()})

        def scaled(column: str) -> str:
            return f"({first} + CAST(round(({column} - {first}) / {float(rate or 1)!r}::DOUBLE) AS BIGINT))"

        if sessions == "scale" or not self._count("session_id"):
            return self._replace({"arrival_us": scaled("arrival_us")}, step)
        moved = f"""
            SELECT {ROWS}.* REPLACE (
                CASE WHEN begin_us IS NULL THEN {scaled("arrival_us")}
                ELSE {scaled("begin_us")} + arrival_us - begin_us END AS arrival_us
            ) FROM {ROWS} LEFT JOIN (
                SELECT session_id, segment, min(arrival_us) AS begin_us FROM {ROWS}
                WHERE session_id IS NOT NULL GROUP BY ALL
            ) USING (session_id, segment)
        """
        return self.derive(_numbered(moved, "segment, arrival_us NULLS LAST, request_id"), step)

    def rebase(self) -> Self:
        """Return the requests with the first arrival of each segment at 0."""
        spans = self._spans("rebase()")
        first = _by_segment({segment: span.first for segment, span in spans.items()})
        return self._replace({"arrival_us": f"arrival_us - {first}"}, "rebase()")

    def shift(self, by: Time) -> Self:
        """Return the requests so much later, or earlier ("-10min")."""
        step = f"shift({by!r})"
        earlier = str(by).strip().startswith("-")
        us = microseconds(str(by).strip().removeprefix("-"), step) * (-1 if earlier else 1)
        spans = self._spans(step)
        if first := [span.first for span in spans.values() if span.first + us < 0]:
            raise BadUse(
                step,
                "moves arrivals before the epoch",
                expected=f"at most {duration(min(first))} earlier",
                next="rebase()",
            )
        return self._replace({"arrival_us": f"arrival_us + {us}"}, step)

    def repeat(self, until: Time, *, prefixes: str = "new") -> Self:
        """Return the requests again and again until so long after the first arrival.

        A copy follows the one before after an average gap. The sessions of a copy are new ones.

        prefixes  "new": the blocks of a copy are new, so that it hits nothing of the copies before; "same": they stay
        """
        step = f"repeat({until!r}, prefixes={prefixes!r})"
        _one_of("prefixes", prefixes, ("new", "same"), step)
        length = microseconds(until, step)
        span = self._one_segment(step)
        if span.rows < 2 or span.last == span.first:
            raise BadUse(step, "needs requests that arrive at different times")
        period = span.last - span.first + round((span.last - span.first) / (span.rows - 1))
        copies = -(-length // period)
        (ids,) = self.fetch(f"SELECT max(request_id), max(list_max(hash_ids)) FROM {ROWS}")
        hashes = f"CASE WHEN copy = 0 THEN hash_ids ELSE {_shifted(f'copy * {(ids[1] or 0) + 1}')} END"
        replaced = {
            "request_id": f"copy * {ids[0] + 1} + request_id",
            "arrival_us": f"arrival_us + copy * {period}",
            "session_id": "CASE WHEN copy = 0 THEN session_id ELSE session_id || '~' || copy END",
        } | ({"hash_ids": hashes} if prefixes == "new" else {})
        sql = f"""
            SELECT * EXCLUDE (copy) REPLACE ({_columns(replaced)})
            FROM {ROWS} CROSS JOIN range({copies}) AS copies (copy)
            WHERE arrival_us + copy * {period} < {span.first + length} ORDER BY request_id
        """
        return self.derive(sql, step)

    def merge(self, *others: Self) -> Self:
        """Return the requests of several tables in the order of arrival, as if one system had served them.

        Their clocks must be comparable: `rebase` them first if they are not. Sessions and prefix blocks of different
        tables are kept apart, and requests numbered anew. The result has the canonical columns.
        """
        step = f"merge({', '.join(each.chain for each in others)})"
        if not others:
            raise BadUse("merge()", "needs another table")
        tables = [self, *others]
        spans = [each._one_segment(step) for each in tables]
        if max(span.first for span in spans) > min(span.last for span in spans):
            warn(step, "the arrivals of the tables do not overlap: rebase() each of them to merge their beginnings")
        columns = ", ".join(map(quote_name, arrow_schema(self.source.archive.canonical).names))
        parts, offset = [], 0
        for number, table in enumerate(tables):
            replaced = {
                "session_id": f"{quote(f'{number}:')} || session_id",
                "hash_ids": _shifted(str(offset)) if offset else "hash_ids",
                "segment": "0::SMALLINT",
            }
            parts.append(
                f"SELECT {columns}, {number} AS part FROM (SELECT * REPLACE ({_columns(replaced)}) FROM ({table.sql}))"
            )
            ((largest,),) = table.fetch(f"SELECT max(list_max(hash_ids)) FROM {ROWS}")
            offset += 0 if largest is None else largest + 1
        workloads = {str(workload): workload for table in tables for workload in table.source.workloads}
        every = f"SELECT * FROM ({' UNION ALL '.join(parts)})"
        sql = f"SELECT * EXCLUDE (part) FROM ({_numbered(every, 'arrival_us, part, request_id')}) ORDER BY request_id"
        sources = tuple(table.source for table in tables)
        merged = Merged(self.source.archive, tuple(workloads.values()), f"{self.chain}.{step}", sources)
        return type(self)(merged, sql)

    # -- what a step asks ----------------------------------------------------------------------------------------------

    def _count(self, column: str) -> int:
        """Return how many requests have a value in a column."""
        return int(self.fetch(f"SELECT count({column}) FROM {ROWS}")[0][0])

    def require_one_table(self, step: str) -> None:
        """Raise BadUse for several workloads that are not merged."""
        if len(self.source.workloads) > 1 and not isinstance(self.source, Merged):
            first, second, *_ = self.names
            raise BadUse(
                step,
                "needs one workload: each has a clock and an order of its own",
                got=", ".join(self.names),
                next=f"open one of them, or merge them: lta.open({first!r}).merge(lta.open({second!r}))",
            )

    def _spans(self, step: str) -> dict[int, Span]:
        """Return the span of each segment. Raises BadUse if there are no arrivals."""
        self.require_one_table(step)
        spans = self._span_of_segments
        if not spans:
            what = "no request is left" if not self._count("*") else "needs arrivals, and no request has one"
            raise BadUse(step, what, of=self.chain)
        return spans

    @cached_property
    def _span_of_segments(self) -> dict[int, Span]:
        rows = self.fetch(
            f"SELECT segment, count(arrival_us), min(arrival_us), max(arrival_us) FROM {ROWS}"
            " WHERE arrival_us IS NOT NULL GROUP BY segment ORDER BY segment"
        )
        return {segment: Span(count, first, last) for segment, count, first, last in rows}

    def _one_segment(self, step: str) -> Span:
        spans = self._spans(step)
        if len(spans) > 1:
            raise BadUse(
                step,
                f"needs one clock, and {', '.join(self.names)} has {len(spans)} segments with one each",
                next=f"select one: filter('segment = {next(iter(spans))}')",
            )
        return next(iter(spans.values()))

    def _moment(self, time: Time, span: Span, step: str) -> int:
        """Return a time given since the first arrival, or as a date, in microseconds of the arrivals."""
        date = since_epoch(time, self.epoch, step)
        return span.first + microseconds(time, step) if date is None else date

    def _replace(self, columns: Mapping[str, str], step: str) -> Self:
        return self.derive(f"SELECT * REPLACE ({_columns(columns)}) FROM {ROWS}", step)

    def _warn_of_sessions(self, step: str, sessions: str, inside: str, begins: str, early: str) -> None:
        """Say how many requests of sessions in a window lie outside it."""
        ((after, others, before, later),) = self.fetch(
            f"""
            SELECT sum(late) FILTER (begins), sum(within) FILTER (NOT begins), sum(early) FILTER (within > 0),
                sum(late) FILTER (within > 0)
            FROM (
                SELECT {begins} AS begins, count(*) FILTER ({inside}) AS within, count(*) FILTER ({early}) AS early,
                    count(*) FILTER (NOT {inside} AND NOT {early}) AS late
                FROM {ROWS} WHERE session_id IS NOT NULL GROUP BY session_id
            )
            """
        )
        if sessions == "whole" and (after or others):
            warn(
                step,
                f"{_requests(after or 0)} of its sessions after its end are kept;"
                f" {_requests(others or 0)} in it, of sessions that began before, are left out",
            )
        if sessions == "cut" and (before or later):
            warn(
                step,
                f"of the sessions in it, {_requests(before or 0)} before it and {later or 0:,} after it are left out",
            )

    def _warn_of_rate(self, step: str, segment: int, span: Span, rows: int, low: int, high: int, inside: str) -> None:
        """Warn of a window that is nearly empty compared with the whole, or whose rate rises or falls."""
        where = f" in segment {segment}" if segment or len(self._span_of_segments) > 1 else ""
        length = min(high, span.last + 1) - max(low, span.first)
        whole, rate = (
            1e6 * count / max(time, 1) for count, time in ((span.rows, span.last - span.first), (rows, length))
        )
        if rate < NEARLY_EMPTY * whole:
            warn(step, f"has {rate:.3g} requests/s{where}, where the whole has {whole:.3g}: nearly empty")
        if rows > 1:
            middle = max(low, span.first) + length // 2
            ((half,),) = self.fetch(
                f"SELECT count(*) FROM {ROWS} WHERE segment = {segment} AND {inside} AND arrival_us < {middle}"
            )
            ends = 2e6 * half / length, 2e6 * (rows - half) / length
            if ramp(half, rows - half):
                warn(step, f"is a ramp{where}: {ends[0]:.3g} requests/s in its first half, {ends[1]:.3g} in its second")


def _one_of(name: str, value: str, known: tuple[str, ...], step: str) -> None:
    if value not in known:
        raise BadUse(step, f"there is no {name} '{value}'", there_are=", ".join(known))


def _by_segment(values: Mapping[int, int]) -> str:
    """Return values of segments as SQL."""
    if len(set(values.values())) == 1:
        return str(next(iter(values.values())))
    cases = " ".join(f"WHEN {segment} THEN {value}" for segment, value in values.items())
    return f"(CASE segment {cases} END)"


def _columns(replaced: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in replaced.items())


def _shifted(by: str) -> str:
    return f"list_transform(hash_ids, lambda id: id + {by})"


def _numbered(sql: str, order: str) -> str:
    """Return a SELECT that numbers requests anew."""
    return f"SELECT * REPLACE (row_number() OVER (ORDER BY {order}) - 1 AS request_id) FROM ({sql}) ORDER BY request_id"


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"


def _shown(spans: Mapping[int, Span]) -> str:
    return "; ".join(
        f"{span.rows:,} within {duration(span.last - span.first)} of the first"
        + (f" in segment {segment}" if len(spans) > 1 else "")
        for segment, span in spans.items()
    )


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list that has the warnings of shaping after the block; others are shown as they come."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ShapeWarning)
        yield found
    for each in caught:
        if issubclass(each.category, ShapeWarning):
            found.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def warn(step: str, message: str) -> None:
    """Warn of something that a step does or finds."""
    warnings.warn(f"{step}: {message}", ShapeWarning, stacklevel=4)
