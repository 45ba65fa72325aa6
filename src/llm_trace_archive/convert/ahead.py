"""Work that goes on in threads while its results are used: what runs in them must release Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with the next ones made in a thread."""
    source = iter(items)
    end = object()
    with _pool(1) as pool:
        waiting: deque[Future[Item | object]] = deque(pool.submit(next, source, end) for _ in range(2))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int = 2) -> Iterator[Result]:
    """Yield the function's results for the items in their order, with the next ones computed in threads."""
    source = iter(items)
    with _pool(threads) as pool:
        waiting = deque(pool.submit(function, item) for item in islice(source, threads + 1))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # what is left is no longer wanted
