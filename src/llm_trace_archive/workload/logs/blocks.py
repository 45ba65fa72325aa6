"""Prompts to ids of their whole blocks: equal ids mean equal beginnings, and no prompt can be computed back."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any


class BlockIds:
    """Numbers the blocks of prompts by first appearance. Their hashes are chained, salted, and never leave.

    size  bytes of a block, or tokens
    salt  secret bytes, so that nobody can look for the hashes of prompts that he guesses in the memory of a process
    """

    def __init__(self, salt: bytes, size: int, *, are_tokens: bool) -> None:
        self.salt = salt
        self.size = 8 * size if are_tokens else size
        self.are_tokens = are_tokens
        self._numbers: dict[bytes, int] = {}

    def __call__(self, prompt: Any) -> list[int]:
        """Return the ids of a prompt's whole blocks. Raises ValueError for tokens that are no numbers."""
        content, chain, ids = self._content(prompt), b"", []
        for start in range(0, len(content) - self.size + 1, self.size):
            block = content[start : start + self.size]
            chain = hashlib.blake2b(chain + block, key=self.salt, digest_size=16).digest()
            ids.append(self._numbers.setdefault(chain, len(self._numbers)))
        return ids

    def _content(self, prompt: Any) -> bytes:
        if self.are_tokens:
            tokens = json.loads(prompt) if isinstance(prompt, str) else prompt
            try:
                return struct.pack(f"<{len(tokens)}q", *tokens)
            except (struct.error, TypeError) as error:
                raise ValueError(str(error)) from None
        text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")
