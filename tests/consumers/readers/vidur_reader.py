"""Load a file with the request generator of Vidur 0.0.26, and print what it understood."""

import json
import sys
from types import SimpleNamespace

from vidur.request_generator.trace_replay_request_generator import TraceReplayRequestGenerator

config = SimpleNamespace(
    trace_file=sys.argv[1],
    date="2023-08-21",
    prefill_scale_factor=1,
    decode_scale_factor=1,
    time_scale_factor=1,
    max_tokens=int(sys.argv[2]),
    seed=1,
)
requests = TraceReplayRequestGenerator(config).generate_requests()
print(
    json.dumps(
        {
            "rows": len(requests),
            "input": int(sum(each.num_prefill_tokens for each in requests)),
            "output": int(sum(each.num_decode_tokens for each in requests)),
            "times": [float(each.arrived_at) for each in requests],
        }
    )
)
