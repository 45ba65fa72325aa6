"""The rows that all readers of Mooncake's format take."""

from __future__ import annotations

from collections.abc import Mapping

from ..dialect import MS, TIMED, Blocks, Dialect, Field
from ..rows import Rows


def rows_of(rows: Rows) -> Mapping[str, Field]:
    """Return the fields of Mooncake's format; without blocks, no hash_ids."""
    fields = {"timestamp": Field(MS), "input_length": Field("input_tokens"), "output_length": Field("output_tokens")}
    return fields | ({"hash_ids": Field("ids")} if rows.blocks else {})


DIALECT = Dialect(
    name="mooncake",
    tool="readers of Mooncake's format (FAST'25 release), in general",
    command="llmtrafficlens profile {file} --format mooncake --block-size {block}",
    needs=TIMED,
    ignores="models, sessions, and times below a millisecond",
    fields=rows_of,
    blocks=Blocks(),
    notes=("Times are whole milliseconds. Most readers expect blocks of 512 tokens; an option gives another size.",),
)
