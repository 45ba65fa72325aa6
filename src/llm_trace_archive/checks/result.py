"""The result of one check, and how people read it."""

from __future__ import annotations

from dataclasses import dataclass

Value = float | int | str
NOTHING = "no values"
ROWS_SHOWN = 3


@dataclass(frozen=True)
class Result:
    """What one check found: the value expected, the largest difference that is accepted, and the value found.

    check   the family: package, integrity, schema, rows, keys, relations, expectations, published or provenance
    source  where the expected value is stated
    column  the column it is about, or empty
    rows    the first rows that break it, each (0-based number, value)
    """

    check: str
    name: str
    expected: Value
    tolerance: float
    found: Value
    source: str
    column: str = ""
    rows: tuple[tuple[int, str], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the value found is the one expected, within the tolerance."""
        if isinstance(self.expected, str) or isinstance(self.found, str):
            return self.expected == self.found
        return abs(self.found - self.expected) <= self.tolerance

    def __str__(self) -> str:
        within = f" ± {self.tolerance:g}" if self.tolerance else ""
        rows = "".join(f", row {row:,}: {value}" for row, value in self.rows)
        return f"{self.name}: expected {plain(self.expected)}{within}, found {plain(self.found)}{rows}  ({self.source})"


def plain(value: Value) -> str:
    """Return a value as people read it."""
    return value if isinstance(value, str) else f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"
