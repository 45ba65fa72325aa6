"""Which dialects there are."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..core.errors import BadUse
from . import dialects
from .dialect import Dialect


@cache
def all_dialects() -> dict[str, Dialect]:
    """Return the dialects by their names: one for each module of `dialects`."""
    names = sorted(each.name for each in pkgutil.iter_modules(dialects.__path__))
    modules = [importlib.import_module(f"{dialects.__name__}.{name}") for name in names]
    return {module.DIALECT.name: module.DIALECT for module in modules}


def find_dialect(name: str) -> Dialect:
    """Return a dialect. Raises BadUse that lists them for an unknown name."""
    known = all_dialects()
    if name not in known:
        raise BadUse(name, "there is no such dialect", there_are=", ".join(known), next="llm-traces export --list")
    return known[name]
