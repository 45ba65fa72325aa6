"""SplitwiseSim."""

from __future__ import annotations

from ..dialect import SECONDS, TIMED, Dialect, Field

DIALECT = Dialect(
    name="splitwise-sim",
    tool="SplitwiseSim 8f99e7d",
    command="cp {file} traces/ && python run.py trace.filename={name}",
    needs=TIMED,
    ignores="sessions, models and prefix blocks",
    formats=(".csv",),
    fields=lambda rows: {
        "request_id": Field("row_number() OVER () - 1"),
        "request_type": Field("2"),
        "application_id": Field("0"),
        "arrival_timestamp": Field(SECONDS),
        "batch_size": Field("1"),
        "prompt_size": Field("input_tokens"),
        "token_size": Field("output_tokens"),
    },
    notes=("request_type 2 is a request to a language model. Requests are numbered anew.",),
)
