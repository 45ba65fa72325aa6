"""Look-alikes of RAGPulse: requests composed of components, a clock that is reset, times as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .kit.conversations import interleave
from .kit.distributions import Arrivals, from_percentiles, hourly_load, lognormal, scale_rows
from .kit.draws import Draws, Ints, chunks, mixed
from .kit.shape import IDS, INTEGER, Shape
from .kit.spell import Lines, Text, id_lists, integer, json_object, pick, quote

REQUESTS = "0_trace.jsonl"
ROWS = {
    "sys_prompt": 6898,
    "passage": 8302,
    "history": 4910,
    "user_input": 6292,
    "web_search": 522,
    REQUESTS: 7106,
    "components": 26924,
}
_FILES = {
    "sys_prompt": "1_sys_prompt.jsonl",
    "passage": "2_passages.jsonl",
    "history": "3_history.jsonl",
    "user_input": "4_user_input.jsonl",
    "web_search": "5_web_search.jsonl",
}
SHAPES = {
    REQUESTS: Shape(
        rf'{{"timestamp": "{INTEGER}", "input_length": {INTEGER}, "output_length": {INTEGER}, '
        rf'"hash_ids": {{"sys_prompt": {IDS}, "passages_ids": {IDS}, "history": {IDS}, "web_search": {IDS}, '
        rf'"user_input": {IDS}}}, "session_id": "[0-9a-z_-]+"}}',
        tail="\n\n",
    ),
    **{
        name: Shape(rf'{{"{component}_id": {INTEGER}, "token_length": {INTEGER}}}', tail="\n\n")
        for component, name in _FILES.items()
    },
}
_IN_ORDER_OF_IDS = ("passage", "sys_prompt", "history", "web_search", "user_input")

# Quantiles of the lengths in the published files; for passages, of those that requests use.
_LENGTHS = {
    "sys_prompt": from_percentiles({0: 437, 79: 437, 80: 512, 100: 512}),
    "passage": from_percentiles({0: 3, 10: 150, 20: 186, 30: 224, 50: 279, 70: 323, 90: 362, 100: 512}),
    "history": from_percentiles({0: 1, 10: 93, 20: 139, 30: 200, 40: 271, 50: 351, 60: 452, 65: 512, 100: 512}),
    "user_input": from_percentiles({0: 1, 10: 3, 50: 6, 80: 10, 90: 12, 99: 29, 100: 178}),
    "web_search": from_percentiles({0: 3, 10: 156, 20: 253, 30: 384, 40: 512, 100: 512}),
}
# The first ids of a kind are shared. System prompt: the usual head, head and end of the one without passages, head and
# middle of the one with search results, and one for each day. History: that of a first turn.
_HEAD, _BARE_HEAD, _BARE_END, _WEB_HEAD, _WEB_MIDDLE, _FIRST_DAY = range(6)
_SHARED = {"sys_prompt": (512, 512, 4, 512, 512, *(512,) * 14), "history": (11,)}

# Requests by number of passages, of history parts besides the shared one, and of search results, as published.
_PASSAGES = (1465, 63, 28, 37, 20, 26, 5454, 13)
_HISTORY = (3673, 2184, 718, 304, 141, 60, 17, 3, 4, 1, 1)
_SEARCHES = (6850, 30, 82, 111, 31, 2)
_OUTPUT, _SESSION = lognormal(234, 283, 2183, 7), lognormal(1.4, 1.78, 25)

# Two weeks, each with its own clock: the origin, as session ids show it, and the first and last second.
_ORIGINS = 1757476835, 1757476835 + 604800
_LOAD = hourly_load(7, first_weekday=2, first_hour=12, weekend=70)
_WEEKS = Arrivals(82, 604453, _LOAD), Arrivals(0, 604603, _LOAD)
_FIRST_WEEK = 3800
# Session ids of the first week that look like tests; a small sample has the first four.
_ODD = (
    *("123", "python_tester", "1", "3d2c6f0e-5b1a-4c7e-9f43-0a6b1e8d2c57"),
    *("2", "b7e1a940-6c2d-48f5-a3b8-91d0c4e7f625", "0f9a4b73-d816-4e2c-bc05-7e3a5d1f8842"),
    *("123",) * 5,
    *("python_tester",) * 4,
)


@dataclass(frozen=True)
class _Pool:
    """The components of one kind, with `size` ids from `first`."""

    kind: str
    first: int
    size: int

    def lengths(self, numbers: Ints) -> Ints:
        """Return the token lengths of components, which follow from their ids."""
        shared = np.array(_SHARED.get(self.kind, (0,)), np.int64)
        index = np.minimum(numbers - self.first, len(shared))
        found = np.append(shared, 0)[index]
        return np.where(found, found, _LENGTHS[self.kind].at(mixed(numbers)))


def generate(folder: Path, rows: int) -> None:
    """Write the requests and the five files of components, which have `rows` rows in all."""
    count = scale_rows(ROWS, rows)
    pools: dict[str, _Pool] = {}
    first = 0
    for kind in _IN_ORDER_OF_IDS:
        pools[kind] = _Pool(kind, first, max(24, count[kind]))
        first += pools[kind].size
    for kind, name in _FILES.items():
        _write_pool(folder / name, pools[kind])
    draws = Draws("ragpulse", REQUESTS)
    requests = max(4, count[REQUESTS])  # two per week, or there is no reset
    with Lines(folder / REQUESTS, SHAPES[REQUESTS]) as lines:
        for index, times, sessions in _requests(draws, requests):
            lines.write(_prompts(draws, pools, index, requests, integer(times), sessions))


def _write_pool(path: Path, pool: _Pool) -> None:
    with Lines(path, SHAPES[path.name]) as lines:
        for start, stop in chunks(pool.size):
            numbers = np.arange(pool.first + start, pool.first + stop)
            texts = {f"{pool.kind}_id": integer(numbers), "token_length": integer(pool.lengths(numbers))}
            lines.write(json_object(**texts))


def _requests(draws: Draws, rows: int) -> Iterator[tuple[Ints, Ints, Text]]:
    """Yield numbers, arrivals and session ids of the requests."""
    before = 0
    last = ""
    first_week = max(1, rows * _FIRST_WEEK // ROWS[REQUESTS])
    for week, (arrivals, count) in enumerate(zip(_WEEKS, (first_week, rows - first_week), strict=True)):
        for start, stop in chunks(count):
            times = arrivals.chunk(draws, start, stop, count)
            names, session = _sessions(draws, times, _ORIGINS[week])
            if start == 0 and week == 0:
                odd = _ODD[: max(4, count // 240)]
                names, session = [*names, *odd], session.copy()
                session[1 : 1 + 2 * len(odd) : 2] = len(names) - len(odd) + np.arange(len(odd))[: len(session[1::2])]
            elif start == 0:
                names, session = [*names, last], session.copy()
                session[0] = len(names) - 1  # one session spans the reset
            last = names[session[-1]]
            yield before + np.arange(start, stop), times, pick(session, *names)
        before += count


def _sessions(draws: Draws, times: Ints, origin: int) -> tuple[list[str], Ints]:
    """Return the names of sessions, which start with their first time in ms, and the session of each request."""
    session = interleave(draws, len(times), _SESSION).conversation
    _, first = np.unique(session, return_index=True)
    begin = (origin + times[first]) * 1000 - draws.below(len(first), 1000)
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    ends = (
        "".join(letters[word // 36**place % 36] for place in range(12)) for word in draws.words(len(first)).tolist()
    )
    return [f"{at}-{end}" for at, end in zip(begin.tolist(), ends, strict=True)], session


def _prompts(draws: Draws, pools: dict[str, _Pool], index: Ints, rows: int, times: Text, sessions: Text) -> Text:
    """Return the lines of requests: the ids of their components, and the tokens these add up to."""
    count, to_go = len(index), rows - 1 - index
    passages, history, searches = (draws.choose(count, each) for each in (_PASSAGES, _HISTORY, _SEARCHES))
    sys_prompt, past, user, web = (pools[kind] for kind in ("sys_prompt", "history", "user_input", "web_search"))
    shared = len(_SHARED["sys_prompt"])
    # The upstream assigns new ids from the last one downwards.
    own = sys_prompt.first + shared + (sys_prompt.size - shared - 1) * to_go // max(1, rows - 1)
    day = sys_prompt.first + _FIRST_DAY + 14 * index // rows
    bare, with_web = passages == 0, searches > 0
    head = sys_prompt.first + np.where(bare, _BARE_HEAD, np.where(with_web, _WEB_HEAD, _HEAD))
    middle = np.where(bare, own, np.where(with_web, sys_prompt.first + _WEB_MIDDLE, day))
    end = np.where(bare, sys_prompt.first + _BARE_END, own)
    popular = draws.below(int(passages.sum()), 1 << 15) * draws.below(int(passages.sum()), 1 << 15) >> 15
    oldest = past.first + np.where(history, 1 + (past.size - 11) * to_go // rows, 0)
    lists = {
        "sys_prompt": (sys_prompt, np.full(count, 3), np.stack([head, middle, end], axis=1).ravel()),
        "passages_ids": (pools["passage"], passages, pools["passage"].size * popular >> 15),
        "history": (past, np.maximum(history, 1), _runs(oldest, np.maximum(history, 1))),
        "web_search": (web, searches, _runs(web.first + draws.below(count, web.size - 5), searches)),
        "user_input": (user, np.ones(count, np.int64), user.first + (user.size - 1) * to_go // max(1, rows - 1)),
    }
    tokens = 6 + draws.below(count, 7)  # the template
    texts = {}
    for name, (pool, sizes, numbers) in lists.items():
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        until = np.concatenate([[0], np.cumsum(pool.lengths(numbers))])
        tokens += until[offsets[1:]] - until[offsets[:-1]]
        texts[name] = id_lists(offsets, numbers)
    return json_object(
        timestamp=quote(times),
        input_length=integer(tokens),
        output_length=integer(_OUTPUT.draw(draws, count)),
        hash_ids=json_object(**texts),
        session_id=quote(sessions),
    )


def _runs(first: Ints, sizes: Ints) -> Ints:
    """Return runs of consecutive integers, concatenated."""
    ends = np.cumsum(sizes)
    return np.repeat(first - ends + sizes, sizes) + np.arange(ends[-1])
