"""Zenodo: one concept record with a version a release, its files exactly the bundle's.

Nothing is remembered between runs. Each looks what is there and does what is missing, so a killed run is run again.
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
from ..differences import differences, told
from ..record import Listed, Release
from .deposit import Progress, bring_files, require_files
from .invenio import NEXT, PATIENCE, Invenio, Refused, Unexpected, encoded
from .metadata import metadata, repository

ZENODO = "https://zenodo.org"
SANDBOX = "https://sandbox.zenodo.org"
LAG = 3.0  # seconds that the server may need until all it was told is seen: the search is behind by some


def server(
    sandbox: bool = False,
    say: Callable[[str], None] = lambda line: None,
    patience: Patience = PATIENCE,
    *,
    anonymous: bool = False,
) -> Invenio:
    """Zenodo or its sandbox, with the token of the environment; LLM_TRACES_ZENODO_URL puts another server in its place.

    `anonymous`: without a token, for what is public. Raises BadUse if there is none, or the URL is not https.
    """
    variable = "ZENODO_SANDBOX_TOKEN" if sandbox else "ZENODO_TOKEN"
    url = (os.environ.get("LLM_TRACES_ZENODO_URL") or (SANDBOX if sandbox else ZENODO)).rstrip("/")
    token = "" if anonymous else os.environ.get(variable, "").strip()
    if not token and not anonymous:
        raise BadUse(
            urlsplit(url).netloc.rpartition("@")[2],
            "no token",
            expected=f"one in {variable}, with the scopes deposit:write and deposit:actions",
            next=f"{url}/account/settings/applications/tokens/new/",
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadUse(variable, "holds what can be no token", next="copy it again from where it was made")
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
    """Bring the bundle to Zenodo as a draft, and with `publish` publish it and ask the communities to take it.

    concept   the id of our concept record or of any version of it; without, our records are looked for by their title
              and repository among the user's
    progress  called as (path, bytes sent, bytes in all)

    Doing it twice changes nothing. Raises BadUse for what the user must mend first, Problem for the rest: a published
    version of this number with other files, errors in the metadata, a server that fails for long.
    """
    _require_names(bundle)
    try:
        with _alone(invenio):
            run = partial(_Run(bundle, invenio, progress).run, publish, communities, concept)
            try:
                return run()
            except Unexpected as problem:  # a request of a run that was killed may have been at work there until now
                invenio.say(f"{problem.subject}: {problem.details['got']}; looking again from the start")
                time.sleep(LAG)
                return run()
    except OSError as error:  # of the disk: those of the network never come this far
        raise BadUse(str(error.filename or bundle.root), error.strerror or type(error).__name__, next=NEXT) from None


def latest(invenio: Invenio, concept: str) -> dict[str, Any] | None:
    """The newest published version of a concept record, by its id or that of a version; None if there is none."""
    record: dict[str, Any] | None = invenio.ask(lambda: invenio.get(f"/records/{concept}/versions/latest"))
    return record


def listing(invenio: Invenio, record: str) -> dict[str, Listed]:
    """The files of a published record by path, as Zenodo tells them: sizes and md5. Raises Problem."""
    return {path: each for path, each in invenio.ask(lambda: invenio.files(f"/records/{record}")).items() if each}


@dataclass(frozen=True)
class _Run:
    """One release on its way. Records and drafts are as the server tells them."""

    bundle: Bundle
    invenio: Invenio
    progress: Progress

    def run(self, publish: bool, communities: Sequence[str], concept: str | None) -> Release:
        say, ask, version = self.invenio.say, self.invenio.ask, self.bundle.version
        for community in communities:
            self._require_community(community)
        about = metadata(self.bundle, self._is_licence)
        ours = self._ours(concept)
        newest = self._newest(ours, concept)
        record = self._released(newest)
        if record:
            self._require_same(record)
            self._delete_strays(record)
            say(f"{self._page(record)}: {version} is published already: nothing to do")
        else:
            draft = self._draft(ours, newest, about)
            ask(partial(self.invenio.call, "PUT", f"/records/{draft['id']}/draft", _body(about)))
            bring_files(self.bundle, self.invenio, draft["id"], newest is not None, self.progress)
            draft = ask(partial(self._reserve, draft["id"]))
            self._delete_strays(draft)
            if not publish:
                say(f"{self._page(draft)}: a draft of {version}, not published; look at it, then give --publish")
                return self._release(draft)
            require_files(self.bundle, self.invenio, draft["id"])
            record = ask(partial(self._publish, draft["id"]))
            say(f"{self._page(record)}: {version} is published, {len(self.bundle.files)} files as in the bundle")
        for community in communities:
            if ask(partial(self._enter, record["id"], community)):
                say(f"{self._page(record)}: asked the community {community} to take it")
        return self._release(record)

    # what is there

    def _ours(self, concept: str | None) -> list[dict[str, Any]]:
        """Our records and drafts, looked for twice if there are none: a run before may have made one just now."""
        found = self._search(concept)
        if found or concept:
            return found
        time.sleep(LAG)
        return self._search(concept)

    def _search(self, concept: str | None) -> list[dict[str, Any]]:
        """All versions and drafts among the user's that are of the concept, or have our title and repository."""
        title, url = str(self.bundle.citation["title"]), repository(self.bundle)
        quoted = title.replace("\\", "\\\\").replace('"', '\\"')
        query = f'metadata.title:"{quoted}"' + (f" OR parent.id:{concept}" if concept else "")

        def is_ours(record: dict[str, Any]) -> bool:
            about = record["metadata"]
            related = {each.get("identifier") for each in about.get("related_identifiers", ())}
            return record["parent"]["id"] == concept or (about.get("title") == title and url in related)

        found = self.invenio.ask(
            lambda: self.invenio.find("/user/records", {"q": query, "allversions": "true", "sort": "newest"})
        )
        return [each for each in found if is_ours(each)]

    def _newest(self, ours: list[dict[str, Any]], concept: str | None) -> dict[str, Any] | None:
        """The newest published version of our concept record, by its id or from our records."""
        published = [each for each in ours if each["is_published"]]
        if concept is None and not published:
            return None
        newest = latest(self.invenio, concept or max(published, key=lambda each: str(each["created"]))["id"])
        if newest is None and concept:
            raise BadUse(
                self.invenio.host,
                f"has no published record {concept}, which the archive says is ours",
                next="look into `releases` of datapackage.json, and whether --sandbox is wanted",
            )
        return newest

    def _released(self, newest: dict[str, Any] | None) -> dict[str, Any] | None:
        """The published record of this very version."""
        if newest is None or self._is_this_version(newest):
            return newest
        versions = self.invenio.ask(lambda: self.invenio.find(f"/records/{newest['id']}/versions", {}))
        return next(filter(self._is_this_version, versions), None)

    def _is_this_version(self, record: dict[str, Any]) -> bool:
        return bool(record["metadata"].get("version") == self.bundle.version)

    def _require_same(self, record: dict[str, Any]) -> None:
        found = differences(self.bundle, listing(self.invenio, record["id"]))
        if found:
            raise Problem(
                self._page(record),
                f"{self.bundle.version} is published already, with other files",
                found=told(found),
                next="raise the version in CITATION.cff and CHANGELOG.md, and make the bundle again",
            )

    def _is_licence(self, name: str) -> bool:
        return self.invenio.ask(lambda: self.invenio.get(f"/vocabularies/licenses/{encoded(name)}")) is not None

    def _require_community(self, name: str) -> None:
        is_name = re.fullmatch(r"[\w-]+", name)
        if not is_name or self.invenio.ask(lambda: self.invenio.get(f"/communities/{name}")) is None:
            raise BadUse(self.invenio.host, f"has no community {name}", next="give --community as in its address")

    # the draft

    def _draft(
        self, ours: list[dict[str, Any]], newest: dict[str, Any] | None, about: dict[str, Any]
    ) -> dict[str, Any]:
        """The one draft of this release: the one there is, or a new one."""
        if newest is not None:
            # The server has one draft of a new version at most, and answers with it.
            draft: dict[str, Any] = self.invenio.ask(
                lambda: self.invenio.call("POST", f"/records/{newest['id']}/versions")
            )
            is_old = draft["id"] in {each["id"] for each in ours}
            self.invenio.say(f"{self._page(draft)}: {'goes on with this' if is_old else 'new'} draft of a new version")
            return draft
        tries = [ours]

        def look_or_make() -> dict[str, Any]:
            drafts = self._drafts(tries.pop() if tries else self._search(None))
            if drafts:
                self.invenio.say(f"{self._page(drafts[0])}: goes on with this draft")
                return drafts[0]
            draft = self._make(about)
            self.invenio.say(f"{self._page(draft)}: new draft")
            return draft

        return self.invenio.ask(look_or_make)

    def _make(self, about: dict[str, Any]) -> dict[str, Any]:
        try:
            draft: dict[str, Any] = self.invenio.call("POST", "/records", _body(about))
        except Refused as refused:
            if refused.status == 201:  # it was made without the fields that are wrong, so none would find it again
                self.invenio.delete(f"/records/{refused.answer['id']}/draft")
            raise
        return draft

    def _drafts(self, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that were never published: of this version first, then the oldest."""
        drafts = [each for each in ours if not each["is_published"]]
        return sorted(drafts, key=lambda each: (not self._is_this_version(each), str(each["created"])))

    def _delete_strays(self, kept: dict[str, Any]) -> None:
        """Delete our other drafts, which a run before left. Raises Problem if this version is published elsewhere."""
        for each in self._search(kept["parent"]["id"]):
            if each["id"] == kept["id"]:
                continue
            if not each["is_published"]:
                self.invenio.ask(partial(self.invenio.delete, f"/records/{each['id']}/draft"))
                self.invenio.say(f"{self._page(each)}: deleted, a draft that nothing goes on with")
            elif self._is_this_version(each):
                raise Problem(
                    self._page(each),
                    f"{self.bundle.version} is published already, in another record than {kept['id']}",
                    next="look which is right; Zenodo's support can remove the other",
                )

    def _reserve(self, draft: str) -> dict[str, Any]:
        """The draft, with a DOI."""
        there: dict[str, Any] = self.invenio.call("GET", f"/records/{draft}/draft")
        if not _doi(there):
            there = self.invenio.call("POST", f"/records/{draft}/draft/pids/doi")
        return there

    def _publish(self, draft: str) -> dict[str, Any]:
        """The published record."""
        record: dict[str, Any] = self.invenio.get(f"/records/{draft}") or self.invenio.call(
            "POST", f"/records/{draft}/draft/actions/publish"
        )
        return record

    def _enter(self, record: str, community: str) -> bool:
        """Ask a community to take the record; returns whether that was still to do."""
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

    # what is told

    def _page(self, record: dict[str, Any]) -> str:
        kind = "records" if record.get("is_published") else "uploads"
        return f"{self.invenio.url}/{kind}/{record['id']}"

    def _release(self, record: dict[str, Any]) -> Release:
        content = f"{self.invenio.url}/api/records/{record['id']}/files"
        return Release(
            "zenodo",
            self.bundle.version,
            record["id"],
            self._page(record),
            bool(record["is_published"]),
            _doi(record),
            _doi(record["parent"]),
            {each.path: f"{content}/{encoded(each.path)}/content" for each in self.bundle.files},
        )


def _body(about: dict[str, Any]) -> dict[str, Any]:
    return {"access": {"record": "public", "files": "public"}, "files": {"enabled": True}, "metadata": about}


def _doi(record: dict[str, Any]) -> str:
    return str((record.get("pids") or {}).get("doi", {}).get("identifier", ""))


def _require_names(bundle: Bundle) -> None:
    """Raise BadUse unless every path can be a key at Zenodo."""
    wrong = [each.path for each in bundle.files if not _is_key(each.path)]
    if wrong:
        raise BadUse(str(bundle.root), "has names that Zenodo can't keep", found="\n".join(map(repr, wrong)))


def _is_key(path: str) -> bool:
    return path.isprintable() and all(part not in ("", ".", "..") for part in path.split("/"))


@contextlib.contextmanager
def _alone(invenio: Invenio) -> Iterator[None]:
    """Only one run of this user at a server: two would take each other's draft for a stray. Raises BadUse."""
    import filelock

    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / f"zenodo-{re.sub(r'[^a-z0-9.]', '-', invenio.host)}.lock", timeout=0):
            yield
    except filelock.Timeout:
        raise BadUse(invenio.host, "another release to it is on its way here", next="wait until it has ended") from None
