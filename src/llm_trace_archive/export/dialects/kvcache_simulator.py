"""kvcache-simulator, of the makers of Mooncake."""

from __future__ import annotations

from ..dialect import TIMED, Blocks, Dialect, Field
from .mooncake import rows_of

DIALECT = Dialect(
    name="kvcache-simulator",
    tool="kvcache-simulator 0.1.3",
    command="kvcache-simulator run --trace {file} --model llama-3.1-8b --budgets-gib 8,64 --policies lru,optimal",
    needs=TIMED,
    ignores="times, of which it takes the order alone, and output lengths",
    fields=lambda rows: {**rows_of(rows), "block_size": Field(str(rows.block))},
    unpacks=(".gz",),
    blocks=Blocks(is_tree=True, one_size=True),
    notes=("Its hit ratios are those of the last half of the requests.",),
)
