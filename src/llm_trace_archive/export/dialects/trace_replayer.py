"""Blitz's trace-replayer: the format of Alibaba's Bailian traces."""

from __future__ import annotations

from ..dialect import TIMED, Blocks, Dialect
from .aiperf_bailian import bailian_rows

DIALECT = Dialect(
    name="trace-replayer",
    tool="trace-replayer 84c9193 (Blitz)",
    command="client --dataset bailian --dataset-path {file} --tokenizer tokenizer.json"
    " --tokenizer-config tokenizer_config.json --endpoint http://localhost:8000/generate --api tgi",
    needs=TIMED,
    uses=("request_type",),
    ignores="models, and links between chats: every request is sent at its own time",
    fields=bailian_rows,
    blocks=Blocks(size=16),
    notes=("Its Mooncake reader takes milliseconds for seconds, so this is Bailian's format.",),
)
