"""libCacheSim: one access a block."""

from __future__ import annotations

from ..dialect import Blocks, Dialect, Field

DIALECT = Dialect(
    name="libcachesim",
    tool="libCacheSim 0.3.5",
    command="cachesim {file} csv lru 0.1 -t 'time-col=1, obj-id-col=2, obj-size-col=3, has-header=true'",
    needs=("arrival_us", "input_tokens"),
    ignores="which blocks are of one request, and times below a second",
    formats=(".csv",),
    fields=lambda rows: {
        "time": Field("us // 1000000"),
        "obj_id": Field("unnest(ids)"),
        "obj_size": Field("1"),
    },
    blocks=Blocks(is_tree=True, one_size=True),
    notes=(
        "A row is an access to one block, from front to back of each prompt; an object has the size 1, so that a"
        " capacity is a number of blocks.",
    ),
)
