"""Look-alikes of Ant Group's trace: CSV with empty values, a file per pod and one of ten pods.

Nobody here has seen a row: columns are those of the published schema in its order, units are made up and mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from .kit.distributions import from_percentiles, lognormal
from .kit.draws import Draws, Ints, chunks
from .kit.shape import Shape
from .kit.spell import Lines, Text, concat, csv_row, integer

_COLUMNS = (
    "emit_time,actual_hit_ratio,check_pass,chunk_count,duration,engine_batch_size,engine_context_length,engine_e2e,"
    "engine_prefill_time,engine_queue,engine_ttft,tpot,input_text_length,input_token_length,output_token_length,"
    "request_id,has_tool_calls"
)
_N, _F = r"\d*", r"(\d+\.\d{3})?"
_LINE = rf"{_F},{_F},(True|False),{_N},{_F},{_N},{_N},{_F},{_F},{_N},{_F},{_F},{_N},{_N},{_N},[0-9a-f]+,(True|False)"
_WORKING_HOURS = "antgroup_engine_trace_2026_working_hours.csv"
SHAPES = {f"antgroup_engine_trace_2026_24h_{pod}.csv": Shape(_LINE, _COLUMNS) for pod in range(1, 6)}
SHAPES[_WORKING_HOURS] = Shape(rf"pod-\d,{_LINE}", f"pod,{_COLUMNS}")
_INPUT, _OUTPUT = lognormal(9000, 14000, 128_000), lognormal(150, 300, 8000)
_THOUSANDTHS = from_percentiles({0: 10, 50: 2500, 90: 20_000, 100: 300_000})


def generate(folder: Path, rows: int) -> None:
    """Write the files; that of the working hours has `rows` rows, the others fewer."""
    for name, shape in SHAPES.items():
        draws, is_long = Draws("antgroup-2026", name), name == _WORKING_HOURS
        with Lines(folder / name, shape) as lines:
            for start, stop in chunks(rows if is_long else max(1, rows // 3)):
                row = csv_row(*_fields(draws, start, stop - start))
                pods = concat("pod-", integer(draws.below(stop - start, 10)), ",")
                lines.write(concat(pods, row) if is_long else row)


def _fields(draws: Draws, start: int, count: int) -> list[Text]:
    tokens = _INPUT.draw(draws, count)
    flags = [pa.array(["True", "False"]).take(pa.array(draws.choose(count, share))) for share in ((97, 3), (30, 70))]
    times = [_some(draws, _decimal(_THOUSANDTHS.draw(draws, count))) for _ in range(6)]
    counts = [_some(draws, integer(draws.below(count, most))) for most in (9, 64, 200_000, 30)]
    identity = pa.array([f"{each:016x}" for each in draws.words(count).tolist()])
    return [
        _decimal(1000 * (start + draws.below(count, 2) + pa.array(range(count)).to_numpy())),
        _some(draws, _decimal(draws.below(count, 1001))),
        flags[0], counts[0], times[0], counts[1], counts[2], times[1], times[2], counts[3], times[3], times[4],
        _some(draws, integer(4 * tokens)), _some(draws, integer(tokens)),
        _some(draws, integer(_OUTPUT.draw(draws, count))), identity, flags[1],
    ]  # fmt: skip


def _decimal(thousandths: Ints) -> Text:
    whole, rest = integer(thousandths // 1000), pc.utf8_lpad(integer(thousandths % 1000), 3, "0")
    return concat(whole, ".", rest)


def _some(draws: Draws, texts: Text) -> Text:
    """Return texts of which a few are empty."""
    return pc.if_else(pa.array(draws.below(len(texts), 40) > 0), texts, "")
