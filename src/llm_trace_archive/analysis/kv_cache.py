"""Which share of its prompts a trace would have found in a KV cache of some capacity, under some policy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ..columns.arrays import from_integers, is_valid, to_integers
from ..core.errors import BadUse
from .eviction import belady, fifo
from .models import model_named
from .prefix import FOLDED, LEADING, Run, _Array, ids_and_lengths

SUBJECT = "hit ratio"
POLICIES = {
    "lru": "evicts the least recently used block; a request touches its blocks from front to back",
    "leaf-lru": "LRU that evicts the deepest block of a prompt first, as vLLM and SGLang do",
    "fifo": "evicts the block that was inserted first",
    "belady": "keeps what is used again soonest: no policy hits more",
}
COUNTS = ("blocks", "tokens")
Capacities = float | Sequence[float]


@dataclass(frozen=True)
class Point:
    """The hit ratio of one capacity: `capacity` is in `unit` ("share", "blocks", "tokens", "GiB"; or "unlimited").

    `blocks` is the capacity of one cache in blocks; None if the caches of the parts differ.
    """

    unit: str
    capacity: float | None
    blocks: int | None
    hit_ratio: float


@dataclass(frozen=True)
class HitRatio:
    """Hit ratios from 0 to 1, and what they mean.

    policy      one of POLICIES
    definition  "leading": a block is its id; "folded": a block is its id together with all ids before it
    count       what is counted: "blocks" of the prompts, or their "tokens"
    warm_up     the share of the requests that fill the cache and are not counted
    """

    policy: str
    definition: str
    count: str
    warm_up: float
    requests: int
    blocks: int
    """Blocks of all requests, counting every occurrence."""
    distinct: int
    """Distinct blocks among them, counted anew for each cache."""
    unlimited: float
    """Hit ratio of a cache that never evicts."""
    points: tuple[Point, ...] = ()
    """One for each capacity, in the order asked for."""
    parts: Mapping[str, HitRatio] = field(default_factory=dict)
    """The same of each part with a cache of its own, if there are several."""

    def arrow(self) -> pa.Table:
        """Return a row for each part and capacity, and for an unlimited cache; the part of the whole is empty."""
        rows = [
            {"part": name, "unit": point.unit, "capacity": point.capacity, "blocks": point.blocks}
            | {"policy": each.policy, "definition": each.definition, "count": each.count, "warm_up": each.warm_up}
            | {"hit_ratio": point.hit_ratio}
            for name, each in {"": self, **self.parts}.items()
            for point in (*each.points, Point("unlimited", None, None, each.unlimited))
        ]
        kinds = {"capacity": pa.float64(), "blocks": pa.int64(), "warm_up": pa.float64(), "hit_ratio": pa.float64()}
        return pa.Table.from_pylist(rows, pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]]))


def hit_ratio(
    batches: Iterable[pa.RecordBatch],
    *,
    share: Capacities = (),
    blocks: Capacities = (),
    tokens: Capacities = (),
    gib: Capacities = (),
    policy: str = "lru",
    definition: str = LEADING,
    count: str = "blocks",
    warm_up: float = 0.0,
    model: str | None = None,
    dtype: str = "bf16",
    bytes_per_token: float | None = None,
    by: Sequence[str] = ("segment",),
) -> HitRatio | None:
    """Return the hit ratios of an unlimited cache and of caches of the given capacities; None for rows without ids.

    batches          requests in the order of arrival, with the columns of `columns_for`; read once, none is kept
    share            capacities as shares (0 to 1) of the distinct blocks
    blocks, tokens   capacities in blocks, and in tokens
    gib              capacities in GiB: of `model` (see `models`) with a cache of type `dtype`, or by `bytes_per_token`
    policy           one of POLICIES
    definition       LEADING or FOLDED, see HitRatio
    count            "blocks", or "tokens": then the last block counts as the tokens that it has, and the prompt's
                     tokens after the last block are misses
    warm_up          the share (0 to 1) of each part's requests that fill the cache and are not counted
    by               the columns whose values split the requests: each part has a cache of its own, of that capacity

    A request hits its leading blocks, up to the first that is not in the cache before the request, and then its blocks
    are inserted, so that a part of a prompt never hits without all that precedes it. Capacities are rounded down to
    whole blocks.

    Raises BadUse for capacities, policies or counts that don't exist or don't fit the rows.
    """
    wanted = {"share": _many(share), "blocks": _many(blocks), "tokens": _many(tokens), "GiB": _many(gib)}
    _check(wanted, policy, definition, count, warm_up)
    if wanted["GiB"]:
        if (model is None) == (bytes_per_token is None):
            raise BadUse(SUBJECT, "a capacity in GiB needs either model or bytes_per_token, which makes it tokens")
        bytes_per_token = model_named(model).bytes_per_token(dtype) if model else bytes_per_token
        if not bytes_per_token or not 0 < bytes_per_token < math.inf:
            raise BadUse(SUBJECT, f"bytes_per_token must be above 0, not {bytes_per_token}")

    parts: dict[tuple[Any, ...], _Part] = {}
    for batch in batches:
        for key, rows in _split(batch, by):
            parts.setdefault(key, _Part(definition)).add(rows, count)
    keys = sorted((key for key, part in parts.items() if part.run.blocks), key=lambda key: tuple(map(str, key)))
    if not keys:
        return None
    found = {_label(key, keys, by): parts[key].hits(wanted, policy, warm_up, bytes_per_token or 0.0) for key in keys}
    shown = {name: _result([each], wanted, policy, definition, count, warm_up) for name, each in found.items()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    total = _result(list(found.values()), wanted, policy, definition, count, warm_up)
    return HitRatio(**{**vars(total), "parts": shown})


def columns_for(count: str = "blocks", by: Sequence[str] = ("segment",)) -> list[str]:
    """Return the columns that `hit_ratio` reads."""
    needed = ["hash_ids", "block_tokens", *(["input_tokens"] if count == "tokens" else []), *by]
    return list(dict.fromkeys(needed))


def _many(capacities: Capacities) -> list[float]:
    return [capacities] if isinstance(capacities, int | float) else list(capacities)


def _check(wanted: Mapping[str, list[float]], policy: str, definition: str, count: str, warm_up: float) -> None:
    for name, value, known in (
        ("policy", policy, tuple(POLICIES)),
        ("definition", definition, (LEADING, FOLDED)),
        ("count", count, COUNTS),
    ):
        if value not in known:
            raise BadUse(SUBJECT, f"there is no {name} '{value}'", there_are=", ".join(known))
    if not 0 <= warm_up < 1:
        raise BadUse(SUBJECT, f"warm_up is a share of the requests, from 0 to below 1, not {warm_up}")
    for unit, capacities in wanted.items():
        for capacity in capacities:
            if not 0 <= capacity < math.inf or (unit == "share" and capacity > 1):
                expected = "from 0 to 1" if unit == "share" else "at least 0"
                raise BadUse(SUBJECT, f"a capacity in {unit} must be {expected}, not {capacity}")


def _split(batch: pa.RecordBatch, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pa.RecordBatch]]:
    """Yield the rows of each combination of values of the columns `by`."""
    codes, values = np.zeros(len(batch), np.int64), []
    for name in by:
        column = batch.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        known = column.dictionary.to_pylist()
        index = np.where(is_valid(column.indices), to_integers(column.indices), len(known))
        values.append([*known, None])
        codes = codes * len(values[-1]) + index
    for code in np.unique(codes):
        rest, key = int(code), []
        for each in reversed(values):
            rest, place = divmod(rest, len(each))
            key.append(each[place])
        rows = np.flatnonzero(codes == code)
        yield tuple(reversed(key)), batch if len(rows) == len(batch) else batch.take(from_integers(rows))


def _label(key: tuple[Any, ...], keys: list[tuple[Any, ...]], by: Sequence[str]) -> str:
    """Return the name of a part: the values that tell it from other parts, such as "segment 1, GPT-4"."""
    varying = [index for index in range(len(by)) if len({each[index] for each in keys}) > 1]
    return ", ".join(f"{by[index]} {key[index]}" if by[index] == "segment" else str(key[index]) for index in varying)


@dataclass(frozen=True)
class _Hits:
    """What one cache shows: hits and total in what is counted; of each point its capacity in blocks, and its hits."""

    requests: int
    blocks: int
    distinct: int
    total: int
    unlimited: int
    points: list[tuple[int, int]]


class _Part:
    """The requests of one cache."""

    def __init__(self, definition: str) -> None:
        self.run = Run(definition)
        self.totals: list[_Array] = []
        self.block_tokens: set[int] = set()

    def add(self, rows: pa.RecordBatch, count: str) -> None:
        try:
            ids, lengths = ids_and_lengths(rows.column("hash_ids"))
        except (TypeError, ValueError) as error:
            raise BadUse(SUBJECT, f"hash_ids can't be read: {error}") from None
        full = to_integers(rows.column("block_tokens")).astype(np.int64)  # 0 for null
        self.block_tokens |= set(np.unique(full[lengths > 0]).tolist())
        if count == "blocks":
            self.run.add(ids, lengths)
            self.totals.append(lengths)
            return
        before_last = np.maximum(lengths - 1, 0) * full
        prompts = rows.column("input_tokens")
        if prompts.null_count:
            raise BadUse(
                SUBJECT,
                "counting tokens needs input_tokens on every request",
                got=f"none on {prompts.null_count:,} of {len(prompts):,}",
                next="count blocks, or leave these requests out: filter('input_tokens IS NOT NULL')",
            )
        prompt = to_integers(prompts)
        last = np.where(lengths > 0, np.clip(prompt - before_last, 0, full), 0)
        self.run.add(ids, lengths, full, last)
        self.totals.append(np.maximum(prompt, before_last + last))

    def hits(self, wanted: Mapping[str, list[float]], policy: str, warm_up: float, bytes_per_token: float) -> _Hits:
        """Replay the requests on a cache of every capacity."""
        if (wanted["tokens"] or wanted["GiB"]) and (len(self.block_tokens) > 1 or 0 in self.block_tokens):
            raise BadUse(
                SUBJECT,
                "a capacity in tokens or GiB needs blocks of one size",
                got=f"block_tokens of {', '.join(str(each or 'null') for each in sorted(self.block_tokens))}",
                next="give the capacity in blocks or as a share, or select the requests with blocks of one size",
            )
        (size, *_) = self.block_tokens
        capacities = [self.run.of_share(share) for share in wanted["share"]]
        capacities += [int(each) for each in wanted["blocks"]]
        capacities += [int(each // size) for each in wanted["tokens"]]
        capacities += [int(each * 2**30 // (size * bytes_per_token)) for each in wanted["GiB"]]

        skipped = math.floor(warm_up * self.run.requests)
        run = self.run.without(skipped)
        limited, unlimited = run.lru(capacities, leaves=policy == "leaf-lru")
        if policy in ("fifo", "belady"):
            try:
                sizes = {each for each in capacities if each < run.distinct}
                limited |= (fifo if policy == "fifo" else belady)(run, sizes)
            except ValueError as error:
                raise BadUse(SUBJECT, str(error)) from None
        total = int(np.concatenate(self.totals)[skipped:].sum())
        points = [(each, limited[each]) for each in capacities]
        return _Hits(run.requests, run.blocks, run.distinct, total, unlimited, points)


def _result(
    parts: list[_Hits], wanted: Mapping[str, list[float]], policy: str, definition: str, count: str, warm_up: float
) -> HitRatio:
    total = max(sum(each.total for each in parts), 1)
    names = [(unit, capacity) for unit, capacities in wanted.items() for capacity in capacities]
    points = []
    for (unit, capacity), column in zip(names, zip(*(each.points for each in parts), strict=True), strict=True):
        sizes = {blocks for blocks, _ in column}
        hits = sum(hits for _, hits in column)
        points.append(Point(unit, capacity, sizes.pop() if len(sizes) == 1 else None, hits / total))
    return HitRatio(
        policy,
        definition,
        count,
        warm_up,
        sum(each.requests for each in parts),
        sum(each.blocks for each in parts),
        sum(each.distinct for each in parts),
        sum(each.unlimited for each in parts) / total,
        tuple(points),
    )
