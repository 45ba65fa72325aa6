"""From a recipe's rules to the transforms at work: for canonicalise forwards, for restore backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ..core.recipe import Rule
from .derived import DERIVED, BlockIds
from .transforms import DateTime, Ids, Number, Text, Texts, Transform


def transform_for(rule: Rule, kind: pa.DataType, epoch: str | None, block_tokens: int = 0) -> Transform:
    """The transform that a rule and the type of its column call for."""
    if rule.derive == "block_ids":
        return BlockIds(rule, kind, block_tokens)
    if rule.derive:
        return DERIVED[rule.derive](rule, kind)
    if rule.datetime:
        made = DateTime(rule, kind)
        if epoch:
            made.epoch = datetime.fromisoformat(epoch).replace(tzinfo=UTC)
        return made
    if pa.types.is_list(kind):
        return Ids(rule, kind) if pa.types.is_integer(kind.value_type) else Texts(rule, kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Number(rule, kind)
    return Text(rule, kind)


def transforms_for(rules: Sequence[Rule], types: dict[str, Any], properties: Mapping[str, Any]) -> list[Transform]:
    """A transform for each rule that has a source, under the properties of its workload."""
    epoch, block_tokens = properties.get("epoch"), properties.get("block_tokens", 0)
    return [transform_for(rule, types[rule.column], epoch, block_tokens) for rule in rules if rule.source is not None]
