"""Vidur, with the columns of both of its versions."""

from __future__ import annotations

from ..dialect import SECONDS, TIMED, Dialect, Field

_OPTION = "--trace_request_generator_config"
_RUN = (
    "python -m vidur.main --request_generator_config_type trace_replay"
    f" {_OPTION}_trace_file {{file}} {_OPTION}_max_tokens {{longest}}"
)

DIALECT = Dialect(
    name="vidur",
    tool="Vidur (GitHub 7d47513, and 0.0.26 of the package index)",
    command=f"{_RUN}\n{_RUN} {_OPTION}_prefill_scale_factor 1 {_OPTION}_time_scale_factor 1  # 0.0.26",
    needs=TIMED,
    ignores="sessions and prefix blocks",
    formats=(".csv",),
    fields=lambda rows: {
        "arrived_at": Field(SECONDS),
        "num_prefill_tokens": Field("input_tokens"),
        "num_decode_tokens": Field("output_tokens"),
        "Date": Field("'2023-08-21'"),
        "Time": Field(SECONDS),
        "PromptTokenCount": Field("input_tokens"),
        "CompletionTokenCount": Field("output_tokens"),
    },
    notes=(
        "Prompts of requests above max_tokens (4096 unless it is given) are cut without a word.",
        "0.0.26 keeps only rows of its default date, 2023-08-21, which all rows have, and scales times and prompts"
        " unless the flags say otherwise.",
    ),
)
