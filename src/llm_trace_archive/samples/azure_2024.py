"""Look-alikes of the Azure LLM inference trace 2024: a week of each of two services, no fraction in whole seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from .kit.distributions import Arrivals, Tokens, hourly_load, lognormal, scale_rows
from .kit.draws import Draws, Ints, chunks
from .kit.shape import INTEGER, Shape
from .kit.spell import Lines, concat, csv_row, integer, timestamp

CODE, CONVERSATION = "AzureLLMInferenceTrace_code_1week.csv", "AzureLLMInferenceTrace_conv_1week.csv"
ROWS = {CODE: 16803695, CONVERSATION: 27303999}
# CRLF, because 1,135,195,393 bytes are 41.6 per row, and rows with LF and these medians and maxima have at most 41.0.
SHAPES = dict.fromkeys(
    ROWS,
    Shape(
        rf"2024-05-1\d \d\d:\d\d:\d\d(\.(?!000000)\d{{6}})?\+00:00,{INTEGER},{INTEGER}",
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "\r\n",
        "\r\n",
        published=("2024-05-10 00:00:00.009930+00:00,2162,5", "2024-05-12 00:00:00+00:00,2399,6"),
    ),
)
_SECOND = 1_000_000
_CODE_DAY, _CONVERSATION_DAY = 1715299200 * _SECOND, 1715472000 * _SECOND  # Friday 2024-05-10, Sunday 2024-05-12
_WEEK = 7 * 86400 * _SECOND


def generate(folder: Path, rows: int) -> None:
    """Write both files, with `rows` rows in the one with conversations."""
    count = scale_rows(ROWS, rows)
    # First and last times of the published files, medians and means of both columns, and the largest inputs. The
    # largest outputs are not published. Code has 9,086 to 301,105 requests per hour, hence the quiet weekend.
    code = Arrivals(_CODE_DAY + 9930, _CODE_DAY + _WEEK - 70499, hourly_load(7, first_weekday=4, weekend=30))
    _write(folder, CODE, count[CODE], code, lognormal(1930, 2511, 7743), lognormal(8, 23, 2000))
    conversation = Arrivals(_CONVERSATION_DAY + 1163, _CONVERSATION_DAY + _WEEK - 4540, hourly_load(7, first_weekday=6))
    tokens = lognormal(928, 1632, 7999), lognormal(41, 106, 2000)
    _write(folder, CONVERSATION, count[CONVERSATION], conversation, *tokens)


def _write(folder: Path, name: str, rows: int, arrivals: Arrivals, context: Tokens, generated: Tokens) -> None:
    draws = Draws("azure-2024", name)
    with Lines(folder / name, SHAPES[name]) as lines:
        for start, stop in chunks(rows):
            times = _cut_some_fractions(arrivals.chunk(draws, start, stop, rows))
            tokens = [integer(each.draw(draws, stop - start)) for each in (context, generated)]
            text = pc.replace_substring(timestamp(times), ".000000", "")
            lines.write(csv_row(concat(text, "+00:00"), *tokens))


def _cut_some_fractions(times: Ints) -> Ints:
    """Cut some times to the whole second: one in a million upstream, more here, so that small samples have some.

    Only the first request of a second is changed, so the order stays.
    """
    second = times // _SECOND
    is_first = np.diff(second, prepend=second[:1]) > 0
    wanted = second % 97 == 0
    wanted[1:2] = True
    return np.where(is_first & wanted, second * _SECOND, times)
