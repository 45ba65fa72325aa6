"""Parquet resources validated by Arrow columns: a plugin that frictionless finds by its name.

Enters: a resource that frictionless is to validate. Leaves: the report of stock frictionless. Read plugin (the hook),
resource (which resources are ours, and their reports), source (the open file), field_check (which values may break a
field), keys (which may break uniqueness or a reference), row_check (frictionless's own code words the errors of the
rows with such values, and reads no others).
"""

from .plugin import ArrowPlugin

__all__ = ["ArrowPlugin"]
