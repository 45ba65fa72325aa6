"""Prefix-block ids as their definition has them, slowly."""

from __future__ import annotations


def naive_block_ids(prompts: list[list[int]], block: int) -> list[list[int]]:
    """Number the leading tokens up to the end of each block, by first appearance."""
    seen: dict[tuple[int, ...], int] = {}
    ids = []
    for prompt in prompts:
        ends = [min(start + block, len(prompt)) for start in range(0, len(prompt), block)]
        ids.append([seen.setdefault(tuple(prompt[:end]), len(seen)) for end in ends])
    return ids
