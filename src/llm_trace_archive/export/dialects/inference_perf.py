"""Kubernetes' inference-perf: the columns of Azure's public data set."""

from __future__ import annotations

from ..dialect import TIMED, Dialect, Field

DIALECT = Dialect(
    name="inference-perf",
    tool="inference-perf 0.7.0",
    command="""inference-perf --config_file config.yml  # in which, besides the server:
# data: {type: random, trace: {file: {file}, format: AzurePublicDataset}}
# load: {type: trace_replay, trace: {file: {file}, format: AzurePublicDataset}}
# api: {type: completion}""",
    needs=TIMED,
    ignores="sessions, models and prefix blocks",
    formats=(".csv",),
    fields=lambda rows: {
        "TIMESTAMP": Field("strftime(TIMESTAMP '2000-01-01 00:00:00' + to_microseconds(us), '%Y-%m-%d %H:%M:%S.%f')"),
        "ContextTokens": Field("input_tokens"),
        "GeneratedTokens": Field("output_tokens"),
    },
    notes=(
        "The first request arrives at 2000-01-01 00:00:00: inference-perf counts from the first line.",
        "data.trace gives the lengths and load.trace the times: both are needed.",
    ),
)
