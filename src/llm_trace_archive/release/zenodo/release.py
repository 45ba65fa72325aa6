"""Zenodo: one concept record with one version per release, whose files are exactly the bundle's.

Runs share no state. Each looks at the server's state and does what is missing, so it also resumes one that was killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ...core.errors import BadUse, Problem
from ...core.settings import cache_folder
from ...upstream.http import Patience
from ..bundle.folder import Bundle
from ..bundle.verify import require_gated
from ..differences import compare_with_bundle, format_differences
from ..record import NEXT, Release, RemoteFile
from .deposit import Progress, require_files, send_files
from .invenio import PATIENCE, SCOPES, Invenio, Refused, Unexpected, quote_key
from .metadata import describe_record, find_repository

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
    publish: bool = False,
    communities: Sequence[str] = (),
    concept: str | None = None,
    progress: Progress = lambda *_: None,
) -> Release:
    """Send the bundle to Zenodo as a draft; with `publish`, publish it and ask the communities to accept it.

    concept   the id of our concept record or of any version of it; None to find it by title and repository among the
              user's records
    progress  called as (path, bytes sent, bytes in all)

    Idempotent. Raises BadUse for what the user must fix first, Problem for the rest: the bundle is not what the gate
    passed, this version is published with different files, the metadata has errors, the server keeps failing.
    """
    require_gated(bundle)
    _require_names(bundle)
    try:
        with _only_run(invenio):
            run = partial(_Run(bundle, invenio, progress).run, publish, communities, concept)
            try:
                return run()
            except Unexpected as problem:  # the last request of a killed run may have been at work until now
                invenio.say(f"{problem.subject}: {problem.details['got']}; looking again from the start")
                time.sleep(LAG)
                return run()
    except OSError as error:  # of the disk; the client handles those of the network
        raise BadUse(str(error.filename or bundle.root), error.strerror or type(error).__name__, next=NEXT) from None


def find_latest(invenio: Invenio, concept: str) -> dict[str, Any] | None:
    """Return the newest published version of a record, by the id of the concept or of any version; None if none is."""
    record: dict[str, Any] | None = invenio.ask(lambda: invenio.get(f"/records/{concept}/versions/latest"))
    return record


def list_files(invenio: Invenio, record: str) -> dict[str, RemoteFile]:
    """Return the files of a published record by path, with their sizes and MD5. Raises Problem."""
    return {path: each for path, each in invenio.ask(lambda: invenio.list_files(f"/records/{record}")).items() if each}


@dataclass(frozen=True)
class _Run:
    """One run of a release. Records and drafts are dicts as the server sends them."""

    bundle: Bundle
    invenio: Invenio
    progress: Progress

    def run(self, publish: bool, communities: Sequence[str], concept: str | None) -> Release:
        say, ask, version = self.invenio.say, self.invenio.ask, self.bundle.version
        for community in communities:
            self._require_community(community)
        about = describe_record(self.bundle, self._is_licence)
        ours = self._find_ours(concept)
        newest = self._find_newest(ours, concept)
        record = self._find_this_version(newest)
        if record:
            self._require_same(record)
            self._delete_leftovers(record)
            say(f"{self._page(record)}: {version} is already published: nothing to do")
        else:
            draft = self._find_or_make_draft(ours, newest, about)
            ask(partial(self.invenio.call, "PUT", f"/records/{draft['id']}/draft", _make_body(about)))
            send_files(self.bundle, self.invenio, draft["id"], newest is not None, self.progress)
            draft = ask(partial(self._reserve_doi, draft["id"]))
            self._delete_leftovers(draft)
            if not publish:
                say(f"{self._page(draft)}: draft of {version}; review it, then publish it with --publish")
                return self._describe_release(draft)
            require_files(self.bundle, self.invenio, draft["id"])
            record = ask(partial(self._publish, draft["id"]))
            say(f"{self._page(record)}: published {version}, {len(self.bundle.files)} files as in the bundle")
        for community in communities:
            if ask(partial(self._ask_community, record["id"], community)):
                say(f"{self._page(record)}: asked the community {community} to accept it")
        return self._describe_release(record)

    # Find what exists

    def _find_ours(self, concept: str | None) -> list[dict[str, Any]]:
        """Return our records and drafts. Searches twice if there are none: a run before may have just made one."""
        ours = self._search(concept)
        if ours or concept:
            return ours
        time.sleep(LAG)
        return self._search(concept)

    def _search(self, concept: str | None) -> list[dict[str, Any]]:
        """Return the user's versions and drafts that belong to the concept, or have our title and repository."""
        title, url = str(self.bundle.citation["title"]), find_repository(self.bundle)
        quoted = title.replace("\\", "\\\\").replace('"', '\\"')
        query = f'metadata.title:"{quoted}"' + (f" OR parent.id:{concept}" if concept else "")

        def is_ours(record: dict[str, Any]) -> bool:
            about = record["metadata"]
            related = {each.get("identifier") for each in about.get("related_identifiers", ())}
            return record["parent"]["id"] == concept or (about.get("title") == title and url in related)

        records = self.invenio.ask(
            lambda: self.invenio.find("/user/records", {"q": query, "allversions": "true", "sort": "newest"})
        )
        return [each for each in records if is_ours(each)]

    def _find_newest(self, ours: list[dict[str, Any]], concept: str | None) -> dict[str, Any] | None:
        """Return the newest published version of our concept record, found by its id or among our records."""
        published = [each for each in ours if each["is_published"]]
        if concept is None and not published:
            return None
        newest = find_latest(self.invenio, concept or max(published, key=lambda each: str(each["created"]))["id"])
        if newest is None and concept:
            raise BadUse(
                self.invenio.host,
                f"has no published record {concept}, which the lock names as ours",
                next="check `releases` in datapackage.json, and whether you want --sandbox",
            )
        return newest

    def _find_this_version(self, newest: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the published record of this version, if there is one."""
        if newest is None or self._is_this_version(newest):
            return newest
        versions = self.invenio.ask(lambda: self.invenio.find(f"/records/{newest['id']}/versions", {}))
        return next(filter(self._is_this_version, versions), None)

    def _is_this_version(self, record: dict[str, Any]) -> bool:
        return bool(record["metadata"].get("version") == self.bundle.version)

    def _require_same(self, record: dict[str, Any]) -> None:
        differences = compare_with_bundle(self.bundle, list_files(self.invenio, record["id"]))
        if differences:
            raise Problem(
                self._page(record),
                f"{self.bundle.version} is already published, with different files",
                found=format_differences(differences),
                next="raise the version in CITATION.cff and CHANGELOG.md, then llm-traces release bundle DIR",
            )

    def _is_licence(self, name: str) -> bool:
        return self.invenio.ask(lambda: self.invenio.get(f"/vocabularies/licenses/{quote_key(name)}")) is not None

    def _require_community(self, name: str) -> None:
        is_name = re.fullmatch(r"[\w-]+", name)
        if not is_name or self.invenio.ask(lambda: self.invenio.get(f"/communities/{name}")) is None:
            raise BadUse(self.invenio.host, f"has no community {name}", next="give the community's name as in its URL")

    # Make the draft

    def _find_or_make_draft(
        self, ours: list[dict[str, Any]], newest: dict[str, Any] | None, about: dict[str, Any]
    ) -> dict[str, Any]:
        if newest is not None:
            # The server has at most one draft of a new version, and answers with it.
            draft: dict[str, Any] = self.invenio.ask(
                lambda: self.invenio.call("POST", f"/records/{newest['id']}/versions")
            )
            is_old = draft["id"] in {each["id"] for each in ours}
            self.invenio.say(f"{self._page(draft)}: {'resuming the' if is_old else 'new'} draft of a new version")
            return draft
        tries = [ours]

        def find_or_make() -> dict[str, Any]:
            drafts = self._sort_drafts(tries.pop() if tries else self._search(None))
            if drafts:
                self.invenio.say(f"{self._page(drafts[0])}: resuming this draft")
                return drafts[0]
            draft = self._make_draft(about)
            self.invenio.say(f"{self._page(draft)}: new draft")
            return draft

        return self.invenio.ask(find_or_make)

    def _make_draft(self, about: dict[str, Any]) -> dict[str, Any]:
        try:
            draft: dict[str, Any] = self.invenio.call("POST", "/records", _make_body(about))
        except Refused as refused:
            if refused.status == 201:  # made without the wrong fields, so no run would find it
                self.invenio.delete(f"/records/{refused.answer['id']}/draft")
            raise
        return draft

    def _sort_drafts(self, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those that were never published: drafts of this version first, then by age, oldest first."""
        drafts = [each for each in ours if not each["is_published"]]
        return sorted(drafts, key=lambda each: (not self._is_this_version(each), str(each["created"])))

    def _delete_leftovers(self, kept: dict[str, Any]) -> None:
        """Delete our other drafts, left by earlier runs. Raises Problem if another record published this version."""
        for each in self._search(kept["parent"]["id"]):
            if each["id"] == kept["id"]:
                continue
            if not each["is_published"]:
                self.invenio.ask(partial(self.invenio.delete, f"/records/{each['id']}/draft"))
                self.invenio.say(f"{self._page(each)}: deleted, a leftover draft")
            elif self._is_this_version(each):
                raise Problem(
                    self._page(each),
                    f"{self.bundle.version} is already published, in another record than {kept['id']}",
                    next="check which one is right; Zenodo's support can remove the other",
                )

    def _reserve_doi(self, draft: str) -> dict[str, Any]:
        """Return the draft, with a DOI."""
        record: dict[str, Any] = self.invenio.call("GET", f"/records/{draft}/draft")
        if not _find_doi(record):
            record = self.invenio.call("POST", f"/records/{draft}/draft/pids/doi")
        return record

    def _publish(self, draft: str) -> dict[str, Any]:
        """Publish the draft unless that is done; return the published record."""
        record: dict[str, Any] = self.invenio.get(f"/records/{draft}") or self.invenio.call(
            "POST", f"/records/{draft}/draft/actions/publish"
        )
        return record

    def _ask_community(self, record: str, community: str) -> bool:
        """Ask a community to accept the record; return False if it was already asked."""
        inside = self.invenio.call("GET", f"/records/{record}/communities")["hits"]["hits"]
        if any(community in (each["id"], each["slug"]) for each in inside):
            return False
        try:
            self.invenio.call("POST", f"/records/{record}/communities", {"communities": [{"id": community}]})
        except Refused as refused:
            if "already" not in refused.fields:
                raise
            return False
        return True

    # Report

    def _page(self, record: dict[str, Any]) -> str:
        kind = "records" if record.get("is_published") else "uploads"
        return f"{self.invenio.url}/{kind}/{record['id']}"

    def _describe_release(self, record: dict[str, Any]) -> Release:
        content = f"{self.invenio.url}/api/records/{record['id']}/files"
        return Release(
            "zenodo",
            self.bundle.version,
            record["id"],
            self._page(record),
            bool(record["is_published"]),
            _find_doi(record),
            _find_doi(record["parent"]),
            {each.path: f"{content}/{quote_key(each.path)}/content" for each in self.bundle.files},
        )


def _make_body(about: dict[str, Any]) -> dict[str, Any]:
    return {"access": {"record": "public", "files": "public"}, "files": {"enabled": True}, "metadata": about}


def _find_doi(record: dict[str, Any]) -> str:
    return str((record.get("pids") or {}).get("doi", {}).get("identifier", ""))


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
