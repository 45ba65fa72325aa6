"""vLLM's benchmark: BurstGPT's columns, without a clock."""

from __future__ import annotations

from ..dialect import TOKENS, Dialect, Field

DIALECT = Dialect(
    name="vllm-burstgpt",
    tool="vLLM 0.33.0, vllm bench serve",
    command="vllm bench serve --dataset-name burstgpt --dataset-path {file} --num-prompts {count} --request-rate RATE",
    needs=TOKENS,
    ignores="arrivals (it draws requests at random, at a rate of its own), sessions and prefix blocks",
    formats=(".csv",),
    unpacks=(".gz",),
    fields=lambda rows: {
        "Timestamp": Field("CAST(coalesce(arrival_us, 0) / 1e6 AS DECIMAL(18, 6))"),
        "Model": Field("'GPT-4'"),
        "Request tokens": Field("input_tokens"),
        "Response tokens": Field("output_tokens"),
        "Total tokens": Field("input_tokens + output_tokens"),
        "Log Type": Field("'API log'"),
    },
    notes=("Every row says GPT-4 and API log, whatever the model was: vLLM drops rows of other models.",),
)
