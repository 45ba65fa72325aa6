"""The first rows that break a check, for `Result.rows`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.table import show
from .result import ROWS_SHOWN


def first_rows(mask: pa.Array, values: pa.Array, start: int, known: tuple[tuple[int, str], ...] = ()) -> Any:
    """Return `known` and the first rows of a mask with their values, for `Result.rows`; its first row is `start`."""
    rows = pc.indices_nonzero(pc.fill_null(mask, False)).slice(0, ROWS_SHOWN - len(known)).to_pylist()
    return (*known, *((start + row, show(values[row])) for row in rows))
