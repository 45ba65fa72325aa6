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
from ..upstream.http import Download, Failed, Patience
from .bundle.folder import Bundle
from .differences import MISSING, OTHER, apart, differences, told
from .hub.release import REPO, Hub, named
from .record import Listed
from .record import place as last
from .zenodo import release as zenodo
from .zenodo.invenio import Invenio, encoded

NOWHERE = "not released"
UNREACHABLE = "not known"
PATIENCE = Patience(tries=3)
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Target:
    """One place to release to, and what it holds of the version that was asked for.

    state        NOWHERE, UNREACHABLE, "published", or what keeps it from that: "draft", "private", "pull request"
    others       other versions that are there
    compared     with what its files were compared, and by what; empty if they were not
    differences  by path
    problem      why it is not known, or not compared as asked for
    urls         by path, where everyone can download it; listed: the files as the server tells them
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
    listed: Mapping[str, Listed] = field(default_factory=dict, repr=False)

    @property
    def holds(self) -> bool:
        """Whether the version is there in some state."""
        return self.state not in (NOWHERE, UNREACHABLE)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.name:<12} {', '.join(filter(None, (self.state, self.place, self.doi, self.url)))}"
        if self.others:
            yield f"{'':<13}also there: {', '.join(self.others)}"
        if self.compared:
            yield f"{'':<13}{'differs from' if self.differences else 'the same files as'} {self.compared}"
        for line in [*told(self.differences).splitlines(), *self.problem.splitlines()]:
            yield f"{'':<15}{line}"


@dataclass(frozen=True)
class Status:
    """All that is known of a version; `archive` and `bundle` are facts by name, empty where there is none."""

    version: str
    archive: Mapping[str, Any]
    bundle: Mapping[str, Any]
    targets: tuple[Target, ...]

    @property
    def wrong(self) -> list[str]:
        """What differs, in words; nothing if all is the same, or nothing was released yet."""
        found = [
            f"{each.name}: files that differ: {len(each.differences)}" for each in self.targets if each.differences
        ]
        if any(each.holds or each.others for each in self.targets):
            found += [f"{each.name}: {self.version} is not there" for each in self.targets if each.state == NOWHERE]
        versions = {
            "archive": self.archive.get("version"),
            CITATION: self.archive.get(CITATION),
            "wanted": self.version,
        }
        if len({version for version in versions.values() if version}) > 1:
            found.append(", ".join(f"{name} {version}" for name, version in versions.items() if version))
        return found

    @property
    def exit_code(self) -> int:
        """USAGE if a target can't be reached, FINDINGS if something differs, else 0."""
        if any(each.state == UNREACHABLE for each in self.targets):
            return USAGE
        return FINDINGS if self.wrong else 0

    def lines(self) -> Iterator[str]:
        """For people."""
        for name, facts in (("archive", self.archive), ("bundle", self.bundle)):
            if facts:
                yield f"{name:<12} {', '.join(f'{key} {value}' for key, value in facts.items() if value)}"
        for each in self.targets:
            yield from each.lines()
        unknown = [each.name for each in self.targets if each.state == UNREACHABLE]
        yield "\n" + "; ".join([f"{name}: not known" for name in unknown] + self.wrong or ["nothing differs"])

    def as_json(self) -> str:
        """For machines: the fields of Status and Target, but for URLs and listings by path."""
        whole = asdict(self) | {"wrong": self.wrong}
        for each in whole["targets"]:
            del each["urls"], each["listed"]
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def status(
    archive: Archive,
    bundle: Bundle | None,
    *,
    repo: str = "",
    record: str = "",
    sandbox: bool = False,
    download: bool = False,
    progress: Progress = lambda *_: None,
) -> Status:
    """Ask both targets for the bundle's version (without one: the archive's), and compare their files.

    repo      of the Hub; without: what the bundle or the last release names
    record    of Zenodo, the id of any version; without: that of the last release
    download  compare what everyone downloads by its sha256, not only what the servers tell

    With a bundle its files are the yardstick. Without one the targets are compared with each other, and with `download`
    each with its own SHA256SUMS.
    """
    version = bundle.version if bundle else str(archive.lock.get("version", ""))
    hub = Hub(repo or (named(bundle) if bundle else "") or last(archive, "huggingface") or REPO, patience=PATIENCE)
    targets = [
        _reached(Target("huggingface", hub.repo), lambda target: _hub(target, hub, version)),
        _reached(
            Target("zenodo", record or last(archive, "zenodo")),
            lambda target: _zenodo(target, _server(sandbox), version),
        ),
    ]
    by = "the servers' checksums" if bundle else "sizes"
    if download:
        targets = [_reached(each, lambda target: _downloaded(target, progress)) for each in targets]
        by = "sha256 of what was downloaded"
    if bundle:
        targets = [_with_bundle(each, bundle, by) if each.holds else each for each in targets]
    elif all(each.holds for each in targets) and not any(each.differences for each in targets):
        one, other = targets
        found = apart(other.listed, one.listed, one.name)
        targets[1] = replace(other, differences=found, compared=f"{one.name}, by {by}")
    about = (
        {"version": version, "files": len(bundle.files), "bytes": sum(each.bytes for each in bundle.files)}
        if bundle
        else {}
    )
    return Status(version, _facts(archive), about, tuple(targets))


