"""What is released where, and what differs: the archive, the bundle, Zenodo and the Hub."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.archive import CITATION, SUMS, Archive
from ..core.errors import FINDINGS, USAGE, BadUse, Problem
from ..core.files import hash_file
from ..core.git import Git
from ..upstream.download import Download
from ..upstream.http import Failure, Patience
from .bundle.folder import Bundle
from .content.citation import read_citation
from .differences import CHANGED, MISSING, compare_targets, compare_with_bundle, format_differences
from .hub.release import REPO, Hub, find_repo
from .record import RemoteFile, find_place
from .zenodo import release as zenodo
from .zenodo.answers import read_record
from .zenodo.deposit import Progress
from .zenodo.invenio import Invenio, quote_key

TARGETS = ("huggingface", "zenodo")
NOWHERE = "not released"
UNREACHABLE = "unknown"
PATIENCE = Patience(tries=3)


@dataclass(frozen=True)
class Target:
    """One target and what it has of the version.

    state        NOWHERE, UNREACHABLE, "published", or why it is not published: "draft", "private", "pull request"
    others       other versions at the target
    compared     what its files were compared with, and how; empty if they were not
    differences  by path
    problem      why the state is unknown, or the comparison was not made
    urls         where everyone can download each file, by path
    files        as the server reports them, by path
    """

    name: str
    place: str = ""
    state: str = NOWHERE
    url: str = ""
    doi: str = ""
    others: tuple[str, ...] = ()
    compared: str = ""
    differences: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, RemoteFile] = field(default_factory=dict, repr=False)

    @property
    def has_version(self) -> bool:
        """Whether the target has the version, in any state."""
        return self.state not in (NOWHERE, UNREACHABLE)

    def lines(self) -> Iterator[str]:
        """Yield the lines for people."""
        yield f"{self.name:<12} {', '.join(filter(None, (self.state, self.place, self.doi, self.url)))}"
        if self.others:
            yield f"{'':<13}other versions: {', '.join(self.others)}"
        if self.compared:
            yield f"{'':<13}{'differs from' if self.differences else 'the same files as'} {self.compared}"
        for line in [*format_differences(self.differences).splitlines(), *self.problem.splitlines()]:
            yield f"{'':<15}{line}"


@dataclass(frozen=True)
class Status:
    """All about one version; `archive` and `bundle` are facts by name, empty if there is none."""

    version: str
    archive: Mapping[str, Any]
    bundle: Mapping[str, Any]
    targets: tuple[Target, ...]

    @property
    def wrong(self) -> list[str]:
        """What differs, one text each; empty if nothing does, or nothing is released yet."""
        wrong = [
            f"{each.name}: files that differ: {len(each.differences)}" for each in self.targets if each.differences
        ]
        if any(each.has_version or each.others for each in self.targets):
            wrong += [f"{each.name}: {self.version} is missing" for each in self.targets if each.state == NOWHERE]
        versions = {
            "archive": self.archive.get("version"),
            CITATION: self.archive.get(CITATION),
            "compared": self.version,
        }
        if len({version for version in versions.values() if version}) > 1:
            listed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
            wrong.append(f"versions differ: {listed}")
        return wrong

    @property
    def exit_code(self) -> int:
        """USAGE if a target can't be reached, FINDINGS if something differs, else 0."""
        if any(each.state == UNREACHABLE for each in self.targets):
            return USAGE
        return FINDINGS if self.wrong else 0

    def lines(self) -> Iterator[str]:
        """Yield the lines for people."""
        for name, facts in (("archive", self.archive), ("bundle", self.bundle)):
            if facts:
                yield f"{name:<12} {', '.join(f'{key} {value}' for key, value in facts.items() if value)}"
        for each in self.targets:
            yield from each.lines()
        unknown = [f"{each.name}: unknown" for each in self.targets if each.state == UNREACHABLE]
        yield "\n" + "; ".join(unknown + self.wrong or ["nothing differs"])

    def as_json(self) -> str:
        """Return the fields of Status and Target as JSON, without the files and URLs of each target."""
        fields = asdict(self) | {"wrong": self.wrong}
        for each in fields["targets"]:
            del each["urls"], each["files"]
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def find_status(
    archive: Archive,
    bundle: Bundle | None,
    *,
    repo: str = "",
    record: str = "",
    only: str = "",
    sandbox: bool = False,
    download: bool = False,
    progress: Progress = lambda *_: None,
) -> Status:
    """Ask the targets for the version of the bundle, or of the archive without one, and compare their files.

    repo      on the Hub; empty for the one that the bundle or the last release names
    record    at Zenodo, the id of any version; empty for that of the last release
    only      the name of the one target to ask; empty for both
    download  compare the sha256 of what everyone downloads, not only what the servers report

    Compares each target with the bundle. Without one, compares the targets with each other, and with `download` each
    also with its own SHA256SUMS. Raises BadUse if there is no target `only`.
    """
    if only not in ("", *TARGETS):
        raise BadUse(only, "no such target", there_are=", ".join(TARGETS))
    version = bundle.version if bundle else str(archive.lock.get("version", ""))
    hub = Hub(
        repo or (find_repo(bundle) if bundle else "") or find_place(archive, "huggingface") or REPO, patience=PATIENCE
    )
    asks: dict[str, tuple[str, Callable[[Target], Target]]] = {
        "huggingface": (hub.repo, lambda target: _ask_hub(target, hub, version)),
        "zenodo": (
            record or find_place(archive, "zenodo"),
            lambda target: _ask_zenodo(target, _make_client(sandbox), version),
        ),
    }
    targets = [_ask(Target(name, place), ask) for name, (place, ask) in asks.items() if only in ("", name)]
    by = "the servers' checksums" if bundle else "sizes"
    if download:
        targets = [_ask(each, lambda target: _download(target, progress)) for each in targets]
        by = "sha256 of the downloads"
    if bundle:
        targets = [_compare(each, bundle, by) if each.has_version else each for each in targets]
    elif len(targets) > 1 and all(each.has_version and not each.differences for each in targets):
        one, other = targets
        differences = compare_targets(other.files, one.files, one.name)
        targets[1] = replace(other, differences=differences, compared=f"{one.name}, by {by}")
    facts = {}
    if bundle:
        facts = {"version": version, "files": len(bundle.files), "bytes": sum(each.bytes for each in bundle.files)}
    return Status(version, _list_versions(archive), facts, tuple(targets))


