"""The dialects of servers: where a request goes, its body, and what an event of the answer says."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

Body = dict[str, Any]


class Endpoint(ABC):
    """A way to ask a server.

    is_streamed  ask for an event for each token
    extras       also send what vLLM, SGLang and AIBrix know to force the length of an answer
    """

    path: str

    def __init__(self, model: str, is_streamed: bool, extras: bool) -> None:
        self.model, self.is_streamed, self.extras = model, is_streamed, extras

    @abstractmethod
    def body(self, prompt: str, tokens: int) -> Body:
        """Return the body of a request for an answer of so many tokens."""

    def encode(self, prompt: str, tokens: int) -> bytes:
        """Return the body as bytes."""
        return json.dumps(self.body(prompt, tokens)).encode()

    @abstractmethod
    def has_text(self, event: Body) -> bool:
        """Return whether an event carries a token."""

    def usage(self, event: Body) -> Body:
        """Return the tokens that the server counted: `prompt_tokens`, `completion_tokens`, `cached_tokens`."""
        usage = event.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        return {**usage, "cached_tokens": details.get("cached_tokens")} if usage else {}


class Completions(Endpoint):
    """OpenAI's completions, as vLLM, SGLang, TGI, llama.cpp and AIBrix offer them."""

    path = "/v1/completions"

    def body(self, prompt: str, tokens: int) -> Body:
        return {"model": self.model, "prompt": prompt, "max_tokens": tokens, **self._options(tokens)}

    def _options(self, tokens: int) -> Body:
        options: Body = {"temperature": 0, "stream": self.is_streamed}
        if self.is_streamed:
            options["stream_options"] = {"include_usage": True}
        return options | ({"min_tokens": tokens, "ignore_eos": True} if self.extras else {})

    def has_text(self, event: Body) -> bool:
        choices = event.get("choices") or [{}]
        return bool(choices[0].get("text"))


class Chat(Completions):
    """OpenAI's chat completions: the server's chat template adds tokens to each prompt."""

    path = "/v1/chat/completions"

    def body(self, prompt: str, tokens: int) -> Body:
        message = {"role": "user", "content": prompt}
        return {"model": self.model, "messages": [message], "max_tokens": tokens, **self._options(tokens)}

    def has_text(self, event: Body) -> bool:
        choices = event.get("choices") or [{}]
        said = choices[0].get("delta") or choices[0].get("message") or {}
        return bool(said.get("content") or said.get("reasoning_content"))


class TGI(Endpoint):
    """Text Generation Inference's own endpoints."""

    @property
    def path(self) -> str:  # type: ignore[override]
        """The path of the endpoint."""
        return "/generate_stream" if self.is_streamed else "/generate"

    def body(self, prompt: str, tokens: int) -> Body:
        return {"inputs": prompt, "parameters": {"max_new_tokens": tokens, "details": True}}

    def has_text(self, event: Body) -> bool:
        return bool((event.get("token") or {}).get("text") or event.get("generated_text"))

    def usage(self, event: Body) -> Body:
        details = event.get("details") or {}
        return {"completion_tokens": details.get("generated_tokens")} if details else {}


ENDPOINTS: dict[str, type[Endpoint]] = {"completions": Completions, "chat": Chat, "tgi": TGI}
