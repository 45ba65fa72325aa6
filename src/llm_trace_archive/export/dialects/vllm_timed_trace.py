"""vLLM's benchmark on a clock of its own."""

from __future__ import annotations

from ..dialect import SECONDS, TIMED, Blocks, Dialect, Field

DIALECT = Dialect(
    name="vllm-timed-trace",
    tool="vLLM 0.33.0, vllm bench serve",
    command="vllm bench serve --backend vllm --dataset-name timed_trace --dataset-path {file}"
    " --timed-trace-chunk-hash-size {block} --num-prompts {count}",
    needs=TIMED,
    ignores="sessions and models; --num-prompts cuts the file, to 1000 rows by default",
    fields=lambda rows: {
        "timestamp": Field(SECONDS),
        "input_length": Field("input_tokens"),
        "output_length": Field("output_tokens"),
        "hash_ids": Field("ids"),
    },
    blocks=Blocks(),
    notes=("Times are seconds, and the file is replayed in its order. Only the backends vllm and openai work.",),
)
