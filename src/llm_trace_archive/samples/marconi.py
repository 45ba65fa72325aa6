"""Look-alikes of the Marconi sweeps: a gzip tar of JSON Lines with token ids, whose prompts grow turn by turn.

Prompts have about a fiftieth of the published lengths, so that the file stays small.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kit.draws import Draws
from .kit.shape import Shape
from .kit.spell import StoredGzip

SHAPES: dict[str, Shape] = {}  # the file has no lines
_SPS = (0.25, 0.5, 1, 2, 5, 10)  # sessions per second, for every source
_ART = (5, 7.5, 10)  # mean seconds of an agent's action
_MEMBERS = 2 * len(_SPS) + len(_SPS) * len(_ART)
_SESSIONS, _TURNS = 100, 12  # at most; about
_KEPT = 5  # observations that stay in the agent's history
_CUT = 32768 // 50

# Each message is tokenised by itself, as JSON, so it starts with a start token and the same few others.
_QUESTION, _ANSWER = [1, 8853, 3051, 1115, 376], [1, 8853, 3051, 1115, 376, 29871]
_FIRST_TOKEN, _TOKENS = 259, 32000


@dataclass(frozen=True)
class _Turn:
    question: list[int]
    answer: list[int]
    words: int


def generate(folder: Path, rows: int) -> None:
    """Write traces.tar.gz with about `rows` rows in all, and at least four in each member."""
    stream = StoredGzip(folder / "traces.tar.gz")
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
        top = tarfile.TarInfo("traces")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        for source in ("lmsys", "sharegpt", "swebench"):
            sessions = list(_sessions(Draws("marconi", source), rows))
            for sps in _SPS:
                for art in _ART if source == "swebench" else (None,):
                    suffix = "" if art is None else f"_art={art:g}"
                    name = f"{source}_sps={sps:g}{suffix}_nums=100.jsonl"
                    text = "".join(f"{json.dumps(each)}\n" for each in _requests(name, sessions, sps, art)).encode()
                    member = tarfile.TarInfo(f"traces/{name}")
                    member.size = len(text)
                    archive.addfile(member, io.BytesIO(text))
    stream.close()


def _sessions(draws: Draws, rows: int) -> Iterator[list[_Turn]]:
    count = min(_SESSIONS, max(2, rows // (_MEMBERS * _TURNS)))
    turns = max(2, rows // (_MEMBERS * count))
    for extra in draws.below(count, max(1, turns // 2)):
        number = turns - turns // 4 + int(extra)
        sizes = (3 + draws.below(number, 24)).tolist(), (5 + draws.below(number, 32)).tolist()
        yield [
            _Turn(_QUESTION + _tokens(draws, asked), _ANSWER + _tokens(draws, said), int(draws.below(1, 40)[0]))
            for asked, said in zip(*sizes, strict=True)
        ]


def _tokens(draws: Draws, count: int) -> list[int]:
    found: list[int] = (_FIRST_TOKEN + draws.below(count, _TOKENS - _FIRST_TOKEN)).tolist()
    return found


def _requests(name: str, sessions: list[list[_Turn]], sps: float, art: float | None) -> list[dict[str, Any]]:
    """Return a sweep's rows by time; a session ends before the first turn that is too long."""
    waits = Draws("marconi", name)
    rows: list[dict[str, Any]] = []
    for number, session in enumerate(sessions):
        at = number / sps
        history: list[list[list[int]]] = []
        for index, turn in enumerate(session):
            prompt = [token for pair in history for message in pair for token in message] + turn.question
            if len(prompt) + (len(turn.answer) if name.startswith("lmsys") else 0) > _CUT and index > 1:
                break
            if index:
                # Coin tosses instead of a Poisson distribution: whole seconds with the mean `art`.
                at += turn.words / 1.5 if art is None else float(waits.below(int(2 * art), 2).sum())
            rows.append(
                {
                    "session_id": number,
                    "turn_id": index,
                    "ts": at,
                    "num_input_tokens": len(prompt),
                    "num_output_tokens": len(turn.answer),
                    "input_tokens": prompt,
                    "output_tokens": turn.answer,
                }
            )
            if art is not None and len(history) >= _KEPT and len(history[-_KEPT]) == 2:
                history[-_KEPT] = history[-_KEPT][1:]
            history.append([turn.question, turn.answer])
    return sorted(rows, key=lambda row: float(row["ts"]))
