"""Run kvcache-simulator on a file, and print what it understood and the best hit ratio there is."""

import json
import subprocess
import sys
from pathlib import Path

program = Path(sys.executable).with_name("kvcache-simulator")
command = [sys.executable, program, "run", "--trace", sys.argv[1], "--model", "llama-3.1-8b", "--format", "json"]
ran = subprocess.run([*command, "--no-progress"], capture_output=True, text=True, check=True)
report = json.loads(ran.stdout)
found = report["metadata"]
assert (found["parseErrors"], found["skippedRecords"]) == (0, 0)
print(
    json.dumps(
        {
            "rows": found["requestCount"],
            "input": round(found["averageInputTokens"] * found["requestCount"]),
            "block": found["blockSize"],
            "blocks": found["eventCount"],
            "distinct": found["uniqueBlocks"],
            "ceiling": report["hitRateCeiling"],
        }
    )
)
