"""Compare hit ratios with kvcache-simulator: `python benchmarks/kv_cache.py TRACE.jsonl`, a trace in Mooncake's format.

Both replay the trace on caches of 14 capacities in GiB, as Llama 3.1 70B takes them, by three policies. The simulator
counts the tokens of the last half of the requests and evicts the deepest block of a prompt first: the figures under its
definition are computed here as well, side by side. The times are those of whole processes: start, read, replay.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

GIB = tuple(2**power for power in range(14))
MODEL = "llama-3.1-70b"
BLOCK_TOKENS = 512
POLICIES = {"leaf-lru": "lru", "fifo": "fifo", "belady": "optimal"}  # ours, theirs
RUNS = 3

OURS = """
import json, sys
import numpy as np, pyarrow as pa, pyarrow.json
from llm_trace_archive.analysis.kv_cache import hit_ratio
from llm_trace_archive.columns.arrays import from_integers
rows = pa.json.read_json(sys.argv[1])
table = pa.table({
    "segment": from_integers(np.zeros(len(rows))),
    "input_tokens": rows["input_length"],
    "hash_ids": rows["hash_ids"],
    "block_tokens": from_integers(np.full(len(rows), int(sys.argv[2]))),
})
question = json.loads(sys.argv[3])
found = {policy: hit_ratio(table.to_batches(), policy=policy, **question) for policy in sys.argv[4:]}
ratios = {policy: [each.unlimited, *(point.hit_ratio for point in each.points)] for policy, each in found.items()}
print(json.dumps(ratios))
"""


def timed(command: Sequence[str]) -> tuple[str, float, float]:
    """Run a command; return its output, and the least wall-clock and processor time of `RUNS` runs in seconds."""
    walls, cpus = [], []
    for _ in range(RUNS):
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        walls.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return done.stdout, min(walls), min(cpus)


def ours(trace: Path, policies: Sequence[str], **question: object) -> tuple[dict[str, list[float]], float, float]:
    """Return the ratios of an unlimited cache and of each capacity, by policy, and the times."""
    asked = json.dumps({"gib": GIB, "model": MODEL, **question})
    out, wall, cpu = timed([sys.executable, "-c", OURS, str(trace), str(BLOCK_TOKENS), asked, *policies])
    return json.loads(out), wall, cpu


def theirs(trace: Path) -> tuple[dict[str, dict[float, float]], float, float] | None:
    """Return the ratios by policy and GiB, 0 for an unlimited cache, and the times; None if it is not installed."""
    try:
        version("kvcache-simulator")
    except PackageNotFoundError:
        return None
    program = str(Path(sys.executable).with_name("kvcache-simulator"))
    command = [program, "run", "--trace", str(trace), "--model", MODEL, "--block-size", str(BLOCK_TOKENS)]
    command += ["--budgets-gib", ",".join(map(str, GIB)), "--policies", ",".join(POLICIES.values())]
    subprocess.run(command, check=True, capture_output=True)  # its first run compiles it
    out, wall, cpu = timed([*command, "--format", "json", "--no-progress"])
    report = json.loads(out)
    ratios = {
        each: {point["gib"]: point["results"][each]["hitRate"] for point in report["points"]}
        | {0: report["hitRateCeiling"]}
        for each in POLICIES.values()
    }
    return ratios, wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    trace = parser.parse_args().trace

    whole, *_ = ours(trace, ["lru"])
    # Compiled by the run before: numba keeps it, as the simulator keeps its program.
    ours(trace, list(POLICIES))
    alike, wall, cpu = ours(trace, list(POLICIES), count="tokens", warm_up=0.5)
    peer = theirs(trace)
    print("whole trace, LRU from the front, blocks: ours alone; last half, tokens: ours / kvcache-simulator's\n")
    print(f"{'GiB':>9}  {'lru':>6}  " + "  ".join(f"{policy:^15}" for policy in POLICIES))
    same = True
    for row, gib in enumerate((0, *GIB)):
        cells = []
        for policy, name in POLICIES.items():
            other = peer[0][name].get(gib) if peer else None
            same = same and (other is None or other == alike[policy][row])
            cells.append(f"{alike[policy][row]:.4f} / " + ("     -" if other is None else f"{other:.4f}"))
        print(f"{gib or 'unlimited':>9}  {whole['lru'][row]:.4f}  " + "  ".join(cells))
    print(f"\nours               {wall:5.2f} s, {cpu:5.2f} s of processor time, compiled before")
    if peer:
        print(f"kvcache-simulator  {peer[1]:5.2f} s, {peer[2]:5.2f} s of processor time, compiled before")
        print(f"every figure is {'the same' if same else 'NOT the same'}; - is a cache that it leaves out as not full")
    else:
        print("kvcache-simulator is not installed: pip install kvcache-simulator")


if __name__ == "__main__":
    main()
