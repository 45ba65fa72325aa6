"""`llm-traces release ...`: one function a command, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import FINDINGS, BadUse
from ..core.settings import cache_folder
from .options import Mirror, archive_of

if TYPE_CHECKING:
    from ..core.archive import Archive
    from ..release.bundle.folder import Bundle
    from ..release.record import Release

app = typer.Typer(
    help="From built to published: the gate, the bundle, Zenodo and the Hugging Face Hub.", no_args_is_help=True
)


@app.command()
def check(
    context: typer.Context,
    mirror: Mirror = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """The gate: check all that a release of this archive would hold, and the state it is released from."""
    from ..release.gate import check as gate
    from ..upstream.sources import Sources
    from .terminal import print_results

    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True)
    report = gate.check(archive_of(context), sources, show=print_results)
    for line in report.summary():
        typer.echo(line)
    if json:
        report.write_json(json)
    if report.findings:
        raise typer.Exit(FINDINGS)


@app.command()
def bundle(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an older bundle.")],
    org: Annotated[str, typer.Option(help="Owner of the dataset repo on the Hub.")] = "llm-trace-archive",
    mirror: Mirror = None,
) -> None:
    """Run the gate, and write the folder that every target gets. Nothing is written if there are findings."""
    from ..release.bundle.pack import pack, refuse_unusable
    from ..release.gate import check as gate
    from ..upstream.sources import Sources
    from .terminal import print_results

    archive = archive_of(context)
    refuse_unusable(archive, folder)
    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True)
    report = gate.check(archive, sources, org, print_results)
    for line in report.summary():
        typer.echo(line)
    made = pack(report, folder)
    if made is None:
        typer.echo(f"{folder}: nothing to do: it is this bundle already")
    else:
        typer.echo(f"{folder}: {len(made.files)} files, {sum(each.bytes for each in made.files) / 1e6:.2f} MB")


def _online() -> None:
    from ..core.settings import is_offline

    if is_offline():
        raise BadUse("LLM_TRACES_OFFLINE", "is set: no target can be asked", next="unset LLM_TRACES_OFFLINE")


def _archive(context: typer.Context, bundle: Bundle) -> Archive | None:
    """The archive around here, to be told of a release; a bundle is no place for that."""
    try:
        archive = archive_of(context)
    except BadUse:
        return None
    return None if archive.root == bundle.root.resolve() else archive


def _record(archive: Archive | None, bundle: Bundle, done: Release) -> None:
    from ..release.record import record

    if archive is None or archive.lock.get("version") != bundle.version:
        told = f"recorded nowhere: not inside the archive of version {bundle.version}"
        typer.echo(f"{told}; the same command there does it, and sends nothing again")
        return
    for path in record(archive, bundle, done):
        typer.echo(f"{path}: says where {done.target} has it; review and commit it")


@app.command()
def huggingface(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `release bundle` made.")],
    repo: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The dataset repo; default: the one the bundle names.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request instead: no tag until it is merged.")] = False,
) -> None:
    """Bring the bundle to the Hugging Face Hub: one commit with what changed, and a tag equal to the version."""
    from ..release.bundle.folder import Bundle
    from ..release.hub import release as hub

    _online()
    opened = Bundle.open(bundle)
    done = hub.release(opened, repo, private=private, pull=pr, say=typer.echo)
    typer.echo(done.url)
    if not private:
        _record(_archive(context, opened), opened, done)


@app.command()
def zenodo(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `release bundle` made.")],
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Zenodo's sandbox, with the token in ZENODO_SANDBOX_TOKEN.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish it, for ever; else it stops at the draft.")
    ] = False,
    community: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Ask this community to take the record; may be repeated.")
    ] = None,
) -> None:
    """Bring the bundle to Zenodo: a draft with exactly its files, published if told. The token is in ZENODO_TOKEN."""
    from ..release.bundle.folder import Bundle
    from ..release.record import place
    from ..release.zenodo import release as zenodo
    from .progress import Progress

    _online()
    opened = Bundle.open(bundle)
    archive = _archive(context, opened)
    concept = "" if sandbox or archive is None else place(archive, "zenodo")
    invenio = zenodo.server(sandbox, typer.echo)
    with Progress() as progress:
        done = zenodo.release(
            opened,
            invenio,
            publish=publish,
            communities=community or (),
            concept=concept or None,
            progress=progress.bytes,
        )
    typer.echo("\n".join(filter(None, (done.url, done.doi and f"https://doi.org/{done.doi}"))))
    if not sandbox:
        _record(archive, opened, done)


@app.command()
def status(
    context: typer.Context,
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", show_default=False, help="Compare with this bundle.")
    ] = None,
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The dataset repo; default: as released.")] = "",
    record: Annotated[
        str, typer.Option(metavar="ID", help="Zenodo's record, of any version; default: as released.")
    ] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Zenodo's sandbox.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download all files and compare their sha256, too.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as JSON.")] = None,
) -> None:
    """What is released where, and what differs. Exit code 1 if something does, 2 if a target can't be asked."""
    from ..core.files import write_output
    from ..release.bundle.folder import Bundle
    from ..release.status import status as look
    from .progress import Progress

    _online()
    with Progress() as progress:
        found = look(
            archive_of(context),
            Bundle.open(bundle) if bundle else None,
            repo=repo,
            record=record,
            sandbox=sandbox,
            download=download,
            progress=progress.bytes,
        )
    for line in found.lines():
        typer.echo(line)
    if json:
        write_output(json, found.as_json())
    if found.exit_code:
        raise typer.Exit(found.exit_code)