def _facts(archive: Archive) -> dict[str, Any]:
    """The versions that the archive tells."""
    import yaml

    try:
        citation = yaml.safe_load((archive.root / CITATION).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        citation = {}
    tags = Git(archive.root).ask("tag", "--points-at", "HEAD").split()
    recorded = [f"{each['target']} {each['version']}" for each in archive.lock.get("releases", ())]
    return {
        "version": str(archive.lock.get("version", "")),
        CITATION: str(citation.get("version", "")) if isinstance(citation, dict) else "",
        "tag": ", ".join(tags),
        "recorded": ", ".join(recorded),
    }


def _reached(target: Target, look: Callable[[Target], Target]) -> Target:
    """What `look` makes of a target, or why it can't be known."""
    try:
        return look(target)
    except Problem as problem:
        return replace(target, state=UNREACHABLE, problem=str(problem))
    except OSError as error:  # of the disk, in a download
        return replace(target, state=UNREACHABLE, problem=str(error))


def _hub(target: Target, hub: Hub, version: str) -> Target:
    private = hub.private()
    if private is None:
        return target
    tags = hub.tags()
    others = tuple(each for each in tags if each != version)
    tagged = version in tags
    revision = version if tagged else hub.pull_request(version)
    if not revision:
        return replace(target, others=others, url=hub.url("main"))
    listed = hub.listing(revision)
    return replace(
        target,
        state="pull request" if not tagged else "private" if private else "published",
        url=hub.url(revision),
        others=others,
        listed=listed,
        urls={} if private else {path: hub.url(revision, path) for path in listed},
    )


def _server(sandbox: bool) -> Invenio:
    """With the token if there is one: drafts are the owner's to see."""
    try:
        return zenodo.server(sandbox, patience=PATIENCE)
    except BadUse:
        return zenodo.server(sandbox, patience=PATIENCE, anonymous=True)


def _zenodo(target: Target, invenio: Invenio, version: str) -> Target:
    if not target.place:
        return replace(target, problem="no record is known; if there is one: --record ID")
    newest = zenodo.latest(invenio, target.place)
    if newest is None:
        return _draft(target, invenio, version)
    records = invenio.ask(lambda: invenio.find(f"/records/{newest['id']}/versions", {}))
    by_version = {str(each["metadata"].get("version", "")): each for each in records}
    others = tuple(sorted(each for each in by_version if each != version))
    found = by_version.get(version)
    if found is None:
        return replace(_draft(target, invenio, version), others=others)
    content = f"{invenio.url}/api/records/{found['id']}/files"
    listed = zenodo.listing(invenio, found["id"])
    return replace(
        target,
        place=str(found["id"]),
        state="published",
        url=f"{invenio.url}/records/{found['id']}",
        doi=str(found.get("pids", {}).get("doi", {}).get("identifier", "")),
        others=others,
        listed=listed,
        urls={path: f"{content}/{encoded(path)}/content" for path in listed},
    )


def _draft(target: Target, invenio: Invenio, version: str) -> Target:
    path = f"/records/{target.place}/draft"
    draft = invenio.ask(lambda: invenio.get(path)) if invenio.token else None
    if draft is None or str(draft["metadata"].get("version", "")) != version:
        return target
    files = invenio.ask(lambda: invenio.files(path))
    listed = {name: each for name, each in files.items() if each}
    return replace(target, state="draft", url=f"{invenio.url}/uploads/{target.place}", listed=listed)


def _with_bundle(target: Target, bundle: Bundle, by: str) -> Target:
    return replace(target, differences=differences(bundle, target.listed), compared=f"the bundle, by {by}")


def _downloaded(target: Target, progress: Progress) -> Target:
    """A target with the sha256 of what everyone downloads, compared with its own SHA256SUMS."""
    if not target.holds:
        return target
    if not target.urls:
        raise BadUse(target.name, f"not downloaded: it is a {target.state}", next="leave --download out")
    found, sums = {}, ""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        for path, url in target.urls.items():

            def show(here: int, total: int | None, name: str = f"{target.name} {path}") -> None:
                progress(name, here, total)

            try:
                Download(url, part, target.listed[path].bytes, False, PATIENCE, show).run()
            except Failed as failed:
                raise BadUse(target.name, f"{path} can't be downloaded", reason=str(failed), next="try again") from None
            digest, size = hash_file(part)
            found[path] = Listed(size, "sha256", digest)
            sums = part.read_text(encoding="utf-8", errors="replace") if path == SUMS else sums
            part.unlink()
    own = {path: digest for digest, _, path in (line.partition("  ") for line in sums.splitlines())}
    wrong = {path: OTHER for path, each in found.items() if path != SUMS and own.get(path) != each.digest}
    wrong |= dict.fromkeys(own.keys() - found.keys(), MISSING)
    return replace(target, listed=found, differences=wrong, compared=f"its own {SUMS}, by downloading")
