"""Kavier's inference simulator."""

from __future__ import annotations

from collections.abc import Mapping

from ..dialect import TOKENS, Dialect, Field
from ..rows import Rows


def _fields(rows: Rows) -> Mapping[str, Field]:
    fields = {"num_input_tokens": Field("input_tokens"), "num_output_tokens": Field("output_tokens")}
    return fields | ({"session_id": Field("session_id", is_text=True)} if "session_id" in rows.has else {})


DIALECT = Dialect(
    name="kavier",
    tool="Kavier 0.5.3",
    command="kavier inference --trace {file} --output_folder OUTPUT",
    needs=TOKENS,
    uses=("session_id",),
    ignores="arrivals, models and prefix blocks",
    formats=(".csv", ".parquet"),
    fields=_fields,
    notes=("Kavier takes the file's kind from its name: .csv or .parquet, not compressed.",),
)
