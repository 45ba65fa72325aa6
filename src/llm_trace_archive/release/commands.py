"""`llm-traces release ...`: one function a command, no logic."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="From built to published: the gate, the bundle, Zenodo and the Hugging Face Hub.", no_args_is_help=True
)
