"""BLIS, the inference simulator of inference-sim."""

from __future__ import annotations

from pathlib import PurePath

from ..dialect import TIMED, Dialect, Field
from ..rows import Rows

HEADER = "trace_version: 2\ntime_unit: microseconds\nmode: real\nwarm_up_requests: 0\n"


def _header(rows: Rows, file: str) -> dict[str, str]:
    return {f"{PurePath(file).name.partition('.')[0]}.yaml": HEADER}


_NOTHING = Field("''")
_ZERO = Field("0")

DIALECT = Dialect(
    name="blis",
    tool="BLIS (inference-sim f90a1e3)",
    command="blis replay --trace-header {stem}.yaml --trace-data {file} --model MODEL",
    needs=TIMED,
    uses=("model",),
    ignores="prefix blocks and, here, sessions",
    formats=(".csv",),
    fields=lambda rows: {
        "request_id": Field("row_number() OVER () - 1"),
        "client_id": _NOTHING,
        "tenant_id": _NOTHING,
        "slo_class": _NOTHING,
        "session_id": _NOTHING,
        "round_index": _ZERO,
        "prefix_group": _NOTHING,
        "prefix_length": _ZERO,
        "streaming": Field("true"),
        "input_tokens": Field("input_tokens"),
        "output_tokens": Field("output_tokens"),
        "text_tokens": Field("input_tokens"),
        "image_tokens": _ZERO,
        "audio_tokens": _ZERO,
        "video_tokens": _ZERO,
        "reason_ratio": _ZERO,
        "model": _NOTHING,
        "deadline_us": _ZERO,
        "server_input_tokens": _ZERO,
        "arrival_time_us": Field("us"),
        "send_time_us": Field("us"),
        "first_chunk_time_us": _ZERO,
        "last_chunk_time_us": _ZERO,
        "num_chunks": _ZERO,
        "status": Field("'ok'"),
        "error_message": _NOTHING,
        "finish_reason": _NOTHING,
    },
    beside=_header,
    notes=(
        "Every request stands alone, with its whole prompt: BLIS adds up the turns of a session itself, which would"
        " count the context again. The model is the one of the command, and requests are numbered anew.",
    ),
)
