"""The hooks that frictionless calls; with `FRICTIONLESS_ARROW=off` in the environment, they change nothing."""

from __future__ import annotations

import os
from typing import Any

from frictionless import Parser, Plugin, Resource

from .resource import ParquetFile, ParquetTable


class ArrowPlugin(Plugin):
    """Replaces `validate` of file and table resources, which leaves all but local Parquet files to frictionless."""

    def select_resource_class(self, type: str | None = None, *, datatype: str | None = None) -> Any:
        """Return the resource class for a type, or None for frictionless's own."""
        if os.environ.get("FRICTIONLESS_ARROW") == "off":
            return None
        return {"file": ParquetFile, "table": ParquetTable}.get(datatype or type or "")

    def create_parser(self, resource: Resource) -> Parser | None:
        """Return the parser of the row check's tables, or None for frictionless's own."""
        from .row_check import ArrowParser, Rows

        return ArrowParser(resource) if isinstance(resource, Rows) else None
