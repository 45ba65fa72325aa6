"""Parquet resources validated by Arrow columns: a plugin that frictionless finds by its name.

`plugin` is the hook, `resource` decides who judges a resource, `source` reads the file within bounds, `columns` says
which values may offend, `keys` which may break uniqueness or a reference, and `judge` has frictionless's own row code
word the errors of those rows alone.
"""

from .plugin import ArrowPlugin

__all__ = ["ArrowPlugin"]
