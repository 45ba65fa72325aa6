"""NVIDIA AIPerf: the format of Alibaba's Bailian traces."""

from __future__ import annotations

from collections.abc import Mapping

from ..dialect import SECONDS, TIMED, Blocks, Dialect, Field
from ..rows import Rows
from .aiperf_mooncake import RUN, TOOL, manifest


def bailian_rows(rows: Rows) -> Mapping[str, Field]:
    """Return the fields of Bailian's format, every request a chat of one turn."""
    fields = {
        "chat_id": Field("request_id"),
        "parent_chat_id": Field("-1"),
        "timestamp": Field(SECONDS),
        "input_length": Field("input_tokens"),
        "output_length": Field("output_tokens"),
        "type": Field("coalesce(request_type, 'text')", is_text=True),
        "turn": Field("1"),
    }
    return fields | ({"hash_ids": Field("ids")} if rows.blocks else {})


def _manifest(rows: Rows, file: str) -> dict[str, str]:
    return manifest("bailian_trace", file)


DIALECT = Dialect(
    name="aiperf-bailian",
    tool=TOOL,
    command=f"{RUN} --custom-dataset-type bailian_trace --fixed-schedule",
    needs=TIMED,
    uses=("request_type",),
    ignores="models",
    fields=bailian_rows,
    unpacks=(".gz",),
    blocks=Blocks(is_required=False, size=16, one_size=True),
    beside=_manifest,
    notes=(
        "Every request is a chat of one turn, with its whole prompt: AIPerf adds up the turns of a chat, which would"
        " count the context twice.",
    ),
)
