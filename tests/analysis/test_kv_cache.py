"""KV-cache hit ratios by policy, against plain simulations, and against the figures of another simulator."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace_archive.analysis.kv_cache import POLICIES, hit_ratio
from llm_trace_archive.analysis.models import DTYPES, models
from llm_trace_archive.core.errors import BadUse

SIZE = 16  # tokens of a block
SCHEMA = pa.schema(
    {
        "segment": pa.int16(),
        "model": pa.dictionary(pa.int32(), pa.string()),
        "input_tokens": pa.int64(),
        "block_tokens": pa.int16(),
        "hash_ids": pa.list_(pa.int64()),
    }
)


def table(prompts: Sequence[list[int] | None], **columns: list[Any]) -> pa.Table:
    """Return prompts as rows; by default of one segment and model, and each with a last block of one token."""
    rows = {
        "segment": [0] * len(prompts),
        "model": ["m"] * len(prompts),
        "input_tokens": [len(ids) * SIZE - SIZE + 1 if ids else 0 for ids in prompts],
        "block_tokens": [SIZE if ids is not None else None for ids in prompts],
        "hash_ids": list(prompts),
    }
    return pa.table(rows | columns, SCHEMA)


# Ids that always follow the same ids, as the nodes of a tree: a prompt goes down from the root.
def _path(steps: list[int]) -> list[int]:
    node, path = 0, []
    for step in steps:
        node = node * 3 + step + 1
        path.append(node)
    return path


trees = st.lists(st.lists(st.integers(0, 2), max_size=6).map(_path), min_size=1, max_size=40)
anything = st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=40)


def lru(prompts: list[list[int]], capacity: int, from_back: bool = False) -> int:
    cached: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for prompt in prompts:
        hits += leading(prompt, cached)
        for block in reversed(prompt) if from_back else prompt:
            cached[block] = None
            cached.move_to_end(block)
            if len(cached) > capacity:
                cached.popitem(last=False)
    return hits


def fifo(prompts: list[list[int]], capacity: int) -> int:
    queue: list[int] = []
    hits = 0
    for prompt in prompts:
        hits += leading(prompt, queue)
        for block in prompt:
            if block not in queue:
                queue = [*queue, block][-capacity:] if capacity else []
    return hits


def belady(prompts: list[list[int]], capacity: int) -> int:
    """Evict, among the cached blocks and the new one, the block whose next use is the farthest."""
    uses = [(request, block) for request, prompt in enumerate(prompts) for block in prompt]
    cached: set[int] = set()
    hits = at = 0
    for prompt in prompts:
        hits += leading(prompt, cached)
        for block in prompt:
            at += 1
            later = {
                other: next((n for n, (_, b) in enumerate(uses) if n >= at and b == other), math.inf)
                for other in {*cached, block}
            }
            cached.add(block)
            if len(cached) > capacity:
                cached.remove(max(later, key=lambda other: later[other]))
    return hits


def leading(prompt: list[int], cached: Any) -> int:
    return next((n for n, block in enumerate(prompt) if block not in cached), len(prompt))


PLAIN: dict[str, Callable[[list[list[int]], int], int]] = {
    "lru": lru,
    "leaf-lru": lambda prompts, capacity: lru(prompts, capacity, from_back=True),
    "fifo": fifo,
    "belady": belady,
}


@settings(max_examples=60)
@pytest.mark.parametrize("policy", POLICIES)
@given(prompts=trees)
def test_policies_are_as_defined(policy: str, prompts: list[list[int]]) -> None:
    total = sum(map(len, prompts))
    capacities = (0, 1, 2, 3, 5, 8, 13, 100)
    found = hit_ratio(table(prompts).to_batches(max_chunksize=7), blocks=capacities, policy=policy)
    if not total:
        assert found is None
        return
    assert found is not None
    expected = [PLAIN[policy](prompts, capacity) / total for capacity in capacities]
    assert [point.hit_ratio for point in found.points] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60)
@given(st.one_of(trees, anything))
def test_beladys_policy_is_never_worse_and_every_lru_curve_rises(prompts: list[list[int]]) -> None:
    capacities = range(25)
    curves = {}
    for policy in POLICIES:
        found = hit_ratio(table(prompts).to_batches(), blocks=capacities, policy=policy, definition="folded")
        if found is None:
            assert not any(prompts)
            return
        curves[policy] = [point.hit_ratio for point in found.points]
        assert max(curves[policy]) <= found.unlimited
    for policy, curve in curves.items():
        assert all(best >= each for best, each in zip(curves["belady"], curve, strict=True)), policy
        if policy != "fifo":
            assert curve == sorted(curve)


def test_beladys_policy_refuses_ids_that_are_of_a_block_alone() -> None:
    rows = table([[1, 2], [3, 2]]).to_batches()
    with pytest.raises(BadUse, match="definition='folded'"):
        hit_ratio(rows, blocks=1, policy="belady")
    assert hit_ratio(rows, blocks=1, policy="belady", definition="folded") is not None


def test_the_definitions_differ_where_an_id_follows_two_predecessors() -> None:
    prompts = [[1, 9], [2, 9], [1, 9]]
    leading_, folded = (hit_ratio(table(prompts).to_batches(), definition=each) for each in ("leading", "folded"))
    assert leading_ and folded
    assert (leading_.distinct, folded.distinct) == (3, 4)
    assert (leading_.definition, folded.definition) == ("leading", "folded")


def test_a_table_without_ids_has_no_hit_ratio() -> None:
    assert hit_ratio(table([None, None]).to_batches(), share=0.5) is None


def test_each_part_has_a_cache_of_its_own() -> None:
    rows = table([[1, 2], [1, 2], [1, 2], [1, 2]], segment=[0, 0, 1, 1], model=["a", "b", "a", "a"])
    by_segment = hit_ratio(rows.to_batches(), blocks=[2])
    assert by_segment and by_segment.unlimited == 0.5
    assert {name: part.unlimited for name, part in by_segment.parts.items()} == {"segment 0": 0.5, "segment 1": 0.5}
    by_both = hit_ratio(rows.to_batches(), blocks=[2], by=["segment", "model"])
    assert by_both and by_both.unlimited == 0.25
    assert {name: part.unlimited for name, part in by_both.parts.items()} == {
        "segment 0, a": 0,
        "segment 0, b": 0,
        "segment 1, a": 0.5,
    }
    assert by_both.arrow().num_rows == 4 * 2


def test_capacities_in_tokens_and_gib_are_whole_blocks() -> None:
    rows = table([[1, 2, 3], [1, 2, 3]]).to_batches()
    per_block = SIZE * 131072  # Llama 3 8B
    found = hit_ratio(rows, tokens=[31, 32], gib=[per_block * 3 / 2**30], model="llama-3-8b")
    assert found and [point.blocks for point in found.points] == [1, 2, 3]
    assert found.points[2].hit_ratio == 0.5
    by_hand = hit_ratio(rows, gib=per_block * 3 / 2**30, bytes_per_token=131072)
    assert by_hand and by_hand.points[0] == found.points[2]
    smaller = hit_ratio(rows, gib=per_block * 3 / 2**30, model="llama-3-8b", dtype="fp8")
    assert smaller and smaller.points[0].blocks == 6


def test_tokens_count_the_last_block_by_what_it_has_and_the_rest_of_the_prompt_as_missed() -> None:
    rows = table([[1, 2], [1, 2], [1]], input_tokens=[20, 20, 40])
    found = hit_ratio(rows.to_batches(), count="tokens")
    assert found and found.unlimited == (20 + 16) / 80


def test_the_warm_up_fills_the_cache_and_is_not_counted() -> None:
    rows = table([[1], [2], [1], [3]])
    whole, half = (hit_ratio(rows.to_batches(max_chunksize=3), warm_up=share) for share in (0, 0.5))
    assert whole and half and (whole.unlimited, half.unlimited) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 1.5}, "a capacity in share must be from 0 to 1, not 1.5"),
        ({"gib": -1, "model": "llama-3-8b"}, "a capacity in GiB must be at least 0"),
        ({"blocks": math.nan}, "a capacity in blocks must be at least 0"),
        ({"gib": 1}, "needs either model or bytes_per_token"),
        ({"gib": 1, "model": "llama-3-8b", "bytes_per_token": 1}, "needs either model or bytes_per_token"),
        ({"gib": 1, "bytes_per_token": 0}, "must be above 0"),
        ({"gib": 1, "model": "llama-3-8x"}, "nearest +llama-3-8b"),
        ({"gib": 1, "model": "llama-3-8b", "dtype": "int3"}, "is no type of a KV cache"),
        ({"policy": "random"}, "there is no policy 'random'"),
        ({"definition": "radix"}, "there is no definition 'radix'"),
        ({"count": "requests"}, "there is no count 'requests'"),
        ({"warm_up": 1}, "from 0 to below 1"),
    ],
)
def test_wrong_questions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadUse, match=message):
        hit_ratio(table([[1]]).to_batches(), **arguments)


def test_blocks_of_different_sizes_have_no_capacity_in_tokens() -> None:
    rows = table([[1], [2]], block_tokens=[16, 512]).to_batches()
    with pytest.raises(BadUse, match="block_tokens of 16, 512"):
        hit_ratio(rows, tokens=1000)
    assert hit_ratio(rows, blocks=1) is not None


def test_a_prompt_without_its_tokens_is_not_counted_in_tokens() -> None:
    with pytest.raises(BadUse, match="none on 1 of 2"):
        hit_ratio(table([[1], [2]], input_tokens=[5, None]).to_batches(), count="tokens")


@pytest.mark.parametrize(
    ("name", "size"),
    [("llama-3-8b", 131072), ("llama-3-70b", 327680), ("qwen2.5-7b", 57344), ("deepseek-v3", 70272)],
)
def test_models_have_the_bytes_per_token_of_their_config(name: str, size: int) -> None:
    assert models()[name].bytes_per_token() == size
    assert models()[name].bytes_per_token("fp8") * 2 == size


def test_every_model_has_a_shape_and_a_source() -> None:
    for name, model in models().items():
        assert all(model.bytes_per_token(dtype) > 0 for dtype in DTYPES), name
        assert model.source.startswith("https://") and model.source.endswith("config.json")
        assert bool(model.kv_heads and model.head_size) != bool(model.latent and model.rope)


# kvcache-simulator 0.1.3 on conversation_trace.jsonl: hit tokens of 67,915,607 in the last half of the requests.
PEER = {
    "capacities": [6, 102, 1638, 6553, 13107, 52428],
    "leaf-lru": [3080192, 3080581, 3532794, 10394228, 16995095, 25671028],
    "fifo": [840704, 2574336, 3455799, 9717517, 14697452, 23706725],
    "belady": [3226566, 5025367, 16664351, 26215927, 27038068, 27038068],
    "unlimited": 27038068,
}


def test_the_figures_of_another_simulator_are_reproduced_under_its_definition(mirror: Any) -> None:
    lines = (mirror / "mooncake" / "conversation_trace.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    rows = table(
        [each["hash_ids"] for each in read],
        input_tokens=[each["input_length"] for each in read],
        block_tokens=[512] * len(read),
    ).to_batches()
    for policy in ("leaf-lru", "fifo", "belady"):
        found = hit_ratio(rows, blocks=PEER["capacities"], policy=policy, count="tokens", warm_up=0.5)
        assert found and found.unlimited == PEER["unlimited"] / 67915607
        assert [round(point.hit_ratio * 67915607) for point in found.points] == PEER[policy]
    whole = hit_ratio(rows)
    assert whole and round(whole.unlimited, 4) == 0.3664


def test_belady_finds_the_latest_use_among_many() -> None:
    """More positions than two levels of 64 bits hold."""
    random = np.random.default_rng(5)
    prompts = [_path(list(random.integers(0, 3, 6))) for _ in range(1500)]
    found = hit_ratio(table(prompts).to_batches(), blocks=[40], policy="belady")
    assert found
    uses = [block for prompt in prompts for block in prompt]
    following: dict[int, float] = {}
    later = [math.inf] * len(uses)
    for at in range(len(uses) - 1, -1, -1):
        later[at] = following.get(uses[at], math.inf)
        following[uses[at]] = at
    cached: dict[int, float] = {}
    hits = 0
    for at, block in enumerate(uses):
        hits += block in cached
        cached[block] = later[at]
        if len(cached) > 40:
            del cached[max(cached, key=lambda each: cached[each])]
    assert found.points[0].hit_ratio == hits / len(uses)
