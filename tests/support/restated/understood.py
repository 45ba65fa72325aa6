"""What a tool makes of a file."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Understood:
    """Times in seconds, tokens, and the prompts as the ids and sizes of their blocks, of each request in order."""

    times: list[float] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    prompts: list[list[tuple[int, int]]] = field(default_factory=list)

    def add(self, time: float, tokens: int, output: int, prompt: list[tuple[int, int]] | None = None) -> None:
        self.times.append(time)
        self.inputs.append(tokens)
        self.outputs.append(output)
        self.prompts.append(prompt or [])
