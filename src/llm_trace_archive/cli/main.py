"""The program `llm-traces`: its families of commands, and how it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..core.errors import USAGE, Problem, from_system
from . import annex, build, cache, catalogue, release, samples
from .interrupt import interruptible

app = typer.Typer(
    name="llm-traces",
    help="Request traces of LLM serving in one schema, each with its licence, citation and proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (catalogue, build, annex, samples):
    app.add_typer(family.app)
app.add_typer(release.app, name="release")
app.add_typer(cache.app, name="cache")


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


def main() -> Any:
    """Run the command line; an expected failure ends in a message and an exit code, not in a traceback."""
    with interruptible():
        try:
            app()
        except Problem as problem:
            typer.echo(str(problem), err=True)
            sys.exit(problem.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        except OSError as error:
            if error.errno is None:  # not from the system
                raise
            typer.echo(str(from_system(error)), err=True)
            sys.exit(USAGE)


if __name__ == "__main__":
    main()
