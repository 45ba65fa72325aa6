"""The program `llm-traces`: its families of commands, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..core.errors import Problem
from . import annex, build, cache, catalogue, look, release, samples, shape

app = typer.Typer(
    name="llm-traces",
    help="Request traces of LLM serving in one schema, each with its licence, citation and proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (catalogue, build, annex, look, shape, samples):
    app.add_typer(family.app)
app.add_typer(release.app, name="release")
app.add_typer(cache.app, name="cache")
INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llm-traces {__version__}")
        raise typer.Exit


@app.callback()
def options(
    archive: Annotated[
        Path | None,
        typer.Option(
            envvar="LLM_TRACES_ARCHIVE",
            metavar="DIR",
            help="The archive; default: the one that contains the current directory.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


class _InterruptedError(BaseException):
    """Ctrl-C, as no subclass of Exception: the framework would print a message of its own."""


def _interrupt(_signal: int, _frame: object) -> None:
    raise _InterruptedError


def main() -> Any:
    """Run the command line; an expected failure ends in a message and an exit code, not in a traceback."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except Problem as problem:
        typer.echo(str(problem), err=True)
        sys.exit(problem.exit_code)
    except _InterruptedError:
        typer.echo("\nstopped; nothing is half-written: the same command resumes", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
