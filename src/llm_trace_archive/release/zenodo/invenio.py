"""A client of the InvenioRDM records API, which Zenodo runs: what is asked, what is answered, what is tried again.

A call is one request. What may have happened although no good answer came is never sent again blindly: `ask` takes a
function that looks what is there and does what is missing, and calls it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from ...core.errors import BadUse, Problem
from ...upstream.http import AGENT, Again, Failed, Patience, direct, permitted, retry_after, status_line, told
from ..bundle.folder import BundleFile
from ..record import Listed

if TYPE_CHECKING:
    import requests
    import tenacity

# A large file is answered late; `connect` is also how long sending may stall.
PATIENCE = Patience(tries=6, connect=30, read=120)
RECORDS = {"Accept": "application/vnd.inveniordm.v1+json"}  # of Zenodo's two formats the documented one
PAGE = 100  # records a page, the most that Zenodo gives
REDIRECTS = 3
SCOPES = "deposit:write and deposit:actions"
NEXT = "run the same command again: it goes on where this one stopped"

Answer = TypeVar("Answer")


class Refused(Failed):
    """The server understood the request and will not do it, or not all of it.

    status, answer  of HTTP; a status of success means that it was done, but for what `fields` tells
    fields          errors by field, a line each
    """

    def __init__(self, status: int, why: str, fields: str, answer: Any) -> None:
        super().__init__(why)
        self.status, self.fields, self.answer = status, fields, answer


class Unexpected(Problem):
    """The server will not do what should be possible: its state is another than it was when it was looked at."""


class Body:
    """A file of a bundle as it is sent: never as a whole in memory, counted and hashed on the way."""

    def __init__(self, path: Path, file: BundleFile, progress: Callable[[str, int, int | None], None]) -> None:
        self.path, self.file, self.progress = path, file, progress

    def __enter__(self) -> Body:
        self._content = self.path.open("rb")
        self._here = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def __len__(self) -> int:
        return self.file.bytes

    def __iter__(self) -> Iterator[bytes]:  # by having it, it is a stream for requests, which calls `read`
        raise NotImplementedError

    def read(self, most: int = -1) -> bytes:
        """The next bytes. Raises Problem if the file is no longer as long as it was."""
        block = self._content.read(most)
        self._here += len(block)
        if self._here > self.file.bytes or (not block and self._here < self.file.bytes):
            raise self._changed()
        self._md5.update(block)
        self._sha256.update(block)
        self.progress(self.file.path, self._here, self.file.bytes)
        return block

    def sent(self) -> Listed:
        """What the server should have. Raises Problem if other bytes were sent than the bundle's."""
        if self._sha256.hexdigest() != self.file.sha256:
            raise self._changed()
        return Listed(self._here, "md5", self._md5.hexdigest())

    def _changed(self) -> Problem:
        return Problem(str(self.path), "changed while it was sent", next="llm-traces release bundle, then again")


