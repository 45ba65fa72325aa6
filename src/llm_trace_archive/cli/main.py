"""The program `llm-traces`: its families of commands, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..core.errors import USAGE, BadUse, Problem, from_system
from ..core.text import echo
from . import annex, build, cache, catalogue, export, logs, look, release, replay, samples, shape
from .interrupt import interruptible


class _Program(TyperGroup):
    """The program; `--archive` may also stand after the command, as people add it to a line that they repeat."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        front: list[str] = []
        rest: list[str] = []
        left = iter(args[:end])
        for each in left:
            if each == "--archive":
                front += [each, *itertools.islice(left, 1)]
            else:
                (front if each.startswith("--archive=") else rest).append(each)
        return super().parse_args(ctx, [*front, *rest, *args[end:]])


app = typer.Typer(
    name="llm-traces",
    cls=_Program,
    help="Request traces of LLM serving in one schema, each with its licence, citation and proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (catalogue, build, annex, look, shape, export, logs, replay, samples):
    app.add_typer(family.app)
app.add_typer(release.app, name="release")
app.add_typer(cache.app, name="cache")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"llm-traces {__version__}")
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


def main() -> None:
    """Run the command line; an expected failure ends in a message and an exit code, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an encoding may lack a sign, and a name may be no text
    code: Any = 0
    try:
        with interruptible():
            try:
                app()
            finally:
                if sys.stdout:  # it may be closed
                    sys.stdout.flush()
    except SystemExit as ended:
        code = ended.code
    except Problem as problem:
        _complain(str(problem))
        code = problem.exit_code
    except UnicodeEncodeError as error:
        _complain(str(BadUse(error.object, "is not UTF-8 text", next="rename it, or give another path")))
        code = USAGE
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            _complain(f"the output can't be written: {error.strerror}")
            _discard_output()
        else:
            _complain(str(from_system(error)))
        code = USAGE
    sys.exit(code)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        echo(text, err=True)


def _discard_output() -> None:
    """Let what is still to be written go nowhere, as its reader has left or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