def _list_versions(archive: Archive) -> dict[str, str]:
    tags = Git(archive.root).ask("tag", "--points-at", "HEAD").split()
    recorded = [f"{each['target']} {each['version']}" for each in archive.lock.get("releases", ())]
    return {
        "version": str(archive.lock.get("version", "")),
        CITATION: str(read_citation(archive).get("version", "")),
        "tag": ", ".join(tags),
        "recorded": ", ".join(recorded),
    }


def _ask(target: Target, ask: Callable[[Target], Target]) -> Target:
    """Return the target that `ask` returns, or why the state is unknown."""
    try:
        return ask(target)
    except Problem as problem:
        return replace(target, state=UNREACHABLE, problem=str(problem))
    except OSError as error:  # of the disk, during a download
        return replace(target, state=UNREACHABLE, problem=str(error))


def _ask_hub(target: Target, hub: Hub, version: str) -> Target:
    is_private = hub.is_private()
    if is_private is None:
        return target
    tags = hub.list_tags()
    others = tuple(each for each in tags if each != version)
    is_tagged = version in tags
    revision = version if is_tagged else hub.find_pull_request(version)
    if not revision:
        return replace(target, others=others, url=hub.make_url("main"))
    files = hub.list_files(revision)
    return replace(
        target,
        state="pull request" if not is_tagged else "private" if is_private else "published",
        url=hub.make_url(revision),
        others=others,
        files=files,
        urls={} if is_private else {path: hub.make_url(revision, path) for path in files},
    )


def _make_client(sandbox: bool) -> Invenio:
    """Return a client, with the token if there is one: only the owner can see drafts."""
    try:
        return zenodo.make_client(sandbox, patience=PATIENCE)
    except BadUse:
        return zenodo.make_client(sandbox, patience=PATIENCE, anonymous=True)


def _ask_zenodo(target: Target, invenio: Invenio, version: str) -> Target:
    if not target.place:
        return replace(target, problem="the archive names no record; if there is one, give --record ID")
    newest = zenodo.find_latest(invenio, target.place)
    if newest is None:
        return _ask_for_draft(target, invenio, version)
    records = invenio.ask(lambda: invenio.find(f"/records/{newest.id}/versions", {}))
    by_version = {each.version: each for each in records}
    others = tuple(sorted(each for each in by_version if each != version))
    record = by_version.get(version)
    if record is None:
        return replace(_ask_for_draft(target, invenio, version), others=others)
    content = f"{invenio.url}/api/records/{record.id}/files"
    files = zenodo.list_files(invenio, record.id)
    return replace(
        target,
        place=record.id,
        state="published",
        url=f"{invenio.url}/records/{record.id}",
        doi=record.doi,
        others=others,
        files=files,
        urls={path: f"{content}/{quote_key(path)}/content" for path in files},
    )


def _ask_for_draft(target: Target, invenio: Invenio, version: str) -> Target:
    path = f"/records/{quote_key(target.place)}/draft"
    draft = invenio.ask(lambda: invenio.look(read_record, path)) if invenio.token else None
    if draft is None or draft.version != version:
        return target
    files = invenio.ask(lambda: invenio.list_files(path))
    complete = {name: each for name, each in files.items() if each}
    return replace(target, state="draft", url=f"{invenio.url}/uploads/{target.place}", files=complete)


def _compare(target: Target, bundle: Bundle, by: str) -> Target:
    return replace(target, differences=compare_with_bundle(bundle, target.files), compared=f"the bundle, by {by}")


def _download(target: Target, progress: Progress) -> Target:
    """Return the target with the sha256 of what everyone downloads, compared with its own SHA256SUMS."""
    if not target.has_version:
        return target
    if not target.urls:
        raise BadUse(target.name, f"a {target.state} version can't be downloaded", next="omit --download")
    files, sums = {}, ""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        for path, url in target.urls.items():

            def show(here: int, total: int | None, name: str = f"{target.name} {path}") -> None:
                progress(name, here, total)

            try:
                Download(url, part, target.files[path].bytes, False, PATIENCE, show).run()
            except Failure as failed:
                raise BadUse(target.name, f"{path} can't be downloaded", reason=str(failed), next="try again") from None
            digest, size = hash_file(part)
            files[path] = RemoteFile(size, "sha256", digest)
            sums = part.read_text(encoding="utf-8", errors="replace") if path == SUMS else sums
            part.unlink()
    own = {path: digest for digest, _, path in (line.partition("  ") for line in sums.splitlines())}
    wrong = {path: CHANGED for path, each in files.items() if path != SUMS and own.get(path) != each.digest}
    wrong |= dict.fromkeys(own.keys() - files.keys(), MISSING)
    return replace(target, files=files, differences=wrong, compared=f"its own {SUMS}, by download")
