"""SGLang's benchmark: Mooncake's format."""

from __future__ import annotations

from ..dialect import TIMED, Blocks, Dialect
from .mooncake import rows_of

DIALECT = Dialect(
    name="sglang-mooncake",
    tool="SGLang 0.5.23, sglang.bench_serving",
    command="python -m sglang.bench_serving --backend sglang --dataset-name mooncake --dataset-path {file}"
    " --use-trace-timestamps --num-prompts {count}",
    needs=TIMED,
    ignores="input_length: a prompt is 128 words for each id; --num-prompts cuts the file, to 1000 rows by default",
    fields=rows_of,
    blocks=Blocks(),
    notes=(
        "SGLang sends prompts of its own length, about 130 tokens a block, whatever the block size: sharing and times"
        " are those of the table, input tokens are not.",
    ),
)
