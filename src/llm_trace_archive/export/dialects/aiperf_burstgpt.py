"""NVIDIA AIPerf: the format of BurstGPT."""

from __future__ import annotations

from ..dialect import SECONDS, TIMED, Dialect, Field
from ..rows import Rows
from .aiperf_mooncake import RUN, TOOL, manifest


def _manifest(rows: Rows, file: str) -> dict[str, str]:
    return manifest("burst_gpt_trace", file)


DIALECT = Dialect(
    name="aiperf-burstgpt",
    tool=TOOL,
    command=f"{RUN} --custom-dataset-type burst_gpt_trace --fixed-schedule",
    needs=TIMED,
    ignores="sessions, models and prefix blocks",
    formats=(".csv",),
    fields=lambda rows: {
        "Timestamp": Field(SECONDS),
        "Request tokens": Field("input_tokens"),
        "Response tokens": Field("output_tokens"),
    },
    beside=_manifest,
    least_output=0,
    notes=("A request that failed, if it is kept, is sent without a limit to its answer.",),
)
