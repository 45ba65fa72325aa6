"""A look-alike of the Azure LMM inference trace 2025: multimodal requests in a gzipped CSV file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from .kit.distributions import Arrivals, hourly_load, lognormal
from .kit.draws import Draws, chunks
from .kit.shape import INTEGER, Shape
from .kit.spell import Lines, concat, csv_row, integer, timestamp

NAME = "AzureLMMInferenceTrace_multimodal.csv.gz"
SHAPES = {
    NAME: Shape(
        rf"2024-10-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z,{INTEGER},{INTEGER},{INTEGER}",
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens",
    )
}
_NOON = 1728993600 * 1000  # 2024-10-15T12:00:00Z, a Tuesday, in milliseconds
# Distributions are not published: assume that most requests have one image, then none.
_IMAGES = (250, 600, 80, 30, 16, 10, 6, 4, 2, 1, 1)
_TEXT, _GENERATED = lognormal(420, 900, 8000), lognormal(70, 130, 2048)
_IMAGE_TOKENS = 765


def generate(folder: Path, rows: int) -> None:
    """Write the file with `rows` rows."""
    draws = Draws("azure-lmm-2025", NAME)
    # First and last times of the published file.
    arrivals = Arrivals(_NOON + 269, _NOON + 604_800_000 - 36, hourly_load(7, first_weekday=1, first_hour=12))
    with Lines(folder / NAME, SHAPES[NAME]) as lines:
        for start, stop in chunks(rows):
            count = stop - start
            times = timestamp(arrivals.chunk(draws, start, stop, rows) * 1000)
            times = concat(pc.replace_substring(pc.utf8_slice_codeunits(times, 0, 23), " ", "T"), "Z")
            images = draws.choose(count, _IMAGES)
            # ContextTokens includes the tokens of the images.
            context = _TEXT.draw(draws, count) + images * _IMAGE_TOKENS
            lines.write(csv_row(times, integer(images), integer(context), integer(_GENERATED.draw(draws, count))))
