"""AIBrix's workload generator, which turns a trace into prompts."""

from __future__ import annotations

from ..dialect import TIMED, Blocks, Dialect
from .mooncake import rows_of

DIALECT = Dialect(
    name="aibrix",
    tool="AIBrix e3e10f9, its workload generator",
    command="python benchmarks/generator/workload_generator/workload_generator.py --trace-type mooncake"
    " --traffic-file {file} --duration-ms {duration_ms} --output-dir OUTPUT --tokenizer TOKENIZER",
    needs=TIMED,
    ignores="sessions, models, and all requests after --duration-ms, 60000 by default",
    fields=rows_of,
    blocks=Blocks(size=512),
    notes=("The generator writes prompts, which the client sends: --workload-path OUTPUT/workload.jsonl.",),
)
