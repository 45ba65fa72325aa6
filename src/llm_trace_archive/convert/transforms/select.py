"""Pick the transform of a rule: the same one reads the upstream and restores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...core.recipe import Rule
from .base import Transform
from .derived import DERIVED
from .reversible import DateTime, Ids, Number, Text, Texts


def make_transform(rule: Rule, kind: pa.DataType, properties: Mapping[str, Any]) -> Transform:
    """Return the transform for a rule, the type of its column and the properties of its workload."""
    return _class(rule, kind)(rule, kind, properties)


def make_transforms(
    rules: Sequence[Rule], types: Mapping[str, pa.DataType], properties: Mapping[str, Any]
) -> list[Transform]:
    """Return a transform for each rule that has a source."""
    return [make_transform(rule, types[rule.column], properties) for rule in rules if rule.source is not None]


def _class(rule: Rule, kind: pa.DataType) -> type[Transform]:
    if rule.derive:
        return DERIVED[rule.derive]
    if rule.datetime:
        return DateTime
    if pa.types.is_list(kind):
        return Ids if pa.types.is_integer(kind.value_type) else Texts
    return Number if pa.types.is_integer(kind) or pa.types.is_floating(kind) else Text
