"""A client of the InvenioRDM records API, which Zenodo runs.

`call` is one request. A request whose answer was lost may have had its effect, so it is not simply repeated: `ask`
takes a function that looks at the server's state and does what is missing, and calls that again.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from ...core.errors import BadUse, Problem
from ...core.text import mask
from ...upstream.http import (
    AGENT,
    Failure,
    Patience,
    TemporaryFailure,
    choose_proxies,
    format_status,
    parse_retry_after,
    require_https,
    translate_error,
)
from ..bundle.folder import BundleFile
from ..record import NEXT, RemoteFile
from .answers import Record, list_errors, read_files, read_page, read_record

if TYPE_CHECKING:
    import requests
    import tenacity

# A large file takes long to be answered; `connect` is also how long sending may stall.
PATIENCE = Patience(tries=6, connect=30, read=120)
RECORDS = {"Accept": "application/vnd.inveniordm.v1+json"}  # the documented one of Zenodo's two formats
PAGE = 100  # records per page, Zenodo's maximum
PAGES = 100
REDIRECTS = 3
SCOPES = "deposit:write and deposit:actions"

Answer = TypeVar("Answer")


class Refused(Failure):
    """The server understood the request and refuses it, or part of it.

    status, answer  of HTTP; a success status means that all was done except the errors in `fields`
    fields          errors by field, one per line
    """

    def __init__(self, status: int, why: str, fields: str, answer: Any) -> None:
        super().__init__(why)
        self.status, self.fields, self.answer = status, fields, answer


class Unexpected(Problem):
    """The server refuses what should be possible: its state changed since the client looked."""


class Body:
    """A file of a bundle as a request body: streamed, counted and hashed."""

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

    def __iter__(self) -> Iterator[bytes]:  # makes requests take this for a stream, which it then calls `read` on
        raise NotImplementedError

    def read(self, most: int = -1) -> bytes:
        """Return the next bytes. Raises Problem if the size of the file changed."""
        block = self._content.read(most)
        self._here += len(block)
        if self._here > self.file.bytes or (not block and self._here < self.file.bytes):
            raise self._make_problem()
        self._md5.update(block)
        self._sha256.update(block)
        self.progress(self.file.path, self._here, self.file.bytes)
        return block

    def finish(self) -> RemoteFile:
        """Return what the server should have now. Raises Problem if the file changed while it was sent."""
        if self._sha256.hexdigest() != self.file.sha256:
            raise self._make_problem()
        return RemoteFile(self._here, "md5", self._md5.hexdigest())

    def _make_problem(self) -> Problem:
        return Problem(str(self.path), "the file changed while it was sent", next="llm-traces release bundle DIR")


@dataclass(frozen=True)
class Invenio:
    """One server and one token.

    url        of the server, without /api: https, or http on this machine
    token      empty to read only what is public; sent in one header, and nowhere else. Whatever the server answers is
               masked before anything else reads it, as a server may repeat the token
    variable   the environment variable that holds the token, for messages
    """

    url: str
    token: str = field(repr=False)
    variable: str = ""
    say: Callable[[str], None] = lambda line: None
    patience: Patience = PATIENCE

    def __post_init__(self) -> None:
        try:
            require_https(self.url)
            if "@" in urlsplit(self.url).netloc:
                raise Failure("contains a user or password")
        except Failure as failed:
            raise BadUse(self.host or "the server", f"the URL is refused: {failed}", expected="https://...") from None

    @property
    def host(self) -> str:
        """The server's name, with the port if the URL has one."""
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
        session.auth = sign  # also keeps requests from reading ~/.netrc
        # The server ignores the token of a request with a cookie.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return session

    def ask(self, act: Callable[[], Answer]) -> Answer:
        """Call `act` until it succeeds: again after server errors, stalls and cut connections.

        As any of its requests may have had its effect although the answer was lost, `act` must look first. Raises
        Problem.
        """
        try:
            return self._retry(TemporaryFailure)(act)
        except Refused as refused:
            raise self._explain(refused) from None
        except Failure as failed:
            tries = f"; gave up after {self.patience.tries} tries" if isinstance(failed, TemporaryFailure) else ""
            reason = mask(f"{failed}{tries}", self.token)
            raise BadUse(self.host, "the request failed", reason=reason, next=NEXT) from None

    def call(self, method: str, path: str, json: Any = None, body: Body | None = None) -> Any:
        """Send one request to `<url>/api<path>`; return the JSON of the answer, or None for no content.

        Repeats it only after 429, which means that nothing was done. Raises TemporaryFailure if it may or may not
        have had its effect, Refused if the server refuses it. Errors in a successful answer are raised too, except
        that a draft still lacks files.
        """
        try:
            return self._retry(_Limited)(lambda: self._send(method, path, json, body))
        except _Limited as limited:
            raise Failure(f"{limited}; gave up after {self.patience.tries} tries") from None

    def read(self, kind: Callable[[Any], Answer], method: str, path: str, json: Any = None) -> Answer:
        """Send one request by `call`, and return its answer as `kind` reads it. Raises Failure if that is not one."""
        answer = self.call(method, path, json)
        try:
            return kind(answer)
        except Failure as failed:
            raise Failure(f"{failed}: {method} {path}") from None

    def look(self, kind: Callable[[Any], Answer], path: str) -> Answer | None:
        """Return what is at a path as `kind` reads it, or None if nothing is there."""
        try:
            return self.read(kind, "GET", path)
        except Refused as refused:
            if refused.status not in (404, 410):
                raise
            return None

    def delete(self, path: str) -> None:
        """Delete what is at a path, if anything."""
        try:
            self.call("DELETE", path)
        except Refused as refused:
            if refused.status not in (404, 410):
                raise

    def find(self, path: str, query: Mapping[str, str]) -> list[Record]:
        """Return all records that a search finds, page by page."""
        records: list[Record] = []
        for number in range(1, PAGES + 1):
            page = {**query, "size": str(PAGE), "page": str(number)}
            terms = "&".join(f"{name}={quote(value, safe='')}" for name, value in page.items())
            hits, total = self.read(read_page, "GET", f"{path}?{terms}")
            records += map(read_record, hits)
            if not hits or len(records) >= total:
                return records
        raise Failure(f"the search finds more than {PAGES * PAGE:,} records")

    def list_files(self, record: str) -> dict[str, RemoteFile | None]:
        """Return the files of /records/<id> or /records/<id>/draft by key; None for an incomplete file."""
        return self.read(read_files, "GET", f"{record}/files")

    def _send(self, method: str, path: str, json: Any, body: Body | None) -> Any:
        import requests
        from urllib3.exceptions import HTTPError

        url = f"{self.url}/api{path}"
        headers: dict[str, str] = {} if "/files" in path else dict(RECORDS)  # files answer 406 to that Accept
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        timeout = (self.patience.connect, self.patience.read)
        try:
            for _ in range(REDIRECTS + 1):
                with contextlib.nullcontext() if body is None else body:
                    # requests sends an empty stream without its length
                    data = b"" if body is not None and not len(body) else body
                    response = self._session.request(
                        method,
                        url,
                        json=json,
                        data=data,
                        headers=headers,
                        timeout=timeout,
                        allow_redirects=False,
                        proxies=choose_proxies(url),
                    )
                if not response.is_redirect:
                    return self._read_answer(response)
                url = self._require_same_origin(url, response.headers["Location"])
            raise Failure(f"more than {REDIRECTS} redirects")
        except (requests.RequestException, HTTPError) as error:
            raise translate_error(error, self.patience) from None

    def _require_same_origin(self, url: str, location: str) -> str:
        try:
            url = urljoin(url, location)
            there, here = urlsplit(url), urlsplit(self.url)
        except ValueError:
            raise Failure("redirected to a malformed URL") from None
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise Failure(f"redirected to {there.netloc.rpartition('@')[2]}, where the token must not go")
        return url

    def _read_answer(self, response: requests.Response) -> Any:
        status, headline = response.status_code, mask(format_status(response), self.token)
        if status == 429:
            raise _Limited(headline, parse_retry_after(response))
        if status == 408 or status >= 500:
            raise TemporaryFailure(headline, parse_retry_after(response))
        if status == 204:
            return None
        try:
            answer = loads(mask(response.content.decode(), self.token))
        except (ValueError, RecursionError):
            if status < 400:
                raise TemporaryFailure(f"{headline}, and the answer is not JSON") from None
            answer = {}
        errors = answer.get("errors") if isinstance(answer, dict) else None
        fields = [f"{name}: {text}".removeprefix(": ") for name, text in list_errors(errors)]
        if status >= 400:
            said = str(answer.get("message") or "")[:300] if isinstance(answer, dict) else ""
            raise Refused(status, f"{headline}: {said}".removesuffix(": "), "\n".join(fields), answer)
        if any(name != "files.enabled" for name, _ in list_errors(errors)):
            raise Refused(status, "the answer lists errors", "\n".join(fields), answer)
        return answer

    def _retry(self, kind: type[TemporaryFailure]) -> tenacity.Retrying:
        import tenacity

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(kind),
            stop=tenacity.stop_after_attempt(self.patience.tries),
            wait=self._find_pause,
            sleep=tenacity.sleep_using_event(threading.Event()),
            before_sleep=self._say_why,
            reraise=True,
        )

    def _find_pause(self, state: tenacity.RetryCallState) -> float:
        why = state.outcome.exception() if state.outcome else None
        growing = self.patience.first_pause * 2.0 ** (state.attempt_number - 1) * random.uniform(0.75, 1.25)
        return min(self.patience.longest_pause, max(growing, why.pause if isinstance(why, TemporaryFailure) else 0.0))

    def _say_why(self, state: tenacity.RetryCallState) -> None:
        why = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.say(mask(f"{self.host}: {why}; again in {pause:.0f} s", self.token))

    def _explain(self, refused: Refused) -> Problem:
        from ..limits import GB, ZENODO_BYTES, ZENODO_FILES

        said = str(refused)
        if refused.status in (401, 403):
            return BadUse(
                self.host,
                "the server rejects the token, or the record belongs to another user",
                got=said,
                expected=f"in {self.variable}, a token of the record's owner with the scopes {SCOPES}",
                next=f"{self.url}/account/settings/applications/tokens/new/",
            )
        if "quota" in said.lower() or "max amount" in said or refused.status == 413:
            return BadUse(
                self.host,
                "the record can't hold all files",
                got=said,
                expected=f"at most {ZENODO_FILES} files and {ZENODO_BYTES // GB} GB at Zenodo",
                next="ask Zenodo for a larger quota for the draft, or release fewer tables",
            )
        if refused.fields:
            return Problem(
                self.host,
                "the server reports errors in what was sent",
                found=refused.fields,
                next="correct CITATION.cff or the recipes, then llm-traces release bundle DIR",
            )
        return Unexpected(self.host, "the server refuses the request", got=said, next=NEXT)


class _Limited(TemporaryFailure):
    """429: too many requests. This one was not done."""


def quote_key(key: str) -> str:
    """Return a file's key for use in a path. Slashes stay, as in the server's own links."""
    return quote(key, safe="/")
