"""Look-alikes of the Azure LLM inference trace 2023: CRLF, times to 100 ns, no final line end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .kit.distributions import FLAT, Arrivals, Tokens, lognormal, scale_rows
from .kit.draws import Draws, chunks
from .kit.shape import INTEGER, Shape
from .kit.spell import Lines, concat, csv_row, integer, timestamp

CODE, CONVERSATION = "AzureLLMInferenceTrace_code.csv", "AzureLLMInferenceTrace_conv.csv"
ROWS = {CODE: 8819, CONVERSATION: 19366}
SHAPES = dict.fromkeys(
    ROWS,
    Shape(
        rf"2023-11-16 \d\d:\d\d:\d\d\.\d{{7}},{INTEGER},{INTEGER}",
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "\r\n",
        "",
        published=("2023-11-16 18:17:03.9799600,4808,10",),
    ),
)
_DAY = 1700092800 * 1_000_000  # 2023-11-16


def generate(folder: Path, rows: int) -> None:
    """Write both files, with `rows` rows in the one with conversations."""
    count = scale_rows(ROWS, rows)
    # First and last times, medians, means and extremes of the published files.
    code = Arrivals(_DAY + 65823979960, _DAY + 69259928016, FLAT)
    _write(folder, CODE, count[CODE], code, lognormal(1469, 2048, 7437, 3), lognormal(13, 28, 1899, 6))
    conversation = Arrivals(_DAY + 65746680590, _DAY + 69248402527, FLAT)
    _write(
        folder,
        CONVERSATION,
        count[CONVERSATION],
        conversation,
        lognormal(1020, 1155, 14050, 2),
        lognormal(129, 211, 1000, 7),
    )


def _write(folder: Path, name: str, rows: int, arrivals: Arrivals, context: Tokens, generated: Tokens) -> None:
    draws = Draws("azure-2023", name)
    last = 0
    with Lines(folder / name, SHAPES[name]) as lines:
        for start, stop in chunks(rows):
            index = np.arange(stop - start)
            # Strictly increasing, as in the upstream: a tie moves by a microsecond.
            times = np.maximum(arrivals.chunk(draws, start, stop, rows), last + 1)
            times = np.maximum.accumulate(times - index) + index
            last = int(times[-1])
            tokens = [integer(each.draw(draws, stop - start)) for each in (context, generated)]
            # The 100 ns digit is 0 on every row of the upstream.
            lines.write(csv_row(concat(timestamp(times), "0"), *tokens))
