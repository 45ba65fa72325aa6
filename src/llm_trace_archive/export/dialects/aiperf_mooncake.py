"""NVIDIA AIPerf: Mooncake's format."""

from __future__ import annotations

import json

from ..dialect import TIMED, Blocks, Dialect
from ..rows import Rows
from .mooncake import rows_of

TOOL = "NVIDIA AIPerf 0.13.0"
RUN = "aiperf profile -m MODEL --url localhost:8000 --endpoint-type chat --streaming --input-file {file}"


def manifest(loader: str, file: str) -> dict[str, str]:
    """Return the text of the file that lets AIPerf run a published folder: which file, and its loader."""
    return {"aiperf.json": json.dumps({"path": file, "format": loader}, indent=2) + "\n"}


def _manifest(rows: Rows, file: str) -> dict[str, str]:
    return manifest("mooncake_trace", file)


DIALECT = Dialect(
    name="aiperf-mooncake",
    tool=TOOL,
    command=f"{RUN} --custom-dataset-type mooncake_trace --fixed-schedule[ --isl-block-size {{block}}]",
    needs=TIMED,
    ignores="models and, here, sessions",
    fields=rows_of,
    unpacks=(".gz",),
    blocks=Blocks(is_required=False, one_size=True),
    beside=_manifest,
    notes=(
        "Every request stands alone, with its whole prompt: AIPerf adds live answers to the turns of a session, which"
        " would count the context twice.",
        "aiperf.json lets versions after 0.13.0 run a published folder: --input-file hf://ORGANISATION/REPOSITORY.",
    ),
)
