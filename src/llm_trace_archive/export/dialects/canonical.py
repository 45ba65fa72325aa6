"""The table as it is."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.sql import quote_name
from ..dialect import Dialect, Field
from ..rows import Rows


def _fields(rows: Rows) -> Mapping[str, Field]:
    import pyarrow as pa

    return {
        each.name: Field(
            quote_name(each.name), is_text=not pa.types.is_primitive(each.type), is_nested=pa.types.is_nested(each.type)
        )
        for each in rows.table.schema
    }


DIALECT = Dialect(
    name="canonical",
    tool="programs that read Parquet, CSV or JSON Lines",
    command="duckdb -c \"FROM '{file}'\"",
    needs=(),
    ignores="nothing: every column of the table is there, as schemas/request.json and the trace's page describe it",
    fields=_fields,
    formats=(".parquet", ".csv", ".jsonl"),
    unpacks=(".gz", ".zst"),
    any_table=True,
)
