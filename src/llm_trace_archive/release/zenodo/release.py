"""Zenodo: one concept record with one version per release, whose files are exactly the bundle's.

Runs share no state. Each looks at the server's state and does what is missing, so it also resumes one that was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...core.errors import BadUse, Problem
from ...core.settings import cache_folder
from ...upstream.http import Failure, Patience
from ..bundle.folder import Bundle
from ..bundle.verify import require_gated
from ..content.contents import Contents
from ..differences import compare_with_bundle, format_differences
from ..record import NEXT, Release, RemoteFile, require_newer
from .answers import Record, read_name, read_names, read_record
from .deposit import Progress, require_files, send_files
from .invenio import PATIENCE, SCOPES, Invenio, Refused, Unexpected, quote_key
from .metadata import describe_record, find_repository, is_made_by_us

ZENODO = "https://zenodo.org"
SANDBOX = "https://sandbox.zenodo.org"
LAG = 3.0  # seconds until the server's search shows every change


def make_client(
    sandbox: bool = False,
    say: Callable[[str], None] = lambda line: None,
    patience: Patience = PATIENCE,
    *,
    anonymous: bool = False,
) -> Invenio:
    """Return a client of Zenodo or its sandbox, or of the server at LLM_TRACES_ZENODO_URL if that is set.

    anonymous  without the token of the environment, to read only what is public

    Raises BadUse if there is no valid token, or the URL is not https.
    """
    variable = "ZENODO_SANDBOX_TOKEN" if sandbox else "ZENODO_TOKEN"
    url = (os.environ.get("LLM_TRACES_ZENODO_URL") or (SANDBOX if sandbox else ZENODO)).rstrip("/")
    token = "" if anonymous else os.environ.get(variable, "").strip()
    if not token and not anonymous:
        raise BadUse(
            urlsplit(url).netloc.rpartition("@")[2],
            "no token is set",
            expected=f"a token in {variable}, with the scopes {SCOPES}",
            next=f"{url}/account/settings/applications/tokens/new/",
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadUse(variable, "is not a valid token", next="copy the token again from the page where you created it")
    return Invenio(url, token, variable, say, patience)


def release(
    bundle: Bundle,
    invenio: Invenio,
    *,
    doi: str = "",
    publish: bool = False,
    communities: Sequence[str] = (),
    concept: str | None = None,
    older: bool = False,
    progress: Progress = lambda *_: None,
) -> Release:
    """Send the bundle to Zenodo as a draft; with `publish`, publish it and ask the communities to accept it.

    doi       the one that `reserve` gave the bundle's version: only its draft is used. Empty for a rehearsal, which
              finds or makes a draft
    concept   the id of our concept record or of any version of it; None to find it by title and repository among the
              user's records
    older     also publish a version lower than the last
    progress  called as (path, bytes sent, bytes in all)

    Idempotent. Raises BadUse for what the user must fix first, Problem for the rest: the bundle is not what the gate
    passed, this version is published with different files, the metadata has errors, the server keeps failing.
    """
    _require_names(bundle)
    require_gated(bundle)
    sizes = {each.path: each.bytes for each in bundle.files}
    run = _Run(invenio, bundle.root, bundle.citation, bundle.package, sizes, doi, older)
    return _run_once(invenio, partial(run.release, bundle, publish, communities, concept, progress))


def reserve(
    contents: Contents,
    invenio: Invenio,
    *,
    concept: str | None = None,
    older: bool = False,
    first: bool = False,
    earlier: str = "",
) -> Release:
    """Reserve the DOI of the next version: find or make its draft, without files, and return it.

    concept  as for `release`
    first    make a concept record although there are signs of an earlier version
    earlier  such a sign in the archive, or empty; the server is asked for others

    Idempotent. Raises BadUse for what the user must fix first, such as a version that is published; Problem as
    `release` does.
    """
    run = _Run(invenio, contents.archive.root, contents.citation, contents.package, {}, "", older)
    return _run_once(invenio, partial(run.reserve, concept, first, earlier))


def _run_once(invenio: Invenio, act: Callable[[], Release]) -> Release:
    """Run alone on this machine; again from the start, once, if the server's state changes meanwhile."""
    try:
        with _only_run(invenio):
            try:
                return act()
            except Unexpected as problem:  # the last request of a killed run may have been at work until now
                invenio.say(f"{problem.subject}: {problem.details['got']}; looking again from the start")
                time.sleep(LAG)
                return act()
    except OSError as error:  # of the disk; the client handles those of the network
        raise BadUse(str(error.filename or invenio.host), error.strerror or type(error).__name__, next=NEXT) from None


