"""`llm-traces build`, `validate`, `restore`, `pin` and `describe`: tables, their proof, and the lock."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..core.errors import FINDINGS, Problem
from ..core.settings import cache_folder
from ..core.text import echo
from .options import Mirror, Names, Offline, any_archive, archive_of

app = typer.Typer()


@app.command()
def build(
    context: typer.Context,
    names: Names = None,
    mirror: Mirror = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Workloads to build at a time, each on two cores; default: as many as fit."),
    ] = None,
    offline: Offline = False,
    accept_unpinned: Annotated[
        bool, typer.Option("--accept-unpinned", help="Accept files without a pin; the lock records it.")
    ] = False,
) -> None:
    """Build workloads from their pinned upstream files, prove and check them, and write the lock.

    Tables go to data/, the lock is datapackage.json. Unreachable files are reported; everything else is built.

    Example: llm-traces build azure-2023 mooncake/conversation --mirror ~/upstream
    """
    from ..lock.build import Built, build_all
    from ..lock.describe import describe
    from ..lock.progress import Progress
    from ..upstream.sources import Sources

    archive = archive_of(context)
    workloads = archive.select(names or ())
    with Progress() as progress:
        sources = Sources(
            cache=cache_folder(),
            mirror=mirror,
            offline=offline,
            on_progress=progress.bytes,
            on_wait=progress.waiting,
            accept_unpinned=accept_unpinned,
        )
        results = build_all(archive, workloads, sources, jobs or max(1, (os.cpu_count() or 1) // 2), progress.done)
    built = [each for each in results if isinstance(each, Built)]
    problems = [each for each in results if isinstance(each, Problem)]
    if built:
        describe(archive, built)
    for message in dict.fromkeys(map(str, problems)):  # several workloads may fail for one reason
        echo(f"\n{message}", err=True)
    echo(
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
        bool, typer.Option("--deep", help="Also restore the upstream, and rebuild where the upstream is available.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all results to this file as JSON.")] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all results to this file as JUnit XML.")
    ] = None,
    mirror: Mirror = None,
) -> None:
    """Check the content that is here: integrity, schema, rows, relations, expectations and published figures.

    All findings are printed, not only the first; the exit code is 1 if there are any. Without names, whatever is here.
    A path to a workload that was saved checks it; --deep then shapes its sources again and compares the bytes.

    Example: llm-traces validate mooncake/conversation --deep --mirror ~/upstream
    """
    from ..checks.report import write_json, write_junit
    from ..core.table import Table
    from ..lock.validate import REBUILT, REBUILT_FROM_ITSELF, validate_package
    from ..lock.validate import validate as check
    from ..upstream.sources import Sources
    from ..workload.open import is_saved, open_requests
    from ..workload.save import check_saved
    from .terminal import print_results

    saved = [name for name in names or () if is_saved(any_archive(context), name)]
    results = {}
    for name in saved:
        opened = any_archive(context)
        reopen = partial(open_requests, opened) if deep else None
        results[name] = print_results(name, check_saved(opened, Path(name), reopen))
    workloads, absent = [], []
    if names is None or len(saved) < len(names):
        archive = archive_of(context)
        selected = archive.select([name for name in names or () if name not in saved])
        workloads = [each for each in selected if names or archive.is_present(each)]
        absent = [each for each in workloads if not archive.is_present(each)]
        results["package"] = print_results("package", validate_package(archive))
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True) if deep else None
    for each in workloads:
        if each not in absent:
            with Table(archive.root / each.path) as table:
                results[str(each)] = print_results(str(each), check(archive, each, table, sources))
            if deep and not any(result.name in (REBUILT, REBUILT_FROM_ITSELF) for result in results[str(each)]):
                echo("  not checked: the rebuild, as the upstream is neither in the cache nor in the mirror")
    for each in absent:
        echo(f"{each}: the content is not here; next: llm-traces get {each}", err=True)
    if json:
        write_json(json, results, __version__)
    if junit:
        write_junit(junit, results)
    bad = len(absent) + sum(not result.holds for found in results.values() for result in found)
    number = len(workloads) + len(saved)
    echo(f"\n{number} {'workload' if number == 1 else 'workloads'}, {bad} findings")
    built = {str(each) for each in workloads}
    if wrong := [name for name, found in results.items() if name in built and not all(r.holds for r in found)]:
        echo(f"next: llm-traces build {' '.join(wrong)} replaces the wrong files; then validate again")
    if bad:
        raise typer.Exit(FINDINGS)


@app.command()
def restore(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TRACE/WORKLOAD")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE|FOLDER/|-", help="The file or the folder to write; - for stdout."),
    ],
    derived: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write this file instead, which the upstream derived from the workload."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Restore the upstream file of a workload, byte for byte, and compare it with its pin.

    Example: llm-traces restore azure-2023/code -o code.csv
    """
    from ..convert.restore import RestoredFile, restore_to, restore_to_stream

    def verdict(file: RestoredFile, digest: str) -> str:
        inside = file.file.container or (file.file.name if file.compression else "")
        return f"sha256 {digest}  " + (f"as in {inside}" if inside else "as pinned" if file.pin else "unpinned")

    archive = any_archive(context)
    workloads = archive.select([name])
    if len(workloads) != 1:
        raise typer.BadParameter(f"name one workload: {', '.join(map(str, workloads))}")
    if output == "-":
        found = restore_to_stream(archive, workloads[0], sys.stdout.buffer, derived)
        echo(f"{found[0].name}  {verdict(*found)}", err=True)
        return
    for path, file, sha256 in restore_to(
        archive, workloads[0], Path(output), derived, is_folder=output.endswith("/"), force=force
    ):
        echo(f"{path}  {verdict(file, sha256)}")


@app.command()
def pin(context: typer.Context, names: Names, mirror: Mirror = None, offline: Offline = False) -> None:
    """Fetch the current upstream files, show how their pins differ, and write the new pins into the recipes.

    Example: llm-traces pin kavier --mirror ~/upstream
    """
    from ..lock.progress import print_wait
    from ..upstream.renew import renew
    from ..upstream.sources import Sources

    archive = archive_of(context)
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=offline, on_wait=print_wait)
    found = renew(archive, archive.select(names or ()), sources, echo)
    for recipe in sorted({f"recipes/{each.file.trace}.toml" for each in found if each.is_changed}):
        echo(f"{recipe}: updated; review git diff {recipe}, then llm-traces build {Path(recipe).stem}")


@app.command()
def new(
    context: typer.Context,
    trace: Annotated[str, typer.Argument(metavar="TRACE", show_default=False)],
    file: Annotated[Path, typer.Option("--from", metavar="FILE", help="CSV or JSON Lines, also gzipped.")],
) -> None:
    """Draft the recipe of a new trace, and its look-alikes, from one of its files; the draft builds.

    Names, types and units are guessed and marked: confirm them, and replace each TODO. CONTRIBUTING.md says what else
    a trace needs.

    Example: llm-traces new my-trace --from ~/upstream/my-trace/requests.csv
    """
    from ..lock.draft import draft

    for path in draft(archive_of(context), trace, file):
        echo(str(path))
    echo(f"next: confirm the guesses, then llm-traces build {trace} --mirror DIR, with the file in DIR/{trace}/")


@app.command()
def describe(context: typer.Context) -> None:
    """Regenerate datapackage.json, schemas/<trace>.json, docs/traces and the README's card from recipes and lock.

    Example: llm-traces describe
    """
    from ..lock.describe import describe as write

    package = write(archive_of(context))
    echo(f"datapackage.json: {len(package['resources'])} resources")
