"""Load a file with Kavier's own InputSpec, or an OpenDC folder against its schemas, and print what it understood."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from kavier.sdk.io.input_spec import InputSpec
from kavier.sdk.io.opendc.schema import FRAGMENTS_SCHEMA, TASKS_SCHEMA


def in_milliseconds(kind: pa.DataType) -> pa.DataType:
    """Times and durations as integers, as OpenDC reads them."""
    return pa.int64() if pa.types.is_temporal(kind) else kind


path = Path(sys.argv[1])
if path.is_dir():
    rows = {}
    for name, known in (("tasks", TASKS_SCHEMA), ("fragments", FRAGMENTS_SCHEMA)):
        table = pq.read_table(path / f"{name}.parquet")
        for field in table.schema:
            assert in_milliseconds(field.type) == in_milliseconds(known.field(field.name).type), field
        optional = {each.name for each in known if each.nullable} | {"cpu_count"}
        assert {each.name for each in known} - optional <= set(table.column_names)
        rows[name] = len(table)
    print(json.dumps(rows))
else:
    spec = InputSpec(str(path))
    found = {"rows": len(spec.df), "input": int(spec.num_in_t.sum()), "output": int(spec.num_out_t.sum())}
    print(json.dumps(found | {"sessions": len(set(spec.sessions)) if spec.sessions else 0}))