def find_latest(invenio: Invenio, concept: str) -> Record | None:
    """Return the newest published version of a record, by the id of the concept or of any version; None if none is."""
    return invenio.ask(lambda: invenio.look(read_record, f"/records/{quote_key(concept)}/versions/latest"))


def list_files(invenio: Invenio, record: str) -> dict[str, RemoteFile]:
    """Return the files of a published record by path, with their sizes and MD5. Raises Problem."""
    return {path: each for path, each in invenio.ask(lambda: invenio.list_files(f"/records/{record}")).items() if each}


@dataclass(frozen=True)
class _Run:
    """One run of a release, or of a reservation.

    root, citation, package, sizes  what is released; see `describe_record`
    doi                             of the draft to use; empty to find or make one
    """

    invenio: Invenio
    root: Path
    citation: Mapping[str, Any]
    package: Mapping[str, Any]
    sizes: Mapping[str, int]
    doi: str
    older: bool

    @property
    def version(self) -> str:
        return str(self.package.get("version", ""))

    @property
    def title(self) -> str:
        return str(self.citation.get("title", ""))

    @property
    def repository(self) -> str:
        return find_repository(self.citation, self.package)

    def release(
        self, bundle: Bundle, publish: bool, communities: Sequence[str], concept: str | None, progress: Progress
    ) -> Release:
        say, ask = self.invenio.say, self.invenio.ask
        for community in communities:
            self._require_community(community)
        about = self._describe()
        ours = self._find_ours(concept)
        newest = self._find_newest(ours, concept)
        record = self._find_this_version(newest)
        if record:
            self._require_same(bundle, record)
            self._delete_leftovers(record)
            say(f"{self._page(record)}: {self.version} is already published: nothing to do")
        else:
            draft = self._find_or_make_draft(ours, newest, about)
            ask(partial(self._put, draft, about))
            send_files(bundle, self.invenio, draft.id, newest is not None, progress)
            draft = ask(partial(self._reserve_doi, draft.id))
            self._delete_leftovers(draft)
            if not publish:
                say(f"{self._page(draft)}: draft of {self.version}; review it, then publish it with --publish")
                return self._describe_release(draft)
            require_files(bundle, self.invenio, draft.id)
            record = ask(partial(self._publish, draft.id))
            say(f"{self._page(record)}: published {self.version}, {len(bundle.files)} files as in the bundle")
        for community in communities:
            if ask(partial(self._ask_community, record.id, community)):
                say(f"{self._page(record)}: asked the community {community} to accept it")
        return self._describe_release(record)

    def reserve(self, concept: str | None, first: bool, earlier: str) -> Release:
        ask, about = self.invenio.ask, self._describe()
        ours = self._find_ours(concept)
        newest = self._find_newest(ours, concept)
        record = self._find_this_version(newest)
        if record:
            raise BadUse(
                self._page(record),
                f"{self.version} is already published",
                doi=record.doi,
                next="raise the version in src/llm_trace_archive/__init__.py, CITATION.cff and CHANGELOG.md",
            )
        if newest is None and not first and not any(map(self._is_usable, ours)):
            self._require_first(earlier)
        draft = self._find_or_make_draft(ours, newest, about)
        ask(partial(self._put, draft, about))
        draft = ask(partial(self._reserve_doi, draft.id))
        self.invenio.say(f"{self._page(draft)}: {draft.doi} is reserved for {self.version}")
        return self._describe_release(draft)

    def _describe(self) -> dict[str, Any]:
        return describe_record(self.root, self.citation, self.package, self.sizes, self._is_licence)

    # Find what exists

    def _find_ours(self, concept: str | None) -> list[Record]:
        """Return our records and drafts. Searches twice if what is needed is missing: it may have just been made."""
        ours = self._search(concept)
        if (ours and not self.doi) or any(each.doi == self.doi for each in ours) or (concept and not self.doi):
            return ours
        time.sleep(LAG)
        return self._search(concept)

    def _search(self, concept: str | None) -> list[Record]:
        """Return the user's versions and drafts that belong to the concept, or have our title and repository."""
        query = self._query_title() + (f" OR parent.id:{concept}" if concept else "")
        records = self.invenio.ask(
            lambda: self.invenio.find("/user/records", {"q": query, "allversions": "true", "sort": "newest"})
        )
        return [each for each in records if each.concept == concept or self._is_alike(each)]

    def _query_title(self) -> str:
        quoted = self.title.replace("\\", "\\\\").replace('"', '\\"')
        return f'metadata.title:"{quoted}"'

    def _is_alike(self, record: Record) -> bool:
        return record.title == self.title and self.repository in record.related

    def _find_newest(self, ours: list[Record], concept: str | None) -> Record | None:
        """Return the newest published version of our concept record, found by its id or among our records."""
        published = [each for each in ours if each.is_published]
        if concept is None and not published:
            return None
        newest = find_latest(self.invenio, concept or max(published, key=lambda each: each.created).id)
        if newest is None and concept:
            raise BadUse(
                self.invenio.host,
                f"has no published record {concept}, which the lock names as ours",
                next="check `releases` in datapackage.json, and whether you want --sandbox",
            )
        return newest

    def _find_this_version(self, newest: Record | None) -> Record | None:
        """Return the published record of this version, if there is one. Raises BadUse if a higher one is the last."""
        if newest is None:
            return None
        path = f"/records/{newest.id}/versions"
        versions = [newest, *self.invenio.ask(lambda: self.invenio.find(path, {}))]
        record = next(filter(self._is_this_version, versions), None)
        if record is None and not self.older:
            require_newer(self.version, [each.version for each in versions], self.invenio.host)
        return record

    def _is_this_version(self, record: Record) -> bool:
        return record.version == self.version

    def _require_same(self, bundle: Bundle, record: Record) -> None:
        differences = compare_with_bundle(bundle, list_files(self.invenio, record.id))
        if differences:
            raise Problem(
                self._page(record),
                f"{self.version} is already published, with different files",
                found=format_differences(differences),
                next="raise the version in CITATION.cff and CHANGELOG.md, then llm-traces release bundle DIR",
            )

    def _is_licence(self, name: str) -> bool:
        path = f"/vocabularies/licenses/{quote_key(name)}"
        return self.invenio.ask(lambda: self.invenio.look(read_name, path)) is not None

    def _require_community(self, name: str) -> None:
        is_name = re.fullmatch(r"[\w-]+", name)
        if not is_name or self.invenio.ask(lambda: self.invenio.look(read_name, f"/communities/{name}")) is None:
            raise BadUse(self.invenio.host, f"has no community {name}", next="give the community's name as in its URL")

    def _require_first(self, reason: str) -> None:
        """Raise BadUse if there are signs that this is not the first version, so that no second concept is made."""
        query = {"q": self._query_title(), "allversions": "true"}
        others = [
            each for each in self.invenio.ask(lambda: self.invenio.find("/records", query)) if self._is_alike(each)
        ]
        if others:
            reason = reason or f"{self._page(others[0])} of another user has this title and repository"
        if reason:
            raise BadUse(
                self.invenio.host,
                "a new record would be a second one of this archive",
                reason=reason,
                kept="no draft was made",
                next="git pull, which may bring the commit that names our record; or --record ID; or --first, if this "
                "is the first version",
            )

    # Make the draft

    def _find_or_make_draft(self, ours: list[Record], newest: Record | None, about: dict[str, Any]) -> Record:
        if self.doi:
            return self._require_draft(ours)
        if newest is not None:
            # The server has at most one draft of a new version, and answers with it.
            path = f"/records/{newest.id}/versions"
            draft = self.invenio.ask(lambda: self.invenio.read(read_record, "POST", path))
            self._require_usable(draft, newest)
            is_old = draft.id in {each.id for each in ours}
            self.invenio.say(f"{self._page(draft)}: {'resuming the' if is_old else 'new'} draft of a new version")
            return draft
        tries = [ours]

        def find_or_make() -> Record:
            drafts = self._sort_drafts(tries.pop() if tries else self._search(None))
            if drafts:
                self.invenio.say(f"{self._page(drafts[0])}: resuming this draft")
                return drafts[0]
            draft = self._make_draft(about)
            self.invenio.say(f"{self._page(draft)}: new draft")
            return draft

        return self.invenio.ask(find_or_make)

    def _require_draft(self, ours: list[Record]) -> Record:
        """Return the draft with the reserved DOI."""
        for each in ours:
            if each.doi == self.doi and not each.is_published:
                self.invenio.say(f"{self._page(each)}: the draft of {self.doi}")
                return each
        raise BadUse(
            self.invenio.host,
            f"the user of the token has no draft with {self.doi}, which the bundle names",
            expected=f"a token in {self.invenio.variable} of the user who reserved it",
            next="if the draft was deleted: llm-traces release reserve, commit, tag and bundle again",
        )

    def _require_usable(self, draft: Record, newest: Record) -> None:
        """Raise BadUse if somebody has edited the draft of a new version, which the server has only one of."""
        dated = ("version", "publication_date")
        before, now = ({k: v for k, v in each.metadata.items() if k not in dated} for each in (newest, draft))
        is_new = not draft.version and before == now
        if not is_new and not self._is_usable(draft):
            raise BadUse(
                self._page(draft),
                "the draft of a new version was not made by llm-traces",
                kept="the draft, unchanged",
                next="publish or discard it in the browser, then run the same command again",
            )

    def _is_usable(self, draft: Record) -> bool:
        return not draft.is_published and is_made_by_us(draft, self.repository)

    def _make_draft(self, about: dict[str, Any]) -> Record:
        try:
            return self.invenio.read(read_record, "POST", "/records", _make_body(about))
        except Refused as refused:
            if refused.status == 201:  # made without the wrong fields, so no run would find it
                self.invenio.delete(f"/records/{read_name(refused.answer)}/draft")
            raise

    def _put(self, draft: Record, about: dict[str, Any]) -> None:
        self.invenio.call("PUT", f"/records/{draft.id}/draft", _make_body(about))

    def _sort_drafts(self, ours: list[Record]) -> list[Record]:
        """Return those that llm-traces made: drafts of this version first, then by age, oldest first."""
        drafts = filter(self._is_usable, ours)
        return sorted(drafts, key=lambda each: (not self._is_this_version(each), each.created))

    def _delete_leftovers(self, kept: Record) -> None:
        """Delete our other drafts, left by earlier runs. Raises Problem if another record is this version."""
        for each in self._search(kept.concept):
            if each.id == kept.id:
                continue
            if self._is_usable(each):
                self.invenio.ask(partial(self.invenio.delete, f"/records/{each.id}/draft"))
                self.invenio.say(f"{self._page(each)}: deleted, a leftover draft")
            elif not each.is_published:
                self.invenio.say(f"{self._page(each)}: left as it is, a draft that llm-traces did not make")
            elif self._is_this_version(each):
                raise Problem(
                    self._page(each),
                    f"{self.version} is already published, in another record than {kept.id}",
                    next="check which one is right; Zenodo's support can remove the other",
                )

    def _reserve_doi(self, draft: str) -> Record:
        """Return the draft, with a DOI."""
        record = self.invenio.read(read_record, "GET", f"/records/{draft}/draft")
        if not record.doi:
            record = self.invenio.read(read_record, "POST", f"/records/{draft}/draft/pids/doi")
        if not record.doi:
            raise Failure(f"the server reserved no DOI for the draft {draft}")
        return record

    def _publish(self, draft: str) -> Record:
        """Publish the draft unless that is done; return the published record."""
        return self.invenio.look(read_record, f"/records/{draft}") or self.invenio.read(
            read_record, "POST", f"/records/{draft}/draft/actions/publish"
        )

    def _ask_community(self, record: str, community: str) -> bool:
        """Ask a community to accept the record; return False if it was already asked."""
        if community in self.invenio.read(read_names, "GET", f"/records/{record}/communities"):
            return False
        try:
            self.invenio.call("POST", f"/records/{record}/communities", {"communities": [{"id": community}]})
        except Refused as refused:
            if "already" not in refused.fields:
                raise
            return False
        return True

    # Report

    def _page(self, record: Record) -> str:
        return f"{self.invenio.url}/{'records' if record.is_published else 'uploads'}/{record.id}"

    def _describe_release(self, record: Record) -> Release:
        content = f"{self.invenio.url}/api/records/{record.id}/files"
        return Release(
            "zenodo",
            self.version,
            record.id,
            self._page(record),
            record.is_published,
            record.doi,
            record.concept_doi,
            {path: f"{content}/{quote_key(path)}/content" for path in self.sizes},
        )


def _make_body(about: dict[str, Any]) -> dict[str, Any]:
    return {"access": {"record": "public", "files": "public"}, "files": {"enabled": True}, "metadata": about}


def _require_names(bundle: Bundle) -> None:
    """Raise BadUse unless Zenodo accepts every path as a key."""
    wrong = [each.path for each in bundle.files if not _is_key(each.path)]
    if wrong:
        raise BadUse(str(bundle.root), "has file names that Zenodo does not accept", found="\n".join(map(repr, wrong)))


def _is_key(path: str) -> bool:
    return path.isprintable() and all(part not in ("", ".", "..") for part in path.split("/"))


@contextlib.contextmanager
def _only_run(invenio: Invenio) -> Iterator[None]:
    """Raise BadUse if this user has another run to the server: two would delete each other's drafts."""
    import filelock

    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / f"zenodo-{re.sub(r'[^a-z0-9.]', '-', invenio.host)}.lock", timeout=0):
            yield
    except filelock.Timeout:
        raise BadUse(invenio.host, "another release is running", next="wait until it ends") from None
