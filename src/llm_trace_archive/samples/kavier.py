"""Look-alikes of the Kavier traces: latencies of prefill and decode, and telemetry of the GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from .kit.draws import Draws, Ints
from .kit.shape import FLOAT, INTEGER, Shape
from .kit.spell import Lines, Text, csv_row, fixed_point, integer, python_float, timestamp

_SAME = "SURF,A10,vLLM 0.9.0, Llama-3-8B"  # the upstream has the space before the model's name
_MODEL = re.escape(_SAME)
SHAPES = {
    "raw_prefill.csv": Shape(
        rf"{_MODEL},{INTEGER},1,{INTEGER}\.\d{{3}},{INTEGER}\.\d\d",
        "provider,gpu,engine,llm,requested_response_size,response_size,latency_s,throughput_tokens_per_s",
    ),
    "raw_decode.csv": Shape(
        rf"{_MODEL},{INTEGER},{INTEGER},{FLOAT},{FLOAT}",
        "provider,gpu,engine,llm,requested_length,response_size,latency_s,throughput_tokens_per_s",
        tail="",
    ),
    "performance_tracing.csv": Shape(
        rf"2025/06/13 \d\d:\d\d:\d\d\.\d{{3}},{INTEGER},{INTEGER},{INTEGER},{INTEGER},{INTEGER},{INTEGER}",
        "timestamp,prompt_id,input_tokens,output_tokens,size,util_gpu,util_mem",
        "\r\n",
        "\r\n",
    ),
}
_SIZES = tuple(1 << power for power in range(4, 15))  # 16 to 16,384 tokens; prefill starts at 64
_REPEATS = 10
_START = 1749840244479  # 2025-06-13 18:44:04.479 in ms, local time taken as UTC
# Samples of each prompt size in the published file.
_PROMPT_SAMPLES = {10: 2534, 50: 2541, 100: 1939, 1000: 537}
_UNFINISHED = 12  # samples of the last prompt, which was not answered
_BATCH = 64


def generate(folder: Path, rows: int) -> None:
    """Write the two tables of latencies with as many rows as the published ones, and `rows` samples of telemetry."""
    _prefill(folder / "raw_prefill.csv")
    _decode(folder / "raw_decode.csv")
    _telemetry(folder / "performance_tracing.csv", max(rows, _UNFINISHED + len(_PROMPT_SAMPLES)))


def _rate(tokens: Ints, milliseconds: Ints) -> Ints:
    """Return hundredths of a token per second."""
    return (200_000 * tokens + milliseconds) // (2 * milliseconds)


def _prefill(path: Path) -> None:
    """Write all sizes in turn, ten times, with fixed decimals."""
    draws = Draws("kavier", path.name)
    size = np.tile(np.array(_SIZES[2:]), _REPEATS)
    # Medians of the published file: 54 ms at 64 tokens, 7,347 ms at 16,384.
    latency = 25 + size * 445 // 1000 + (draws.below(len(size), 1024) * (8 + size // 75) >> 10)
    with Lines(path, SHAPES[path.name]) as lines:
        lines.write(
            csv_row(_SAME, integer(size), "1", fixed_point(latency, 3), fixed_point(_rate(size + 1, latency), 2))
        )


def _decode(path: Path) -> None:
    """Write ten answers of each size, with decimals as Python prints floats and no final line end; some end early."""
    draws = Draws("kavier", path.name)
    size = np.repeat(np.array(_SIZES), _REPEATS)
    answer = size * (70 + draws.below(len(size), 31)) // 100
    # The GPU is busy for the requested length, except for answers that end within a few tokens: one in six.
    ends_early = (draws.choose(len(size), [5, 1]) == 1) & (size > 128)
    answer = np.where(ends_early, 6 + draws.below(len(size), 4), answer)
    # Medians of the published file: 2,316 ms for 64 tokens, 617,688 ms for 16,384.
    busy = np.where(ends_early, answer * 60, size * 36 + size * size // 10_000 + 8)
    latency = busy + draws.below(len(size), 90)
    with Lines(path, SHAPES[path.name]) as lines:
        rate = python_float(_rate(size + answer, latency), 2)
        lines.write(csv_row(_SAME, integer(size), integer(answer), python_float(latency, 3), rate))


def _telemetry(path: Path, rows: int) -> None:
    """Write ten samples per second of the GPU while it answers one prompt after another, with CRLF."""
    draws = Draws("kavier", path.name)
    now = _START
    with Lines(path, SHAPES[path.name]) as lines:
        for size, prompt, inputs, outputs, sample in _samples(draws, rows):
            count = len(sample)
            # Some are 1 ms late, and prompts have a pause between them.
            steps = np.where(sample == 0, 250 + draws.below(count, 320), 100 + draws.choose(count, [87, 13]))
            times = now + np.cumsum(steps) - (steps[0] if now == _START else 0)
            now = int(times[-1])
            gpu = np.array([98, 97, 99, 86, 72, 100, 25])[draws.choose(count, [7385, 58, 46, 30, 30, 8, 6])]
            memory = np.array([100, 40, 39, 60, 80, 91, 13])[draws.choose(count, [7475, 20, 20, 16, 16, 10, 6])]
            text = _slashes(timestamp(times * 1000))
            lines.write(csv_row(text, *(integer(each) for each in (prompt, inputs, outputs, size, gpu, memory))))


def _samples(draws: Draws, rows: int) -> Iterator[tuple[Ints, Ints, Ints, Ints, Ints]]:
    """Yield size, prompt, input and output tokens, and number within the prompt, of samples; some prompts at a time."""
    left, published = rows - _UNFINISHED, sum(_PROMPT_SAMPLES.values())
    for asked, share in _PROMPT_SAMPLES.items():
        to_go = left if asked == 1000 else max(1, (rows - _UNFINISHED) * share // published)
        left -= to_go
        first = 0
        while to_go > 0:
            # 4 samples per 10 tokens, at 24 tokens/s; some prompts are a little shorter than asked for.
            outputs = 60 + draws.below(_BATCH, 860)
            inputs = asked - (draws.below(_BATCH, 6) == 0) * (1 + draws.below(_BATCH, max(2, asked // 4)))
            taken = outputs * 4 // 10
            prompt = np.repeat(np.arange(_BATCH), taken)[:to_go]
            sample = (np.arange(len(prompt)) - (np.cumsum(taken) - taken)[prompt]).astype(np.int64)
            yield np.full(len(prompt), asked), first + prompt, inputs[prompt], outputs[prompt], sample
            to_go, first = to_go - len(prompt), first + _BATCH
    size, prompts, inputs, outputs = (np.full(_UNFINISHED, value) for value in (10_000, 0, 4736, 0))
    yield size, prompts, inputs, outputs, np.arange(_UNFINISHED)


def _slashes(text: Text) -> Text:
    """Return 2025-06-13 18:44:04.479000 as 2025/06/13 18:44:04.479"""
    return pc.replace_substring(pc.utf8_slice_codeunits(text, 0, 23), "-", "/")
