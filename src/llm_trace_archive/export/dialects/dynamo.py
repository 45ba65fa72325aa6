"""NVIDIA Dynamo's replay: every request by itself."""

from __future__ import annotations

from ..dialect import TIMED, Blocks, Dialect
from .mooncake import rows_of

RUN = 'python -c "import sys; from dynamo.replay.api import run_trace_replay as run; print(run(sys.argv.pop(),'

DIALECT = Dialect(
    name="dynamo",
    tool="NVIDIA Dynamo 1.6.1, dynamo.replay",
    command=f"{RUN} trace_format='mooncake', trace_block_size={{block}}))\" {{file}}",
    needs=TIMED,
    ignores="models and, here, sessions",
    fields=rows_of,
    blocks=Blocks(),
    notes=("Requests arrive at their recorded times, whatever the replayed system answers. Times are milliseconds.",),
)
