"""GuideLLM's replay."""

from __future__ import annotations

from ..dialect import SECONDS, TIMED, Blocks, Dialect, Field
from .mooncake import rows_of

DIALECT = Dialect(
    name="guidellm",
    tool="GuideLLM 0.8.1",
    command="guidellm run --backend kind=openai_http,target=http://localhost:8000 --profile kind=replay"
    " --data kind={kind},source.kind=json_file,source.path={file}[,hash_id_block_size={block}]",
    needs=TIMED,
    ignores="models and, here, sessions",
    fields=lambda rows: {**rows_of(rows), "timestamp": Field(SECONDS)},
    blocks=Blocks(is_required=False, one_size=True),
    notes=("Times are seconds.",),
)
