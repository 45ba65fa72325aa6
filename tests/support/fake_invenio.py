"""The InvenioRDM records API on loopback, as far as a release uses it: stateful, strict, with faults on demand.

Its answers are those of a real server (invenio-app-rdm 14): the life cycle in release/test_invenio.py runs on both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.fake_invenio_metadata import LICENCES, Answer, judge, refusal

RECORDS = "application/vnd.inveniordm.v1+json"
MAX_FILES = 100


@dataclass
class File:
    content: bytes | None = None
    is_complete: bool = False

    def entry(self, key: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"key": key, "metadata": None, "transfer": {"type": "L"}, "status": "pending"}
        if self.is_complete and self.content is not None:
            md5 = hashlib.md5(self.content).hexdigest()
            entry |= {"status": "completed", "checksum": f"md5:{md5}", "size": len(self.content)}
        return entry


@dataclass
class Record:
    id: str
    parent: str
    owner: str
    index: int
    metadata: dict[str, Any] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    doi: str = ""
    is_published: bool = False
    born: float = field(default_factory=time.monotonic)


@dataclass
class Fault:
    """What goes wrong with one request. `applies`: whether it has its effect nevertheless.

    how  a status: the answer, with `message`; "html": 200 and no JSON; "json": 200 and `message` itself; "drop": the
         connection is cut; "stall": no answer for some seconds; "truncate": the connection is cut after half of the
         body; "kill": `Fake.kill` is called
    """

    how: int | str
    applies: bool = False
    message: str = "planned"


@dataclass
class Fake:
    """The server's state, and what it was asked.

    fault  called with (method, path, number of the request) for every request
    lag    seconds until the search finds a record
    broken requests that our client should not have sent
    """

    url: str = ""
    tokens: dict[str, str] = field(default_factory=lambda: {"token-1": "1", "token-2": "2"})
    records: dict[str, Record] = field(default_factory=dict)
    communities: dict[str, set[str]] = field(default_factory=lambda: {"demo": set()})
    asked: list[tuple[str, str]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    fault: Callable[[str, str, int], Fault | None] = lambda method, path, number: None
    kill: Callable[[], None] = lambda: None
    lag: float = 0.0
    broken: list[str] = field(default_factory=list)
    last: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def new_id(self) -> str:
        self.last += 1
        return str(self.last)

    @property
    def published(self) -> list[Record]:
        return [each for each in self.records.values() if each.is_published]

    @property
    def drafts(self) -> list[Record]:
        return [each for each in self.records.values() if not each.is_published]

    def latest(self, parent: str) -> Record | None:
        return max(
            (each for each in self.published if each.parent == parent), key=lambda each: each.index, default=None
        )

    def describe(self, record: Record, errors: list[tuple[str, str]] | None = None) -> dict[str, Any]:
        pids = {"doi": {"identifier": record.doi, "provider": "datacite"}} if record.doi else {}
        parent = {"doi": {"identifier": f"10.5281/zenodo.{record.parent}"}} if self.latest(record.parent) else {}
        found = [{"field": name, "messages": [text]} for name, text in errors or ()]
        return {
            "id": record.id,
            "created": f"2026-01-01T00:00:00.{int(record.id):06}+00:00",
            "parent": {"id": record.parent, "communities": {}, "pids": parent},
            "versions": {"index": record.index, "is_latest": record is self.latest(record.parent)},
            "is_published": record.is_published,
            "is_draft": not record.is_published,
            "pids": pids,
            "metadata": record.metadata,
        } | ({"errors": found} if found else {})

    def listing(self, record: Record) -> dict[str, Any]:
        return {"enabled": True, "entries": [file.entry(key) for key, file in record.files.items()]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _handle(self) -> None:
        fake = self.server.fake
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix("/api")
        with fake.lock:
            fake.asked.append((self.command, path))
            fake.heads.append(dict(self.headers))
            fault = fake.fault(self.command, path, len(fake.asked))
        if fault and not fault.applies:
            if fault.how == "truncate":
                self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self._fail(fault)
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.query = {name: value[0] for name, value in parse_qs(url.query).items()}
        try:
            with fake.lock:
                if not path.startswith("/") or url.path == path:
                    raise refusal(404, "Not found.")
                if "Cookie" in self.headers:
                    raise refusal(400, "CSRF token missing or incorrect.")
                if len(self.body) < length:
                    raise refusal(400, "File is smaller than expected.")
                self._route(path)
                raise refusal(404, "Not found.")
        except AssertionError as error:
            fake.broken.append(str(error))
            self._answer(refusal(500, str(error)))
        except Answer as answer:
            if fault:
                self._fail(fault)
            else:
                self._answer(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _fail(self, fault: Fault) -> None:
        self.close_connection = True
        if isinstance(fault.how, int):
            headers = {"Retry-After": "0"} if fault.how == 429 else {}
            self._answer(Answer(fault.how, {"status": fault.how, "message": fault.message}, **headers))
        elif fault.how == "html":
            self._answer(Answer(200, b"<!doctype html>"))
        elif fault.how == "json":
            self._answer(Answer(200, fault.message.encode()))
        elif fault.how == "stall":
            time.sleep(1.5)
        elif fault.how == "kill":
            self.server.fake.kill()

    def _answer(self, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.status == 204:
            content = b""
        with contextlib.suppress(OSError):  # the client is gone
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Set-Cookie", "csrftoken=x; Path=/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def _user(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.server.fake.tokens:
            raise refusal(403, "Permission denied.")
        return self.server.fake.tokens[token]

    def _draft(self, id_: str) -> Record:
        record = self.server.fake.records.get(id_)
        if record is None:
            raise refusal(404, "The persistent identifier does not exist.")
        if record.owner != self._user():
            raise refusal(403, "Permission denied.")
        if record.is_published:
            raise refusal(404, "Not found.")
        return record

    def _public(self, id_: str) -> Record:
        record = self.server.fake.records.get(id_)
        if record is None or not record.is_published:
            raise refusal(404, "The persistent identifier is not registered.")
        return record

    def _route(self, path: str) -> None:
        if "/files" in path and self.headers.get("Accept") == RECORDS:
            raise refusal(406, "Not acceptable.")
        if path.startswith(("/records", "/user")) and "/files" not in path and self.headers.get("Accept") != RECORDS:
            raise AssertionError("Zenodo would answer in its legacy JSON")
        for method, pattern, act in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                act(self, *match.groups())

    # records and drafts

    def create(self) -> None:
        fake, owner = self.server.fake, self._user()
        kept, errors = judge(json.loads(self.body).get("metadata"))
        parent = fake.new_id()
        record = Record(fake.new_id(), parent, owner, 1, kept)
        fake.records[record.id] = record
        raise Answer(201, fake.describe(record, errors))

    def get_draft(self, id_: str) -> None:
        raise Answer(200, self.server.fake.describe(self._draft(id_)))

    def put_draft(self, id_: str) -> None:
        record = self._draft(id_)
        record.metadata, errors = judge(json.loads(self.body).get("metadata"))
        if not record.files:
            errors.append(("files.enabled", "Missing uploaded files."))
        raise Answer(200, self.server.fake.describe(record, errors))

    def delete_draft(self, id_: str) -> None:
        del self.server.fake.records[self._draft(id_).id]
        raise Answer(204)

    def get_record(self, id_: str) -> None:
        fake = self.server.fake
        newest = fake.latest(id_)
        if newest:  # it is a concept's
            raise Answer(302, b"<!doctype html>", Location=f"/api/records/{newest.id}")
        raise Answer(200, fake.describe(self._public(id_)))

    def get_latest(self, id_: str) -> None:
        fake = self.server.fake
        record = fake.records.get(id_)
        newest = fake.latest(record.parent if record else id_)
        if newest is None:
            raise refusal(404, "The persistent identifier does not exist.")
        raise Answer(301, {"status": 301}, Location=f"{fake.url}/api/records/{newest.id}")

    def get_versions(self, id_: str) -> None:
        parent = self._public(id_).parent
        found = sorted((each for each in self.server.fake.published if each.parent == parent), key=lambda e: -e.index)
        raise Answer(200, self._page(found))

    def new_version(self, id_: str) -> None:
        fake, before = self.server.fake, self._public(id_)
        if before.owner != self._user():
            raise refusal(403, "Permission denied.")
        for each in fake.drafts:
            if each.parent == before.parent:
                raise Answer(201, fake.describe(each))
        kept = {key: value for key, value in before.metadata.items() if key != "version"}
        newest = fake.latest(before.parent)
        assert newest is not None
        record = Record(fake.new_id(), before.parent, before.owner, newest.index + 1, kept)
        record.metadata["publication_date"] = "2026-01-01"  # the day of the request
        fake.records[record.id] = record
        raise Answer(201, fake.describe(record))

    def search(self) -> None:
        owner = self._user()
        match = re.fullmatch(r'metadata\.title:"((?:[^"\\]|\\.)*)"(?: OR parent\.id:(\d+))?', self.query.get("q", ""))
        assert match and self.query.get("allversions") == "true", self.query
        title = re.sub(r"\\(.)", r"\1", match[1]).lower()
        found = [
            each
            for each in self.server.fake.records.values()
            if each.owner == owner
            and (title in each.metadata.get("title", "").lower() or each.parent == match[2])
            and time.monotonic() - each.born >= self.server.fake.lag
        ]
        raise Answer(200, self._page(found[::-1]))

    def search_published(self) -> None:
        match = re.fullmatch(r'metadata\.title:"((?:[^"\\]|\\.)*)"', self.query.get("q", ""))
        assert match and self.query.get("allversions") == "true", self.query
        title = re.sub(r"\\(.)", r"\1", match[1]).lower()
        found = [each for each in self.server.fake.published if title in each.metadata.get("title", "").lower()]
        raise Answer(200, self._page(found[::-1]))

    def _page(self, found: list[Record]) -> dict[str, Any]:
        size, page = int(self.query.get("size", "25")), int(self.query.get("page", "1"))
        if size > 100 or (page - 1) * size >= max(1, len(found)) > 1:
            raise refusal(400, "Invalid querystring parameters.")
        shown = found[(page - 1) * size : page * size]
        return {"hits": {"hits": [self.server.fake.describe(each) for each in shown], "total": len(found)}}

    def reserve(self, id_: str) -> None:
        record = self._draft(id_)
        if record.doi:
            raise refusal(400, "A validation error occurred.", ("pids.doi", "A PID already exists for type doi"))
        record.doi = f"10.5281/zenodo.{record.id}"
        raise Answer(201, self.server.fake.describe(record))

    def publish(self, id_: str) -> None:
        record = self._draft(id_)
        _, errors = judge(record.metadata)
        if not record.files:
            errors.append(("files.enabled", "Missing uploaded files."))
        elif not all(file.is_complete for file in record.files.values()):
            errors.append(("files", "One or more files have not completed their transfer, please wait."))
        if errors:
            raise refusal(400, "A validation error occurred.", *errors)
        record.is_published = True
        record.doi = record.doi or f"10.5281/zenodo.{record.id}"
        raise Answer(202, self.server.fake.describe(record))

    # files

    def get_files(self, id_: str) -> None:
        raise Answer(200, self.server.fake.listing(self._public(id_)))

    def get_content(self, id_: str, key: str) -> None:
        record = self._public(id_)
        if key not in record.files:
            raise refusal(404, f"Record '{id_}' has no file '{key}'.")
        raise Answer(200, record.files[key].content)

    def get_draft_files(self, id_: str) -> None:
        raise Answer(200, self.server.fake.listing(self._draft(id_)))

    def init_files(self, id_: str) -> None:
        record = self._draft(id_)
        keys = [each["key"] for each in json.loads(self.body)]
        for key in keys:
            if key in record.files:
                raise refusal(400, f"File with key {key} already exists.")
        if len(record.files) + len(keys) > MAX_FILES:
            raise refusal(400, "Uploading selected files will result in exceeding the max amount per record.")
        record.files |= {key: File() for key in keys}
        raise Answer(201, self.server.fake.listing(record))

    def _file(self, id_: str, key: str) -> tuple[Record, File]:
        record = self._draft(id_)
        if key not in record.files:
            raise refusal(404, f"Record '{id_}' has no file '{key}'.")
        return record, record.files[key]

    def delete_file(self, id_: str, key: str) -> None:
        record, _ = self._file(id_, key)
        del record.files[key]
        raise Answer(204)

    def put_content(self, id_: str, key: str) -> None:
        if self.headers.get("Content-Type") != "application/octet-stream" or "Content-Length" not in self.headers:
            raise refusal(415, "Unsupported media type.")
        record, file = self._file(id_, key)
        if file.is_complete:
            entry = file.entry(key)
            del record.files[key]
            raise Answer(200, entry | {"errors": "File upload transfer failed."})
        file.content = self.body
        raise Answer(200, file.entry(key))

    def commit(self, id_: str, key: str) -> None:
        _, file = self._file(id_, key)
        if file.content is None:
            raise refusal(500, "The server encountered an internal error.")
        file.is_complete = True
        raise Answer(200, file.entry(key))

    def import_files(self, id_: str) -> None:
        record = self._draft(id_)
        before = self.server.fake.latest(record.parent)
        if before is None:
            raise refusal(404, "Not found.")
        if record.files:
            raise refusal(400, "A validation error occurred.", ("files.enabled", "Please remove all files first."))
        record.files = {key: File(file.content, True) for key, file in before.files.items()}
        raise Answer(201, self.server.fake.listing(record))

    # communities and vocabularies

    def get_licence(self, name: str) -> None:
        if name not in LICENCES:
            raise refusal(404, "The persistent identifier does not exist.")
        raise Answer(200, {"id": name})

    def get_community(self, slug: str) -> None:
        if slug not in self.server.fake.communities:
            raise refusal(404, "The persistent identifier does not exist.")
        raise Answer(200, {"id": f"uuid-of-{slug}", "slug": slug})

    def get_communities(self, id_: str) -> None:
        self._public(id_)
        raise Answer(200, {"hits": {"hits": [], "total": 0}})  # communities review before they accept

    def ask_communities(self, id_: str) -> None:
        record = self._public(id_)
        self._user()
        for each in json.loads(self.body)["communities"]:
            asked = self.server.fake.communities[each["id"]]
            if record.id in asked:
                message = "There is already an open inclusion request for this community."
                raise Answer(400, {"errors": [{"community_id": each["id"], "message": message}]})
            asked.add(record.id)
        raise Answer(200, {"processed": []})

    def log_message(self, format: str, *args: object) -> None:
        pass


R, D, K = r"/records/(\d+)", r"/records/(\d+)/draft", r"/files/(.+)"
ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/records", Handler.create),
    ("GET", D, Handler.get_draft),
    ("PUT", D, Handler.put_draft),
    ("DELETE", D, Handler.delete_draft),
    ("GET", R, Handler.get_record),
    ("GET", f"{R}/versions/latest", Handler.get_latest),
    ("GET", f"{R}/versions", Handler.get_versions),
    ("POST", f"{R}/versions", Handler.new_version),
    ("GET", "/user/records", Handler.search),
    ("GET", "/records", Handler.search_published),
    ("POST", f"{D}/pids/doi", Handler.reserve),
    ("POST", f"{D}/actions/publish", Handler.publish),
    ("GET", f"{R}/files", Handler.get_files),
    ("GET", f"{R}{K}/content", Handler.get_content),
    ("GET", f"{D}/files", Handler.get_draft_files),
    ("POST", f"{D}/files", Handler.init_files),
    ("PUT", f"{D}{K}/content", Handler.put_content),
    ("POST", f"{D}{K}/commit", Handler.commit),
    ("DELETE", f"{D}{K}", Handler.delete_file),
    ("POST", f"{D}/actions/files-import", Handler.import_files),
    ("GET", r"/vocabularies/licenses/(.+)", Handler.get_licence),
    ("GET", r"/communities/([\w-]+)", Handler.get_community),
    ("GET", f"{R}/communities", Handler.get_communities),
    ("POST", f"{R}/communities", Handler.ask_communities),
)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    fake: Fake

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error of a killed client."""


@contextlib.contextmanager
def fake_invenio() -> Iterator[Fake]:
    """Serve an empty server on a free port of 127.0.0.1."""
    server = Server(("127.0.0.1", 0), Handler)
    server.fake = Fake(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
