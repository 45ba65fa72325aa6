"""Look-alikes of BurstGPT: failures with zero tokens; file 3 has two more columns and times like 19440110.0."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .kit.conversations import interleave
from .kit.distributions import Arrivals, hourly_load, lognormal, scale_rows
from .kit.draws import Draws, chunks
from .kit.shape import INTEGER, UUID, Shape
from .kit.spell import Lines, Text, concat, csv_row, integer, pick

ROWS = {"BurstGPT_1.csv": 1429737, "BurstGPT_2.csv": 3858400, "BurstGPT_3.csv": 5344021}
_TOKENS = rf"(ChatGPT|GPT-4),{INTEGER},{INTEGER},{INTEGER},(Conversation|API) log"
_HEADER = "Model,Request tokens,Response tokens,Total tokens,Log Type"
SHAPES = {
    "BurstGPT_1.csv": Shape(
        rf"{INTEGER},{_TOKENS}",
        f"Timestamp,{_HEADER}",
        published=("5,ChatGPT,472,18,490,Conversation log", "118,GPT-4,417,276,693,Conversation log"),
    ),
    "BurstGPT_2.csv": Shape(rf"{INTEGER}\.0,{_TOKENS}", f"Timestamp,{_HEADER}"),
    "BurstGPT_3.csv": Shape(
        rf"{INTEGER}\.0,({UUID}(?=.*Conversation)|(?=.*API)),{INTEGER},{_TOKENS}",
        f"Timestamp,Session ID,Elapsed time,{_HEADER}",
        published=("19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log",),
    ),
}

# Means: for ChatGPT from the paper, as simulators quote it; for GPT-4 from pull request 13063 of vLLM.
# Maxima are those of the copy at huggingface.co/datasets/lzzmm/BurstGPT; medians are not published.
_REQUEST = lognormal(330, 621, 31400), lognormal(420, 763, 31400)
_RESPONSE = lognormal(60, 126, 12500), lognormal(240, 348, 12500)
_SECONDS_PER_1000_TOKENS = 40, 95
_SESSION = lognormal(1.7, 4.18, 436)  # median 2 turns when rounded; README of BurstGPT

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _File:
    """Arrivals in seconds, and the shares of failures, GPT-4 and the conversation log in 1/10,000."""

    arrivals: Arrivals
    failed: int
    gpt_4: int
    conversation: int
    has_sessions: bool = False


def generate(folder: Path, rows: int) -> None:
    """Write the three files that include failures, with `rows` rows in the third."""
    for name, count in scale_rows(ROWS, rows).items():
        _write(folder, name, count, _FILES[name])


def _ramp() -> list[int]:
    """Return the load of file 1: 0.03 requests/s at first, 3.17 in bins 4550 to 4950 of 180 s, mean 0.27 (issue 11)."""
    load = hourly_load(61, 0)
    load[:20] = [max(1, each // 8) for each in load[:20]]
    load[227:247] = [600] * 20
    return load


# The shares of file 3 and of failures are counted in the published files; the others are guesses that fit their sizes.
_FILES = {
    "BurstGPT_1.csv": _File(Arrivals(5, 5269973, _ramp()), 178, 1500, 2000),
    "BurstGPT_2.csv": _File(Arrivals(5270414, 10454395, hourly_load(60, 5)), 192, 1500, 1000),
    "BurstGPT_3.csv": _File(Arrivals(19440110, 28943983, hourly_load(110, 1)), 726, 1479, 437, has_sessions=True),
}


def _write(folder: Path, name: str, rows: int, file: _File) -> None:
    draws = Draws("burstgpt", name)
    with Lines(folder / name, SHAPES[name]) as lines:
        for start, stop in chunks(rows):
            count = stop - start
            times = integer(file.arrivals.chunk(draws, start, stop, rows))
            gpt_4, is_api = draws.below(count, 10_000) < file.gpt_4, draws.below(count, 10_000) >= file.conversation
            request = np.where(gpt_4, _REQUEST[1].draw(draws, count), _REQUEST[0].draw(draws, count))
            response = np.where(gpt_4, _RESPONSE[1].draw(draws, count), _RESPONSE[0].draw(draws, count))
            failed, empty = _failures(draws, count, file.failed, is_start=start == 0)
            request, response = np.where(empty, 0, request), np.where(failed, 0, response)
            fields: list[Text] = []
            if file.has_sessions:
                speed = np.where(gpt_4, _SECONDS_PER_1000_TOKENS[1], _SECONDS_PER_1000_TOKENS[0])
                elapsed = response * speed // 1000 + draws.below(count, 3)
                fields = [_sessions(draws, is_api), integer(elapsed)]
            lines.write(
                csv_row(
                    times if name == "BurstGPT_1.csv" else concat(times, ".0"),
                    *fields,
                    pick(gpt_4, "ChatGPT", "GPT-4"),
                    *(integer(each) for each in (request, response, request + response)),
                    pick(is_api, "Conversation log", "API log"),
                )
            )


def _failures(draws: Draws, count: int, share: int, is_start: bool) -> tuple[Flags, Flags]:
    """Return where a request failed, and where its request tokens are 0, too; every sample has some."""
    failed = draws.below(count, 10_000) < share
    empty = failed & (draws.below(count, 8) == 0)
    if is_start:
        failed[5:10:4] = True
        empty[5:6] = True
    return failed, empty


def _sessions(draws: Draws, is_api: Flags) -> Text:
    """Return a UUID on rows of the conversation log and an empty text on those of the API log."""
    rows = np.flatnonzero(~is_api)
    text = np.full(len(is_api), "", object)
    if len(rows):
        turns = interleave(draws, len(rows), _SESSION)
        high, low = draws.words(turns.conversations).tolist(), draws.words(turns.conversations).tolist()
        names = [str(uuid.UUID(int=a << 64 | b, version=4)) for a, b in zip(high, low, strict=True)]
        text[rows] = np.array(names, object)[turns.conversation]
    return pa.array(text, pa.string())
