"""The LLM Trace Archive: request traces of LLM serving in one schema, each with its proof.

    import llm_trace_archive as lta

    lta.traces()                          # what there is
    w = lta.open("azure-2023/code")       # lazy
    w.arrow(), w.polars(), w.pandas(), w.duckdb()

The names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.errors import Absent, Problem
    from .workload.catalogue import traces
    from .workload.logs.importing import import_log
    from .workload.open import open
    from .workload.records import Records
    from .workload.requests import Requests
    from .workload.shape import ShapeWarning

__version__ = "0.1.0"
__all__ = ["Absent", "Problem", "Records", "Requests", "ShapeWarning", "__version__", "import_log", "open", "traces"]

_HOMES = {
    "Absent": "core.errors",
    "Problem": "core.errors",
    "Records": "workload.records",
    "Requests": "workload.requests",
    "ShapeWarning": "workload.shape",
    "import_log": "workload.logs.importing",
    "open": "workload.open",
    "traces": "workload.catalogue",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
