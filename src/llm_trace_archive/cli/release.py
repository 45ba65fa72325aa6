"""`llm-traces release ...`: one function per command, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import FINDINGS, BadUse
from ..core.settings import cache_folder
from ..core.text import echo
from .options import Mirror, archive_of

if TYPE_CHECKING:
    from ..core.archive import Archive
    from ..release.bundle.folder import Bundle
    from ..release.gate.check import Report
    from ..release.record import Release

OlderOption = Annotated[
    bool, typer.Option("--older", help="Go on although a higher version is already published there.")
]

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
        echo(f"{folder}: nothing to do: this bundle is already there")
    else:
        echo(f"{folder}: {len(packed.files)} files, {sum(each.bytes for each in packed.files) / 1e6:.2f} MB")


def _check(archive: Archive, mirror: str | None, org: str = "llm-trace-archive") -> Report:
    from ..release.gate import check as gate
    from ..upstream.sources import Sources
    from .terminal import print_results

    sources = Sources(cache=cache_folder(), mirror=mirror, offline=True)
    report = gate.check(archive, sources, org, print_results)
    for line in report.summary():
        echo(line)
    return report


@app.command()
def reserve(
    context: typer.Context,
    record: Annotated[
        str, typer.Option(metavar="ID", help="Our Zenodo record, of any version; default: that of the last release.")
    ] = "",
    first: Annotated[
        bool, typer.Option("--first", help="Make a new record although there are signs of an earlier version.")
    ] = False,
    older: OlderOption = False,
) -> None:
    """Reserve the DOI of the next version at Zenodo, and write it to CITATION.cff for you to commit.

    Makes a draft without files, which `release zenodo` fills later. Safe to
    run again. The token is in ZENODO_TOKEN.

    Example: llm-traces release reserve
    """
    from ..release.content.citation import list_licences
    from ..release.content.contents import Contents
    from ..release.content.selection import select
    from ..release.record import cite, find_earlier, find_place
    from ..release.zenodo import release as zenodo

    _require_online()
    archive = archive_of(context)
    contents = Contents(archive, select(archive))
    if str(contents.citation.get("version")) != contents.version:
        raise BadUse(
            "CITATION.cff",
            "is about another version than datapackage.json",
            expected=contents.version or "a version",
            got=str(contents.citation.get("version")),
            next="correct the version in CITATION.cff and src/llm_trace_archive/__init__.py, then: llm-traces describe",
        )
    reserved = zenodo.reserve(
        contents,
        zenodo.make_client(say=echo),
        concept=record or find_place(archive, "zenodo") or None,
        older=older,
        first=first,
        earlier=find_earlier(archive, contents.version),
    )
    echo(f"https://doi.org/{reserved.doi}")
    if cite(archive, reserved, list_licences(contents.package["licenses"])):
        echo(f"CITATION.cff: now names {reserved.doi} for version {reserved.version}; review and commit it")


def _require_online() -> None:
    from ..core.settings import is_offline

    if is_offline():
        raise BadUse("LLM_TRACES_OFFLINE", "is set, so no server may be asked", next="unset LLM_TRACES_OFFLINE")


def _find_archive(context: typer.Context, bundle: Bundle) -> Archive | None:
    """Return the archive that the bundle was made from, to record a release in, or None outside of one.

    The bundle itself is none. Raises BadUse unless the tag of its version is at the bundle's commit.
    """
    from ..release.bundle.verify import require_tag

    try:
        archive = archive_of(context)
    except BadUse:
        return None
    if archive.root == bundle.root.resolve():
        return None
    require_tag(bundle, archive)
    return archive


def _record(archive: Archive | None, bundle: Bundle, release: Release) -> None:
    from ..release.record import record

    if archive is None or archive.lock.get("version") != bundle.version:
        echo(
            f"not recorded: the current directory is not in the archive of version {bundle.version}; "
            "run the same command there, which sends nothing again"
        )
        return
    for path in record(archive, bundle, release):
        echo(f"{path}: now names the release at {release.target}; review and commit it")


@app.command()
def huggingface(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `release bundle` wrote.")],
    repo: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The dataset repo; default: the one in the bundle's URLs.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request, without a tag until it is merged.")] = False,
    older: OlderOption = False,
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
    archive = _find_archive(context, bundle)
    if archive is None:
        echo("the bundle's commit is not compared with its tag: the current directory is not in the archive")
    released = hub.release(bundle, repo, private=private, pull=pr, older=older, say=echo)
    echo(released.url)
    if not private:
        _record(archive, bundle, released)


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
    older: OlderOption = False,
) -> None:
    """Upload a bundle to Zenodo as a draft, or publish it. The token is in ZENODO_TOKEN.

    Safe to run again: it resumes where it stopped and sends only what changed.
    A publication is then written to CITATION.cff and datapackage.json of the
    archive, for you to commit.

    Example: llm-traces release zenodo ../bundle --publish
    """
    from ..lock.progress import Progress
    from ..release.bundle.folder import Bundle
    from ..release.content.citation import find_doi
    from ..release.record import find_place
    from ..release.zenodo import release as zenodo

    _require_online()
    bundle = Bundle.open(folder)
    archive = _find_archive(context, bundle)
    if publish and not sandbox and archive is None:
        raise BadUse(
            str(Path.cwd()),
            "is not in a clone of the archive, so the bundle can't be compared with its tag",
            next="cd into the clone, then run the same command again",
        )
    doi = "" if sandbox else find_doi(bundle.citation, bundle.version)
    if not sandbox and not doi:
        raise BadUse(
            str(folder),
            f"names no DOI of {bundle.version} in its CITATION.cff",
            next="llm-traces release reserve, commit, tag, llm-traces release bundle DIR; or rehearse with --sandbox",
        )
    concept = "" if sandbox or archive is None else find_place(archive, "zenodo")
    client = zenodo.make_client(sandbox, echo)
    with Progress() as progress:
        released = zenodo.release(
            bundle,
            client,
            doi=doi,
            publish=publish,
            communities=community or (),
            concept=concept or None,
            older=older,
            progress=progress.bytes,
        )
    echo("\n".join(filter(None, (released.url, released.doi and f"https://doi.org/{released.doi}"))))
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
    only: Annotated[str, typer.Option(metavar="TARGET", help="Ask one target alone: zenodo or huggingface.")] = "",
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
            only=only,
            sandbox=sandbox,
            download=download,
            progress=progress.bytes,
        )
    for line in status.lines():
        echo(line)
    if json:
        write_output(json, status.as_json())
    if status.exit_code:
        raise typer.Exit(status.exit_code)
