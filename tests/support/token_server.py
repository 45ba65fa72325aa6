"""A server of OpenAI's and TGI's endpoints on loopback: real HTTP and SSE, tokens at a pace, faults on demand.

It serves in a process of its own, as a server would, and remembers the prompts it was sent.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

MALFORMED = {"broken": "{broken", "list": "[1]", "nested": "[" * 9000 + "]" * 9000}  # events


@dataclass
class Behaviour:
    """How to answer. A fault holds for each request whose number, from 0, is in `at`."""

    first_s: float = 0.0
    gap_s: float = 0.0
    counts: bool = True
    fault: str = ""
    at: tuple[int, ...] = ()
    key: str = ""


class Server:
    """One server."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        behaviour, number = self.behaviour, len(self.bodies)
        body = await request.json()
        self.bodies.append({"path": request.path, **body})
        fault = behaviour.fault if number in behaviour.at else ""
        if behaviour.key and request.headers.get("Authorization") != f"Bearer {behaviour.key}":
            return web.Response(status=401, text=f"wrong key: {request.headers.get('Authorization')}")
        if fault.isdigit():
            return web.Response(status=int(fault), text="no\x1b[2J")
        if fault == "hang":
            await asyncio.sleep(60)
        parameters = body.get("parameters", body)
        tokens = parameters.get("max_tokens") or parameters["max_new_tokens"]
        prompt = body.get("prompt") or body.get("inputs") or body["messages"][0]["content"]
        usage = {
            "prompt_tokens": len(prompt.split()),
            "completion_tokens": tokens,
            "prompt_tokens_details": {"cached_tokens": 3},
        }
        await asyncio.sleep(behaviour.first_s)
        is_tgi = "inputs" in body
        if not body.get("stream") and request.path != "/generate_stream":
            text: dict[str, Any] = {"generated_text": "x"}
            if not is_tgi:
                text = {"choices": [{"text": "x", "message": {"content": "x"}}], "usage": usage}
            return web.json_response(text)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for each in range(tokens):
            if each and behaviour.gap_s:
                await asyncio.sleep(behaviour.gap_s)
            piece: dict[str, Any] = {"choices": [{"text": " a", "delta": {"content": " a"}}]}
            if is_tgi:
                piece = {"token": {"text": " a"}}
                if each == tokens - 1:
                    piece["details"] = {"generated_tokens": tokens}
            if fault in MALFORMED and each == 1:
                await response.write(f"data: {MALFORMED[fault]}\n\n".encode())
                return response
            if fault == "cut" and each == 1:
                assert request.transport is not None
                request.transport.abort()
                return response
            if fault == "error" and each == 1:
                piece = {"error": {"message": f"out of memory for {request.headers.get('Authorization')}"}}
            await response.write(f"data: {json.dumps(piece)}\n\n".encode())
        if fault == "huge":
            usage["completion_tokens"] = 10**30
        if not is_tgi:
            if behaviour.counts:
                await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode())
            await response.write(b"data: [DONE]\n\n")
        return response

    async def seen(self, _request: web.Request) -> web.Response:
        return web.json_response(self.bodies)


def _serve(behaviour: Behaviour, port: Any) -> None:
    async def main() -> None:
        server, app = Server(behaviour), web.Application(client_max_size=1 << 30)
        for path in ("/v1/completions", "/v1/chat/completions", "/generate", "/generate_stream"):
            app.router.add_post(path, server.answer)
        app.router.add_get("/seen", server.seen)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def token_server(**behaviour: Any) -> Iterator[str]:
    """Serve, and yield the URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(Behaviour(**behaviour), theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()