@dataclass(frozen=True)
class Invenio:
    """One server, asked with one token.

    url        of the server, without /api: https, or http on this machine
    token      nothing to read only what is public; it goes into one header, and nowhere else
    variable   the environment variable that holds it, for messages
    """

    url: str
    token: str = field(repr=False)
    variable: str = ""
    say: Callable[[str], None] = lambda line: None
    patience: Patience = PATIENCE

    def __post_init__(self) -> None:
        try:
            permitted(self.url)
            if "@" in urlsplit(self.url).netloc:
                raise Failed("refused: a user or password in the URL")
        except Failed as failed:
            raise BadUse(self.host, str(failed), expected="https://...") from None

    @property
    def host(self) -> str:
        """Its name, with the port if there is one."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @cached_property
    def _session(self) -> requests.Session:
        from http.cookiejar import DefaultCookiePolicy

        import requests

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if self.token:
                request.headers["Authorization"] = f"Bearer {self.token}"
            return request

        session = requests.Session()
        session.headers["User-Agent"] = AGENT
        session.auth = sign  # also keeps requests from looking into ~/.netrc
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # with a cookie the token is not looked at
        return session

    def ask(self, act: Callable[[], Answer]) -> Answer:
        """Call `act` until it ends well: again after server errors, stalls and cut connections.

        As any of its calls may have happened although the answer was lost, `act` must look first. Raises Problem.
        """
        try:
            return self._until(Again)(act)
        except Refused as refused:
            raise self._problem(refused) from None
        except Failed as failed:
            tries = f"; gave up after {self.patience.tries} tries" if isinstance(failed, Again) else ""
            raise BadUse(self.host, "could not be asked", reason=f"{failed}{tries}", next=NEXT) from None

    def call(self, method: str, path: str, json: Any = None, body: Body | None = None) -> Any:
        """One request to `<url>/api<path>`; returns the JSON it answers, or None for no content.

        Sent again only after 429, which tells that nothing was done. Raises Again if it may or may not have happened,
        Refused for what the server will not do. Errors in an answer that is otherwise good are raised too, but for
        those of `files`: that a draft lacks files is no fault of what was sent.
        """
        try:
            return self._until(_Limited)(lambda: self._once(method, path, json, body))
        except _Limited as limited:
            raise Failed(f"{limited}; gave up after {self.patience.tries} tries") from None

    def get(self, path: str) -> Any:
        """What GET answers, or None if there is nothing."""
        return self._or_none("GET", path)

    def delete(self, path: str) -> None:
        """DELETE; that it is gone already is as good."""
        self._or_none("DELETE", path)

    def _or_none(self, method: str, path: str) -> Any:
        try:
            return self.call(method, path)
        except Refused as refused:
            if refused.status not in (404, 410):
                raise
            return None

    def find(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """All records of a search at a path, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = {**query, "size": str(PAGE), "page": str(len(found) // PAGE + 1)}
            terms = "&".join(f"{name}={quote(value, safe='')}" for name, value in page.items())
            hits = self.call("GET", f"{path}?{terms}")["hits"]
            found += hits["hits"]
            if not hits["hits"] or len(found) >= hits["total"]:
                return found

    def files(self, record: str) -> dict[str, Listed | None]:
        """What /records/<id> or /records/<id>/draft holds, by key; None for a file that is not there as a whole."""
        entries = self.call("GET", f"{record}/files")["entries"]
        return {each["key"]: listed(each) for each in entries}

    def _once(self, method: str, path: str, json: Any, body: Body | None) -> Any:
        import requests
        from urllib3.exceptions import HTTPError

        url = f"{self.url}/api{path}"
        headers: dict[str, str] = {} if "/files" in path else dict(RECORDS)  # which answers 406 to that Accept
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        timeout = (self.patience.connect, self.patience.read)
        try:
            for _ in range(REDIRECTS + 1):
                with contextlib.nullcontext() if body is None else body:
                    data = b"" if body is not None and not len(body) else body  # of 0 bytes requests tells no length
                    response = self._session.request(
                        method,
                        url,
                        json=json,
                        data=data,
                        headers=headers,
                        timeout=timeout,
                        allow_redirects=False,
                        proxies=direct(url),
                    )
                if not response.is_redirect:
                    return self._read(response)
                url = self._same_origin(urljoin(url, response.headers["Location"]))
            raise Failed(f"more than {REDIRECTS} redirects")
        except (requests.RequestException, HTTPError) as error:
            raise told(error, self.patience) from None

    def _same_origin(self, url: str) -> str:
        there, here = urlsplit(url), urlsplit(self.url)
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise Failed(f"redirected to {there.netloc.rpartition('@')[2]}, where the token does not belong")
        return url

    def _read(self, response: requests.Response) -> Any:
        status = response.status_code
        if status == 429:
            raise _Limited(status_line(response), retry_after(response))
        if status == 408 or status >= 500:
            raise Again(status_line(response), retry_after(response))
        if status == 204:
            return None
        try:
            answer = response.json()
        except ValueError:
            if status < 400:
                raise Again(f"{status_line(response)}, and the answer is not JSON") from None
            answer = {}
        errors = answer.get("errors") if isinstance(answer, dict) else None
        fields = [f"{name}: {text}".removeprefix(": ") for name, text in _errors(errors)]
        if status >= 400:
            said = str(answer.get("message") or "")[:300] if isinstance(answer, dict) else ""
            raise Refused(status, f"{status_line(response)}: {said}".removesuffix(": "), "\n".join(fields), answer)
        if any(name != "files.enabled" for name, _ in _errors(errors)):
            raise Refused(status, "the answer tells of errors", "\n".join(fields), answer)
        return answer

    def _until(self, kind: type[Again]) -> tenacity.Retrying:
        import tenacity

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(kind),
            stop=tenacity.stop_after_attempt(self.patience.tries),
            wait=self._seconds,
            sleep=tenacity.sleep_using_event(threading.Event()),
            before_sleep=self._say_why,
            reraise=True,
        )

    def _seconds(self, state: tenacity.RetryCallState) -> float:
        why = state.outcome.exception() if state.outcome else None
        growing = self.patience.first_pause * 2.0 ** (state.attempt_number - 1) * random.uniform(0.75, 1.25)
        return min(self.patience.longest_pause, max(growing, why.pause if isinstance(why, Again) else 0.0))

    def _say_why(self, state: tenacity.RetryCallState) -> None:
        why = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.say(f"{self.host}: {why}; again in {pause:.0f} s")

    def _problem(self, refused: Refused) -> Problem:
        from ..limits import GB, ZENODO_BYTES, ZENODO_FILES

        said = str(refused)
        if refused.status in (401, 403):
            return BadUse(
                self.host,
                "refuses the token, or it is another user's record",
                got=said,
                expected=f"in {self.variable} a token with the scopes {SCOPES}, of the record's owner",
                next=f"{self.url}/account/settings/applications/tokens/new/",
            )
        if "quota" in said.lower() or "max amount" in said or refused.status == 413:
            return BadUse(
                self.host,
                "takes no more in one record",
                got=said,
                expected=f"at most {ZENODO_FILES} files and {ZENODO_BYTES // GB} GB at Zenodo",
                next="ask for a larger quota of the draft, or leave files out of the bundle",
            )
        if refused.fields:
            return Problem(
                self.host,
                "finds errors in what was sent",
                found=refused.fields,
                next="mend CITATION.cff or the recipes, and make the bundle again",
            )
        return Unexpected(self.host, "will not do it", got=said, next=NEXT)


class _Limited(Again):
    """429: too many requests, and this one was not done."""


def listed(entry: Mapping[str, Any]) -> Listed | None:
    """A file's entry; None unless it is complete."""
    kind, _, digest = str(entry.get("checksum") or "").partition(":")
    return Listed(int(entry["size"]), kind, digest) if entry.get("status") == "completed" else None


def encoded(key: str) -> str:
    """A file's key in a path; slashes stay, as in the server's own links."""
    return quote(key, safe="/")


def _errors(errors: Any) -> Iterator[tuple[str, str]]:
    """Errors of an answer as (field, text); they come as a list of {"field", "messages"}, or as a text."""
    if isinstance(errors, str):
        yield "", errors
        return
    for each in errors or ():
        messages = each.get("messages") or [each.get("message", "")]
        yield str(each.get("field") or each.get("community_id") or ""), " ".join(map(str, messages))
