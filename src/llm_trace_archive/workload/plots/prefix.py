"""Plots of prefix reuse: what a cache of some size would have served, and how soon blocks come back."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...analysis.kv_cache import HitRatio
from ...analysis.models import model_named
from ...core.sql import ROWS
from ..profile import SECOND
from ..times import duration
from . import chart
from .chart import Row
from .study import Plot, Study
from .tokens import SHARES

MODEL, DTYPE = "llama-3-70b", "bf16"
CAPACITIES = tuple(digit * 10**power for power in range(1, 8) for digit in (1, 2, 5))
MOST_BLOCKS = 40_000_000


def hit_ratio(study: Study) -> Plot | str:
    """Return the hit ratio of LRU caches by their capacity."""
    if why := study.why_not("hash_ids", every=False):
        return why
    found = study.requests.hit_ratio(blocks=CAPACITIES)
    if not found:
        return "No request has a prefix block."
    sizes = [
        size for (size,) in study.requests.fetch(f"SELECT DISTINCT block_tokens FROM {ROWS} WHERE len(hash_ids) > 0")
    ]
    gib = model_named(MODEL).bytes_per_token(DTYPE) * sizes[0] / 2**30 if len(sizes) == 1 and sizes[0] else None
    rows: list[Row] = []
    for point in found.points:
        rows.append(_row("measured", point.capacity or 0, point.hit_ratio, gib))
        if (point.capacity or 0) >= found.distinct:
            break
    published = list(_published(study, found, gib))
    names = ["measured", *dict.fromkeys(row["series"] for row in published)]
    axis = chart.numbers("capacity_blocks", "capacity in blocks", log=True)
    spec = chart.lines(
        axis, chart.share("hit_ratio", "hit ratio"), names,
        rules=chart.rule("y", found.unlimited, f"without a limit: {found.unlimited:.3f}"),
    )  # fmt: skip
    held = "" if gib is None else f" A block takes {gib * 1024:.4g} MiB of a KV cache of {MODEL} in {DTYPE}."
    return Plot(
        "hit-ratio",
        "Prefix reuse by the size of the cache",
        "Share of the prompts' blocks that an LRU cache of a capacity would have held, in the order of the requests; "
        "each segment starts with an empty cache. As LRU is a stack algorithm, this is also the distribution of the "
        f"reuse distances: the share of blocks that come back before so many others.{held}",
        f"{found.unlimited:.1%} of {found.blocks:,} blocks without a limit; {found.distinct:,} are distinct.",
        rows + published,
        spec,
        notes=["Published ratios are drawn beside those that are found."] if published else [],
    )


def _row(series: str, blocks: float, ratio: float, gib: float | None) -> Row:
    row = {"series": series, "capacity_blocks": blocks, "hit_ratio": ratio}
    return row if gib is None else row | {f"gib_{MODEL}": blocks * gib}


def _published(study: Study, found: HitRatio, gib: float | None) -> Iterator[Row]:
    """Yield the hit ratios of LRU caches that were published of these rows; a share is one of the distinct blocks."""
    workloads = () if study.requests.steps or found.parts else study.requests.source.workloads
    for each in (figure for workload in workloads for figure in workload.published):
        if each["figure"] == "lru_hit_ratio":
            blocks = each["blocks"] if "blocks" in each else math.floor(each["share"] * found.distinct)
            yield _row(f"published: {each['source']}", blocks, each["value"], gib)


def reuse_time(study: Study) -> Plot | str:
    """Return the distribution of the times until a block comes back."""
    if why := study.why_not("hash_ids", every=False) or study.why_not("arrival_us"):
        return why
    ((blocks,),) = study.requests.fetch(f"SELECT coalesce(sum(len(hash_ids)), 0) FROM {ROWS}")
    if blocks > MOST_BLOCKS:
        return f"{blocks:,} blocks are too many to pair each with its next use; at most {MOST_BLOCKS:,}."
    run = ", ".join(study.requests.source.run)
    pairs = study.requests.tabulate(
        f"""
        SELECT arrival_us - lag(arrival_us) OVER (PARTITION BY {run}, block ORDER BY request_id) AS us FROM (
          SELECT {run}, request_id, arrival_us, unnest(hash_ids) AS block FROM {ROWS})
        """,
        "",
    )
    found = {share: value for share, value in pairs.percentiles("us", SHARES).items() if value is not None}
    if not found:
        return "No block comes back."
    rows = [{"seconds": value / SECOND, "share": share} for share, value in found.items()]
    return Plot(
        "reuse-time",
        "Time until a block comes back",
        "Share of the reused blocks, by their ids, that come back within a time of their last use. Times below a "
        "millisecond are drawn as one.",
        f"Half of them come back within {duration(found[0.5])}, 90 % within {duration(found[0.9])}.",
        rows,
        {
            **chart.lines(
                chart.numbers("drawn", "seconds", log=True, format="~g"),
                chart.share("share", "share of reuses"),
                has_points=False,
            ),
            "transform": [{"calculate": "max(datum.seconds, 0.001)", "as": "drawn"}],
        },
    )
