"""Replay a file with Dynamo's own engine, and print what it understood."""

import json
import sys

from dynamo.replay.api import run_trace_replay

kind, path, block = sys.argv[1:]
more = {"execution_model": "serial"} if kind == "weka" else {}
report = run_trace_replay(path, trace_format=kind, trace_block_size=int(block), capture_per_request=True, **more)
found = report.to_dict()
print(
    json.dumps(
        {
            "rows": found["summary"]["completed_requests"],
            "input": found["summary"]["total_input_tokens"],
            "output": found["summary"]["total_output_tokens"],
            "times": sorted(each["arrival_time_ms"] / 1000 for each in found["per_request"]),
        }
    )
)
