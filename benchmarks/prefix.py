"""Measure time and memory of prefix-cache hit ratios on a synthetic trace: `python benchmarks/prefix.py [REQUESTS]`.

By default 1 million requests with about 100 million blocks. The peak includes the trace, which is in memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import pyarrow as pa

from llm_trace_archive.analysis.prefix import hit_ratios

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)
PROMPTS = 64  # system prompts, some far more popular than others
REQUESTS_PER_CHUNK = 2**14


def make_trace(requests: int) -> pa.ChunkedArray:
    """Return a list<int64> per request: about 100 blocks, of which about 45 are new and the others were seen before.

    Conversations overlap in time; each turn sends a shared system prompt, the whole conversation, and new blocks.
    """
    random = np.random.default_rng(1970)
    turns = random.geometric(0.5, requests)  # at least one each, so these are enough
    turns = turns[: np.searchsorted(turns.cumsum(), requests) + 1]
    conversation = np.repeat(np.arange(len(turns)), turns)[:requests]
    first = (turns.cumsum() - turns)[conversation]

    fresh = random.lognormal(3.3, 1.0, requests).astype(np.int64) + 1
    until = fresh.cumsum()
    since = (until - fresh)[first]
    prompt = np.minimum(random.zipf(1.5, len(turns)), PROMPTS)[conversation] - 1
    prompt_blocks = random.integers(1, 25, PROMPTS)

    # Blocks of system prompts have negative numbers, those of conversations start at 0.
    starts = np.stack([-32 * (prompt + 1), since], axis=1)
    lengths = np.stack([prompt_blocks[prompt], until - since], axis=1)
    gaps = random.lognormal(-4, 2, requests).cumsum()  # between turns, from moments to more than the whole trace
    order = np.argsort(random.random(len(turns))[conversation] + gaps - gaps[first])
    chunks = [order[at : at + REQUESTS_PER_CHUNK] for at in range(0, requests, REQUESTS_PER_CHUNK)]
    return pa.chunked_array([_lists(starts[chunk], lengths[chunk]) for chunk in chunks], pa.list_(pa.int64()))


def _lists(starts: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    """Return a list per row with the ascending ids of its runs; `starts` and `lengths` are (requests, runs)."""
    ends = lengths.ravel().cumsum()
    ids = np.repeat(starts.ravel() - ends + lengths.ravel(), lengths.ravel()) + np.arange(ends[-1])
    ids *= 0x1E3779B97F4A7C15  # scatters the ids like hashes, and keeps them distinct
    return pa.ListArray.from_arrays(np.concatenate([[0], lengths.sum(axis=1).cumsum()]).astype(np.int32), pa.array(ids))


def peak() -> float:
    """Return the peak resident memory so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=1_000_000)
    trace = make_trace(parser.parse_args().requests)
    made = peak()

    begun = time.perf_counter()
    reuse = hit_ratios(trace, SHARES)
    seconds = time.perf_counter() - begun
    assert reuse is not None

    print(f"requests   {len(trace):,}, blocks {reuse.blocks:,}, distinct {reuse.distinct:,}")
    print(f"time       {seconds:.1f} s, including compilation")
    print(f"peak       {peak():.2f} GiB (trace {trace.nbytes / 2**30:.2f} GiB, peak while making it {made:.2f} GiB)")
    print(f"unlimited  {reuse.unlimited:.4f}")
    for share, ratio in reuse.by_share.items():
        print(f"LRU {share:<6.0%} {ratio:.4f}")


if __name__ == "__main__":
    main()
