"""Send the requests of a plan at their time, and measure what the server does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..core.extras import require
from ..core.text import mask
from .endpoints import Endpoint
from .journal import Journal, Outcome
from .plan import Plan
from .prompts import Prompts

LEAD = 0.3  # seconds before the first request, in which connections and prompts get ready
READY = 64  # prompts that are written ahead of their time
MALFORMED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)  # what an answer of another shape gives
LARGEST = 1 << 31  # tokens of an answer: more is no count
EACH = 1.0  # seconds from one flush of the journal, and one line on the screen, to the next


@dataclass(frozen=True)
class Settings:
    """How to send.

    at_once  requests in flight at most; None: no cap. What waits for a place is counted.
    timeout  seconds until a request without a complete answer is given up
    key      sent in the header `Authorization`
    """

    url: str
    endpoint: Endpoint
    at_once: int | None = None
    timeout: float = 600.0
    key: str = ""


class Drive:
    """One replay. `state` may be read while it runs."""

    def __init__(self, plan: Plan, prompts: Prompts, settings: Settings, journal: Journal) -> None:
        self.plan, self.prompts, self.settings, self.journal = plan, prompts, settings, journal
        self.in_flight = self.sent = self.done = self.failed = 0
        self.recent: list[Outcome] = []  # since the last line on the screen
        self.stopped = False
        self.start = float("inf")
        self._bodies: dict[int, bytes] = {}

    def run(self, on_second: Callable[[Drive], object] = lambda drive: None) -> None:
        """Send all requests; return after the last answer, or soon after Ctrl-C. Raises BadUse without the packages."""
        aiohttp = require("aiohttp", "replay", "replaying a workload")
        require("uvloop", "replay", "replaying a workload").run(self._run(aiohttp, on_second))

    async def _run(self, aiohttp: Any, on_second: Callable[[Drive], object]) -> None:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None

        def stop() -> None:
            self.stopped = True
            main.cancel()

        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
            loop.add_signal_handler(signal.SIGINT, stop)
        headers = {"Content-Type": "application/json"}
        if self.settings.key:
            headers["Authorization"] = f"Bearer {self.settings.key}"
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=3600)
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            ticking = asyncio.create_task(self._tick(on_second))
            try:
                await self._send_all(aiohttp, session)
            except asyncio.CancelledError:
                if not self.stopped:
                    raise
            finally:
                ticking.cancel()
        on_second(self)

    async def _tick(self, on_second: Callable[[Drive], object]) -> None:
        while True:
            await asyncio.sleep(EACH)
            self.journal.flush()
            on_second(self)
            self.recent.clear()

    async def _send_all(self, aiohttp: Any, session: Any) -> None:
        plan = self.plan
        self._client, self._session = aiohttp, session
        self._places = asyncio.Semaphore(self.settings.at_once) if self.settings.at_once else None
        waited_for = set(plan.previous[plan.previous >= 0].tolist())
        loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[None]] = {at: loop.create_future() for at in waited_for}
        for at in range(READY):
            self._prepare(at)
        self.start = time.perf_counter() + LEAD
        async with asyncio.TaskGroup() as group:
            for at in range(len(plan)):
                before = int(plan.previous[at])
                if before >= 0:
                    group.create_task(self._follow(at, before))
                    continue
                due = self.start + plan.at_us[at] / 1e6
                self._prepare(at)
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                elif at % 16 == 0:
                    await asyncio.sleep(0)  # behind: answers must be read all the same
                group.create_task(self._send(at, due))

    def _prepare(self, at: int) -> None:
        """Write the bodies of the next requests, for no longer than answers can wait, nor past the time of this one."""
        until = min(time.perf_counter() + 0.002, self.start + float(self.plan.at_us[min(at, len(self.plan) - 1)]) / 1e6)
        for each in range(at, min(at + READY, len(self.plan))):
            if each not in self._bodies:
                self._bodies[each] = self._encode(each)
                if time.perf_counter() > until:
                    return

    def _encode(self, at: int) -> bytes:
        return self.settings.endpoint.encode(self.prompts.text(at), int(self.plan.outputs[at]))

    async def _follow(self, at: int, before: int) -> None:
        await self._answers[before]
        due = time.perf_counter() + self.plan.think_us[at] / 1e6
        await asyncio.sleep(due - time.perf_counter())
        await self._send(at, due)

    async def _send(self, at: int, due: float) -> None:
        outcome = Outcome(at, round((due - self.start) * 1e6), 0)
        body = self._bodies.pop(at, None) or self._encode(at)
        try:
            if self._places:
                ready = time.perf_counter()
                await self._places.acquire()
                outcome.waited = round((time.perf_counter() - ready) * 1e6)
            self.in_flight += 1
            self.sent += 1
            try:
                await self._ask(outcome, body)
            finally:
                self.in_flight -= 1
                if self._places:
                    self._places.release()
        except asyncio.CancelledError:
            outcome.error = "stopped"
            raise
        finally:
            self.done += 1
            self.failed += outcome.failed
            self.journal.add(outcome)
            self.recent.append(outcome)
            if at in self._answers:
                self._answers[at].set_result(None)

    async def _ask(self, outcome: Outcome, body: bytes) -> None:
        sent = time.perf_counter()
        outcome.sent = round((sent - self.start) * 1e6)
        url = self.settings.url + self.settings.endpoint.path
        try:
            async with self._session.post(url, data=body) as answer:
                outcome.status = answer.status
                if answer.status >= 300:
                    text = (await answer.content.read(300)).decode(errors="replace")
                    outcome.error = mask(f"{answer.status} {answer.reason}: {text}", self.settings.key)[:300]
                elif self.settings.endpoint.is_streamed:
                    await self._read_events(outcome, answer, sent)
                else:
                    event = json.loads(await answer.read())
                    self._take_usage(outcome, event)
                    outcome.events = int(self.settings.endpoint.has_text(event))
                    if not outcome.events:
                        outcome.error = "the answer has no text"
        except TimeoutError:
            outcome.error = f"no complete answer within {self.settings.timeout:g} s"
        except (self._client.ClientError, OSError, *MALFORMED) as error:
            outcome.error = mask(f"{type(error).__name__}: {error}", self.settings.key)[:300]
        if outcome.error is None:
            outcome.latency = round((time.perf_counter() - sent) * 1e6)

    async def _read_events(self, outcome: Outcome, answer: Any, sent: float) -> None:
        endpoint, last, ended = self.settings.endpoint, sent, False
        async for line in answer.content:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                ended = True
                break
            now = time.perf_counter()
            event = json.loads(data)
            if error := event.get("error"):
                outcome.error = mask(str(error), self.settings.key)[:300]
                return
            if endpoint.has_text(event):
                outcome.events += 1
                if outcome.ttft is None:
                    outcome.ttft = round((now - sent) * 1e6)
                else:
                    outcome.gaps.append(round((now - last) * 1e6))
                last = now
            ended |= self._take_usage(outcome, event)
        if not ended:
            outcome.error = "the stream ended before the answer did"
        elif not outcome.events:
            outcome.error = "the answer has no text"

    def _take_usage(self, outcome: Outcome, event: dict[str, Any]) -> bool:
        usage = self.settings.endpoint.usage(event)
        for name, key in (
            ("input_tokens", "prompt_tokens"),
            ("output_tokens", "completion_tokens"),
            ("cached_tokens", "cached_tokens"),
        ):
            if type(value := usage.get(key)) is int and 0 <= value < LARGEST:
                setattr(outcome, name, value)
        return bool(usage)
