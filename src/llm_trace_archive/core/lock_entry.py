"""The shape of the lock, on which every reader relies. `llm-traces validate` checks the values."""

from __future__ import annotations

from typing import Any

_COUNT = (int, type(None))
# A type, types, a list of one shape (with ... not empty), or an object; a name that ends in ? may be missing.
_RESOURCE = {
    **dict.fromkeys(("name", "trace", "workload", "title", "description", "path", "hash", "schema", "table"), str),
    **dict.fromkeys(("citation", "collected", "doi?", "derivedFrom?"), str),
    "bytes": int,
    "upstreamBytes": int,
    "synthetic?": bool,
    "redistribute": bool,
    "licenses": [{"name": str, "path": str}, ...],
    "sources": [{"title": str, "path": str}, ...],
    "sameRequestsAs?": [str],
    "urls?": [str],
    "properties": {},
    "anomalies": [{}],
    "facts": {
        "rows": int,
        "sessions?": int,
        **dict.fromkeys(("input_tokens?", "output_tokens?", "failures?"), _COUNT),
        "segments?": [{"rows": int, "first_us": _COUNT, "last_us": _COUNT}],
    },
    "provenance": {
        "recipe": str,
        "recipeDigest": str,
        "pins": [{"sha256": str, "bytes": int}, ...],
        "tools": {"llm-trace-archive": str, "pyarrow": str},
    },
}
_RELEASE = dict.fromkeys(("target", "version", "place", "url", "doi?", "conceptDoi?"), str)
LOCK_SHAPE = {"resources?": [_RESOURCE], "releases?": [_RELEASE]}


def find_fault(value: Any, shape: Any = LOCK_SHAPE, place: str = "lock") -> str:
    """Return what of a lock has the wrong shape, or an empty text."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{place} is not an object"
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name in value:
                if fault := find_fault(value[name], inner, f"{place}.{name}"):
                    return fault
            elif name == key:
                return f"{place} lacks '{name}'"
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list) or (not value and ... in shape):
            return f"{place} is not a list, or is empty"
        faults = (find_fault(each, shape[0], f"{place}[{number}]") for number, each in enumerate(value))
        return next(filter(None, faults), "")
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return "" if type(value) in kinds else f"{place} is of the wrong type"
