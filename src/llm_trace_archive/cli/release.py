"""`llm-traces release ...`: one function per command, no logic."""

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
    from ..release.gate.check import Report
    from ..release.record import Release

app = typer.Typer(help="Check, bundle and publish a version on Zenodo and the Hugging Face Hub.", no_args_is_help=True)


@app.command()
def check(
    context: typer.Context,
    mirror: Mirror = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """List everything that stops a release of this archive.

    Exits with 1 if anything does. Sends nothing, asks no URL, writes only FILE.

    Example: llm-traces release check --mirror ~/upstream
    """
    report = _check(archive_of(context), mirror)
    if json:
        report.write_json(json)
    if report.findings:
        raise typer.Exit(FINDINGS)


@app.command()
def bundle(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an earlier bundle to replace.")],
    org: Annotated[str, typer.Option(help="Owner of the dataset repo on the Hub.")] = "llm-trace-archive",
    mirror: Mirror = None,
) -> None:
    """Write all files of a release to a folder, the bundle that every target gets.

    Runs `release check` first. Writes only DIR, and nothing if there are findings.

    Example: llm-traces release bundle ../bundle --mirror ~/upstream
    """
    from ..release.bundle.pack import pack, refuse_unusable

    archive = archive_of(context)
    refuse_unusable(archive, folder)
    packed = pack(_check(archive, mirror, org), folder)
    if packed is None:
        typer.echo(f"{folder}: nothing to do: this bundle is already there")
    else:
        typer.echo(f"{folder}: {len(packed.files)} files, {sum(each.bytes for each in packed.files) / 1e6:.2f} MB")


def _check(archive: Archive, mirror: str | None, org: str = "llm-trace-archive") -> Report:
    from ..release.gate import check as gate
    from ..upstream.sources import Sources
    from .terminal import print_results

    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True)
    report = gate.check(archive, sources, org, print_results)
    for line in report.summary():
        typer.echo(line)
    return report


def _require_online() -> None:
    from ..core.settings import is_offline

    if is_offline():
        raise BadUse("LLM_TRACES_OFFLINE", "is set, so no server may be asked", next="unset LLM_TRACES_OFFLINE")


def _find_archive(context: typer.Context, bundle: Bundle) -> Archive | None:
    """Return the archive to record a release in, if there is one. The bundle itself is not."""
    try:
        archive = archive_of(context)
    except BadUse:
        return None
    return None if archive.root == bundle.root.resolve() else archive


def _record(archive: Archive | None, bundle: Bundle, release: Release) -> None:
    from ..release.record import record

    if archive is None or archive.lock.get("version") != bundle.version:
        typer.echo(
            f"not recorded: the current directory is not in the archive of version {bundle.version}; "
            "run the same command there, which sends nothing again"
        )
        return
    for path in record(archive, bundle, release):
        typer.echo(f"{path}: now names the release at {release.target}; review and commit it")


@app.command()
def huggingface(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `release bundle` wrote.")],
    repo: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The dataset repo; default: the one in the bundle's URLs.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request, without a tag until it is merged.")] = False,
) -> None:
    """Publish a bundle on the Hugging Face Hub: one commit, tagged with the version.

    Safe to run again: it resumes where it stopped and sends only what changed.
    Then writes the URLs to datapackage.json of the archive, for you to commit.

    Example: llm-traces release huggingface ../bundle
    """
    from ..release.bundle.folder import Bundle
    from ..release.hub import release as hub

    _require_online()
    bundle = Bundle.open(folder)
    released = hub.release(bundle, repo, private=private, pull=pr, say=typer.echo)
    typer.echo(released.url)
    if not private:
        _record(_find_archive(context, bundle), bundle, released)


@app.command()
def zenodo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `release bundle` wrote.")],
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Use Zenodo's sandbox, with the token in ZENODO_SANDBOX_TOKEN.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish permanently; without it, leave a draft to review.")
    ] = False,
    community: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Ask this community to accept the record; repeatable.")
    ] = None,
) -> None:
    """Upload a bundle to Zenodo as a draft, or publish it. The token is in ZENODO_TOKEN.

    Safe to run again: it resumes where it stopped and sends only what changed.
    A publication is then written to CITATION.cff and datapackage.json of the
    archive, for you to commit.

    Example: llm-traces release zenodo ../bundle --publish
    """
    from ..lock.progress import Progress
    from ..release.bundle.folder import Bundle
    from ..release.record import find_place
    from ..release.zenodo import release as zenodo

    _require_online()
    bundle = Bundle.open(folder)
    archive = _find_archive(context, bundle)
    concept = "" if sandbox or archive is None else find_place(archive, "zenodo")
    client = zenodo.make_client(sandbox, typer.echo)
    with Progress() as progress:
        released = zenodo.release(
            bundle,
            client,
            publish=publish,
            communities=community or (),
            concept=concept or None,
            progress=progress.bytes,
        )
    typer.echo("\n".join(filter(None, (released.url, released.doi and f"https://doi.org/{released.doi}"))))
    if not sandbox:
        _record(archive, bundle, released)


@app.command()
def status(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", show_default=False, help="Compare with this bundle.")
    ] = None,
    repo: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The dataset repo; default: that of the bundle or last release.")
    ] = "",
    record: Annotated[
        str, typer.Option(metavar="ID", help="A Zenodo record, of any version; default: that of the last release.")
    ] = "",
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use Zenodo's sandbox.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download all files and compare their sha256 too.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the status as JSON.")] = None,
) -> None:
    """Print which version is released where, and what differs.

    Exits with 1 if anything differs, 2 if a target can't be reached.
    Writes only FILE.

    Example: llm-traces release status ../bundle
    """
    from ..core.files import write_output
    from ..lock.progress import Progress
    from ..release.bundle.folder import Bundle
    from ..release.status import find_status

    _require_online()
    with Progress() as progress:
        status = find_status(
            archive_of(context),
            Bundle.open(folder) if folder else None,
            repo=repo,
            record=record,
            sandbox=sandbox,
            download=download,
            progress=progress.bytes,
        )
    for line in status.lines():
        typer.echo(line)
    if json:
        write_output(json, status.as_json())
    if status.exit_code:
        raise typer.Exit(status.exit_code)
