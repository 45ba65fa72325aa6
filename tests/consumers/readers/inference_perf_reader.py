"""Load a file with inference-perf's own reader, which needs nothing else of it, and print what it understood."""

import importlib.util
import json
import sys
import sysconfig
from pathlib import Path

path = Path(sysconfig.get_path("purelib")) / "inference_perf/utils/trace_reader.py"
spec = importlib.util.spec_from_file_location("trace_reader", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
rows = module.AzurePublicDatasetReader().load_traces(Path(sys.argv[1]))
lengths = list(module.AzurePublicDatasetReader().stream_token_entries(Path(sys.argv[1])))
assert lengths == [each[1:] for each in rows]
print(
    json.dumps(
        {
            "rows": len(rows),
            "input": sum(each[1] for each in rows),
            "output": sum(each[2] for each in rows),
            "times": [each[0] for each in rows],
        }
    )
)
