"""How many bytes of KV cache a token takes, by model: `models.toml` has the shapes and their sources."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..core.errors import BadUse

DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}


@dataclass(frozen=True)
class Model:
    """A model's shape. `latent` and `rope` are those of multi-head latent attention, which has no heads to cache."""

    name: str
    layers: int
    source: str
    kv_heads: int = 0
    head_size: int = 0
    latent: int = 0
    rope: int = 0

    def bytes_per_token(self, dtype: str = "bf16") -> int:
        """Return the bytes that the KV cache of one token takes in all layers. Raises BadUse for an unknown type."""
        if dtype not in DTYPES:
            raise BadUse(dtype, "is no type of a KV cache", expected=", ".join(DTYPES))
        values = self.latent + self.rope if self.latent else 2 * self.kv_heads * self.head_size  # keys and values
        return self.layers * values * DTYPES[dtype]


@cache
def models() -> dict[str, Model]:
    """Return the catalogue by name."""
    raw = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    return {name: Model(name, **shape) for name, shape in raw.items()}


def model_named(name: str) -> Model:
    """Return a model of the catalogue. Raises BadUse, which lists them."""
    known = models()
    if name not in known:
        raise BadUse(
            name,
            "is not in the catalogue of models",
            nearest=", ".join(difflib.get_close_matches(name.lower(), known, n=1)),
            there_are=", ".join(known),
            next="give the bytes of KV cache that a token takes instead: bytes_per_token=N, or --bytes-per-token N",
        )
    return known[name]
