"""The command line: one function a command, no logic. Exit codes: 0 good, 1 findings, 2 wrong use or environment."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__, cache_commands
from .archive import cache_folder
from .errors import FINDINGS, Problem
from .options import Mirror, Names, Offline, archive_of
from .release import commands as release

app = typer.Typer(
    name="llm-traces",
    help="Request traces of LLM serving in one schema, each with its proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(release.app, name="release")
app.add_typer(cache_commands.app, name="cache")
INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llm-traces {__version__}")
        raise typer.Exit


@app.callback()
def options(
    archive: Annotated[
        Path | None,
        typer.Option(envvar="LLM_TRACES_ARCHIVE", metavar="DIR", help="The archive; default: the one around here."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command("list")
def list_(context: typer.Context, names: Names = None) -> None:
    """What there is: every workload with rows, period, capabilities, licence, and whether its content is here."""
    from .catalogue import entries
    from .terminal import print_table

    archive = archive_of(context)
    rows = [
        (
            str(each.workload) + (" (synthetic)" if each.recipe.synthetic else ""),
            f"{each.rows:,}" if each.rows else "?",
            each.period or "?",
            ", ".join(each.capabilities),
            each.recipe.licence["spdx"],
            each.state,
        )
        for each in entries(archive, archive.select(names or ()))
    ]
    print_table(("trace/workload", "rows", "period", "shows", "licence", "content"), rows, right={1})
    absent = sum(not row[-1].startswith("here") for row in rows)
    if absent:
        typer.echo(
            f"\n{absent} of {len(rows)} not here. Next: llm-traces get TRACE; unpinned: llm-traces pin TRACE first"
        )


@app.command()
def info(context: typer.Context, trace: Annotated[str, typer.Argument(metavar="TRACE[/WORKLOAD]")]) -> None:
    """All about one trace: how it was collected, properties, oddities, licence, citation, files and pins."""
    from .catalogue import entries
    from .terminal import print_info

    archive = archive_of(context)
    print_info(list(entries(archive, archive.select([trace]))))


@app.command()
def build(
    context: typer.Context,
    names: Names = None,
    mirror: Mirror = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Workloads built at a time.")] = 1,
    offline: Offline = False,
    accept_unpinned: Annotated[
        bool, typer.Option("--accept-unpinned", help="Also take files whose recipe has no pin; the lock records it.")
    ] = False,
) -> None:
    """Build workloads from their pinned upstream files, prove and check them, and write the lock."""
    from .build import Built, build_all
    from .describe import describe
    from .fetch import Sources
    from .progress import Progress

    archive = archive_of(context)
    workloads = archive.select(names or ())
    with Progress() as progress:
        sources = Sources(
            cache=cache_folder(),
            mirror=mirror,
            offline=offline,
            on_progress=progress.bytes,
            accept_unpinned=accept_unpinned,
        )
        results = build_all(archive, workloads, sources, jobs, progress.done)
    built = [each for each in results if isinstance(each, Built)]
    problems = [each for each in results if isinstance(each, Problem)]
    if built:
        describe(archive, built)
    for told in dict.fromkeys(map(str, problems)):  # one cause may keep several
        typer.echo(f"\n{told}", err=True)
    typer.echo(
        f"\n{len(built)} built, {len(problems)} not built"
        + (f": {', '.join(dict.fromkeys(p.subject for p in problems))}" if problems else "")
    )
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems) if not built else FINDINGS)


@app.command()
def validate(
    context: typer.Context,
    names: Names = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also restore the upstream, and build anew where the upstream is at hand.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all results as JSON.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all results as JUnit XML.")] = None,
    mirror: Mirror = None,
) -> None:
    """Check what is here: integrity, schema, rows, relations, expectations and published figures, all findings."""
    from .checks.package import package
    from .checks.provenance import REBUILT
    from .fetch import Sources
    from .findings import write_json, write_junit
    from .terminal import print_results
    from .validate import validate as check

    archive = archive_of(context)
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True) if deep else None
    workloads = [each for each in archive.select(names or ()) if names or archive.is_present(each)]
    absent = [each for each in workloads if not archive.is_present(each)]
    results = {"package": print_results("package", package(archive))}
    for each in workloads:
        if each not in absent:
            results[str(each)] = print_results(str(each), check(archive, each, sources))
            if deep and not any(result.name == REBUILT for result in results[str(each)]):
                typer.echo("  not checked: the way here again; the upstream is neither in the cache nor in the mirror")
    for each in absent:
        typer.echo(f"{each}: not here; next: llm-traces get {each}", err=True)
    if json:
        write_json(json, results, __version__)
    if junit:
        write_junit(junit, results)
    bad = len(absent) + sum(not result.holds for found in results.values() for result in found)
    typer.echo(f"\n{len(workloads)} {'workload' if len(workloads) == 1 else 'workloads'}, {bad} findings")
    if wrong := [name for name, found in results.items() if name != "package" and not all(r.holds for r in found)]:
        typer.echo(
            f"next: llm-traces build {' '.join(wrong)}, which puts right files in their place; then validate again"
        )
    if bad:
        raise typer.Exit(FINDINGS)


@app.command()
def pin(context: typer.Context, names: Names, mirror: Mirror = None, offline: Offline = False) -> None:
    """Fetch upstream files as they are now, show how their pins differ, and write the pins into the recipes."""
    from .fetch import Sources
    from .pin import pin as renew

    archive = archive_of(context)
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=offline)
    found = renew(archive, archive.select(names or ()), sources, typer.echo)
    for recipe in sorted({f"recipes/{each.file.trace}.toml" for each in found if each.changed}):
        typer.echo(f"{recipe}: written; review it with git diff {recipe}, then llm-traces build {Path(recipe).stem}")


@app.command()
def describe(context: typer.Context) -> None:
    """Write datapackage.json and the generated parts of the README anew from recipes, schemas and lock."""
    from .describe import describe as write

    package = write(archive_of(context))
    typer.echo(f"datapackage.json: {len(package['resources'])} resources")


@app.command()
def restore(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE/WORKLOAD")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to: a file, or a folder for its files.")
    ],
    derived: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write this file, which the upstream derived from the workload.")
    ] = None,
) -> None:
    """Write the upstream file of a workload again, byte for byte, and compare it with its pin."""
    from .restore import restore_to

    archive = archive_of(context)
    workloads = archive.select([name])
    if len(workloads) != 1:
        raise typer.BadParameter(f"name one workload: {', '.join(map(str, workloads))}")
    for path, each, digest in restore_to(archive, workloads[0], output, derived):
        inside = each.file.container or (each.file.name if each.compression else "")
        verdict = f"as in {inside}" if inside else "as pinned" if each.pin else "unpinned"
        typer.echo(f"{path}  sha256 {digest}  {verdict}")


@app.command()
def setup(context: typer.Context) -> None:
    """Prepare a clone for `datalad get`: git-annex, our special remote, and what the lock knows. Twice does no harm."""
    from .annex import setup as prepare

    for line in prepare(archive_of(context)) or ["nothing to do: the clone is ready"]:
        typer.echo(line)


@app.command()
def get(context: typer.Context, names: Names = None, mirror: Mirror = None, offline: Offline = False) -> None:
    """Set the clone up if needed, `datalad get` the workloads, and check that they are here."""
    from .annex import get as fetch

    if mirror:  # the special remote reads it, and git-annex runs that
        os.environ["LLM_TRACES_MIRROR"] = mirror
    if offline:
        os.environ["LLM_TRACES_OFFLINE"] = "1"
    archive = archive_of(context)
    locked = archive.locked
    workloads = [each for each in archive.select(names or ()) if names or str(each) in locked]
    fetch(archive, workloads)
    typer.echo(f"{len(workloads)} here")


@app.command()
def lock(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="TRACE[/WORKLOAD] ...", show_default=False)],
    mirror: Mirror = None,
    offline: Offline = False,
) -> None:
    """Put workloads into the lock by their sha256, building what was never built, and commit that."""
    from .fetch import Sources
    from .locking import lock as put

    archive = archive_of(context)
    done = put(archive, archive.select(names), Sources(cache=cache_folder(), mirror=mirror, offline=offline))
    typer.echo(f"committed: {', '.join(done)}" if done else "nothing to do: all are in the lock and committed")


@app.command()
def publish(
    context: typer.Context,
    place: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="A folder, or a RIA store: ria+file:// or ria+ssh://")
    ],
) -> None:
    """Put a clone with its content where others can `datalad clone` and `datalad get` it without this package."""
    from .publish import publish as put

    for line in put(archive_of(context), place):
        typer.echo(line)


@app.command()
def samples(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder: becomes an archive of synthetic look-alikes.")],
    mirror: Annotated[Path, typer.Option(help="Where the look-alike upstream files go.")],
    base_url: Annotated[str, typer.Option(help="URL under which the mirror is served.")] = "http://127.0.0.1:8000",
    rows: Annotated[int, typer.Option(min=10, help="Rows of the largest table of a trace.")] = 2000,
    trace: Annotated[
        list[str] | None, typer.Option(help="Only this trace; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Write look-alike upstream files in their upstream's spelling, and an archive with recipes for them."""
    from .samples import sample_archive

    made = sample_archive(archive_of(context), folder, mirror, base_url, rows, trace or None)
    typer.echo(
        f"{made.root}: {len(made.select())} workloads; next: llm-traces --archive {folder} build --mirror {mirror}"
    )


@app.command()
def demo(context: typer.Context) -> None:
    """Build an archive of look-alikes in a throwaway folder, clone it, and open the three doors on the clone."""
    from .demo import run

    run(archive_of(context))


class _InterruptedError(BaseException):
    """Ctrl-C, past all that handles exceptions: the command line's framework has messages of its own for it."""


def _interrupt(_signal: int, _frame: object) -> None:
    raise _InterruptedError


def main() -> Any:
    """Run the command line; every expected failure is a message and an exit code, never a traceback."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except Problem as problem:
        typer.echo(str(problem), err=True)
        sys.exit(problem.exit_code)
    except _InterruptedError:
        typer.echo("\nstopped; nothing is half-written: run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
