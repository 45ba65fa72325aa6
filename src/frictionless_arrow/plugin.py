"""The hook frictionless calls; `FRICTIONLESS_ARROW=off` in the environment leaves everything to stock frictionless."""

from __future__ import annotations

import os
from typing import Any

from frictionless import Parser, Plugin, Resource

from .resource import ParquetFile, ParquetTable


class ArrowPlugin(Plugin):
    """Takes over `validate` of file and table resources; those that are not local Parquet files are passed on."""

    def select_resource_class(self, type: str | None = None, *, datatype: str | None = None) -> Any:
        """The resource class for a type, or None where frictionless's own serves."""
        if os.environ.get("FRICTIONLESS_ARROW") == "off":
            return None
        return {"file": ParquetFile, "table": ParquetTable}.get(datatype or type or "")

    def create_parser(self, resource: Resource) -> Parser | None:
        """A parser for the rows the judge reads; everybody else keeps frictionless's own."""
        from .judge import ArrowParser, Rows

        return ArrowParser(resource) if isinstance(resource, Rows) else None
