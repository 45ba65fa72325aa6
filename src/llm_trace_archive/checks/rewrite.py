"""A table written again from its own rows: the same bytes, so that nothing in the file is not what a build writes.

This finds what no reader of rows sees, such as a page index that lies, without the upstream.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..convert.parquet import ParquetSink, read_parts
from ..convert.table import list_facts
from ..core.files import hash_file
from ..core.recipe import Workload
from ..core.schema import arrow_schema
from ..core.table import Table
from .result import Result

NAME = "written again from its rows"


def check_rewrite(workload: Workload, table_schema: Mapping[str, Any], table: Table) -> Iterator[Result]:
    """Write the rows again, as a build does, and compare the bytes. Raises one of `UNREADABLE`, and Problem."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rewritten.parquet"
        schema = arrow_schema(table_schema)
        with ParquetSink(path, schema, list_facts(workload)) as sink:
            sink.parts = read_parts(table)
            for _, batch in table.groups():
                sink.write(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        yield Result("integrity", NAME, hash_file(path)[0], 0, hash_file(table.path)[0], "the rows")
