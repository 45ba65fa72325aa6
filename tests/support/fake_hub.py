"""A Hugging Face Hub on loopback for the real client: stateful, strict, with faults on demand.

Written from the client's own requests and the types of huggingface.js (`packages/hub/src/types/api`). It has the
endpoints that a release and `load_dataset` use, and refuses what the Hub would refuse. Any other request goes to
`unknown`, which must stay empty. Large files have a second origin, as on the real Hub.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from urllib.parse import parse_qs

from support.fake_hub_card import judge_card
from support.fake_hub_server import BLOCK, PAGE, Handler, RefusedError, Site, route, serving

WRITER, READER, OUTSIDER = "hf_writer", "hf_reader", "hf_outsider"  # tokens
ORGANISATION = "demo-org"
ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
REPO = r"/api/datasets/([\w.-]+/[\w.-]+)"
PATHS = re.compile(r"(?!.*(^|/)(\.{1,2}|\.git)(/|$))[^/].*[^/]|[^/]")


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its size, git's id of the content or of the pointer, the sha256 of a large one."""

    size: int
    oid: str
    sha256: str | None = None


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str
    title: str
    tree: dict[str, Entry]


@dataclass
class Repo:
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)  # by refs/pr/<number>
    titles: dict[str, str] = field(default_factory=dict)

    def history(self, branch: str = "main") -> list[Commit]:
        """The commits of a branch, newest first."""
        found, oid = [], self.branches[branch]
        while oid:
            found.append(self.commits[oid])
            oid = found[-1].parent
        return found

    def add(self, parent: str, title: str, tree: dict[str, Entry]) -> str:
        oid = hashlib.sha1(f"{len(self.commits)} {parent} {title}".encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, tree)
        return oid

    def merge(self, pull: str) -> None:
        """Merge a pull request, as the button in the browser does."""
        self.branches["main"] = self.add(self.branches["main"], self.titles[pull], self.commits[self.pulls[pull]].tree)
        del self.titles[pull]  # closed


@dataclass
class FakeHub(Site):
    """The Hub's state.

    chunk  bytes per part of a large file; 0 for one part
    sent   bytes of content received, by "lfs" and "regular"
    organisations  those that WRITER is a member of
    tokens  more tokens, each with the one of the three that has its rights
    """

    folder: Path = Path()
    chunk: int = 0
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)  # by git's id
    sent: dict[str, int] = field(default_factory=lambda: {"lfs": 0, "regular": 0})
    organisations: tuple[str, ...] = (ORGANISATION,)
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, handler: Handler) -> str:
        """Return the token of a request, or the one that it is another spelling of."""
        token = handler.token()
        return self.tokens.get(token, token)

    def repo(self, handler: Handler, name: str, write: bool = False, pull: bool = False) -> Repo:
        """Return a repo if the token may read it, and write to it or open a pull request. Raises RefusedError."""
        token = self.token(handler)
        if token not in ("", WRITER, READER, OUTSIDER):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        repo = self.repos.get(name)
        if repo is None or (repo.private and token not in (WRITER, READER)):
            raise RefusedError(404 if token else 401, "Repository not found", "RepoNotFound")
        if write and token not in ((WRITER, OUTSIDER) if pull else (WRITER,)):
            raise RefusedError(
                403 if token else 401, "Forbidden: you must use a write token to upload to a repository."
            )
        return repo

    def commit_at(self, repo: Repo, revision: str) -> Commit:
        for names in (repo.branches, repo.tags, repo.pulls):
            revision = names.get(revision, revision)
        if revision not in repo.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo.commits[revision]

    # The account, and repos

    @route("GET", "/api/whoami-v2")
    def whoami(self, handler: Handler) -> None:
        if self.token(handler) not in (WRITER, READER, OUTSIDER):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        role = "read" if self.token(handler) == READER else "write"
        handler.reply_json(
            {"type": "user", "name": "jo", "auth": {"type": "access_token", "accessToken": {"role": role}}}
        )

    @route("GET", "/api/agent-harnesses")
    def harnesses(self, handler: Handler) -> None:
        """The client asks for this to compose its User-Agent."""
        handler.reply_json({})

    @route("POST", "/api/repos/create")
    def create_repo(self, handler: Handler) -> None:
        asked = handler.json()
        if not asked.keys() <= {"name", "organization", "type", "private", "visibility"} or asked["type"] != "dataset":
            raise RefusedError(400, f"unknown settings {asked}")
        if self.token(handler) != WRITER or asked["organization"] not in self.organisations:
            raise RefusedError(403, "You don't have the rights to create a dataset under this namespace")
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.url}/datasets/{name}"
        with self.lock:
            if name in self.repos:
                handler.reply(409, json.dumps({"error": "You already created this dataset repo", "url": url}).encode())
                return
            repo = self.repos[name] = Repo(asked.get("private") is True or asked.get("visibility") == "private")
            repo.branches["main"] = repo.add("", "initial commit", {".gitattributes": self.keep(ATTRIBUTES)})
        handler.reply_json({"url": url, "name": name})

    @route("GET", REPO)
    def repo_info(self, handler: Handler, name: str) -> None:
        self.revision_info(handler, name, "main")

    @route("GET", REPO + "/revision/([^/]+)")
    def revision_info(self, handler: Handler, name: str, revision: str) -> None:
        repo = self.repo(handler, name)
        commit = self.commit_at(repo, revision)
        siblings = [{"rfilename": path} for path in sorted(commit.tree)]
        handler.reply_json({"id": name, "sha": commit.oid, "private": repo.private, "siblings": siblings, "tags": []})

    @route("GET", REPO + "/refs")
    def refs(self, handler: Handler, name: str) -> None:
        repo = self.repo(handler, name)

        def list_refs(kind: str, refs: dict[str, str]) -> list:
            return [{"name": key, "ref": f"refs/{kind}/{key}", "targetCommit": oid} for key, oid in refs.items()]

        handler.reply_json(
            {"branches": list_refs("heads", repo.branches), "tags": list_refs("tags", repo.tags), "converts": []}
        )

    @route("GET", REPO + "/discussions")
    def discussions(self, handler: Handler, name: str) -> None:
        repo = self.repo(handler, name)
        if not handler.query.keys() <= {"p", "type", "status"} or handler.query.get("status") != "open":
            raise RefusedError(400, f"unknown query {handler.query}")
        found = [
            {
                "num": int(ref.rpartition("/")[2]),
                "title": title,
                "status": "open",
                "isPullRequest": True,
                "author": {"name": "jo"},
                "createdAt": "2026-11-21T00:00:00.000Z",
                "repo": {"name": name, "type": "dataset"},
            }
            for ref, title in repo.titles.items()
        ]
        start = int(handler.query["p"]) * PAGE
        page = found[start : start + PAGE]
        handler.reply_json({"discussions": page, "count": len(found), "start": start})

    @route("POST", REPO + "/tag/([^/]+)")
    def tag(self, handler: Handler, name: str, revision: str) -> None:
        asked = handler.json()
        with self.lock:
            repo = self.repo(handler, name, write=True)
            if asked["tag"] in repo.tags:
                raise RefusedError(409, f"Tag reference exists already: refs/tags/{asked['tag']}")
            repo.tags[asked["tag"]] = self.commit_at(repo, revision).oid
        handler.reply(200)

    # Files

    def keep(self, content: bytes) -> Entry:
        oid = hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
        self.blobs[oid] = content
        return Entry(len(content), oid)

    def describe_entry(self, path: str, entry: Entry) -> dict:
        found: dict = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
        if entry.sha256:
            found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": len(self.blobs[entry.oid])}
        return found

    @route("GET", REPO + "/tree/([^/]+)(?:/(.+))?")
    def tree(self, handler: Handler, name: str, revision: str, folder: str = "") -> None:
        tree = self.commit_at(self.repo(handler, name), revision).tree
        prefix = f"{folder}/" if folder else ""
        under = {path: entry for path, entry in tree.items() if path.startswith(prefix)}
        if folder and not under:
            raise RefusedError(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        folders = {str(parent) for path in under for parent in Path(path).parents if str(parent).startswith(prefix)}
        found = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders - {".", folder}]
        found += [self.describe_entry(path, entry) for path, entry in under.items()]
        if handler.query.get("recursive") != "true":
            found = [each for each in found if "/" not in each["path"].removeprefix(prefix)]
        handler.reply_page(sorted(found, key=lambda each: each["path"]))

    @route("POST", REPO + "/paths-info/([^/]+)")
    def paths_info(self, handler: Handler, name: str, revision: str) -> None:
        tree = self.commit_at(self.repo(handler, name), revision).tree
        paths = parse_qs(handler.whole().decode())["paths"]
        found = [self.describe_entry(path, tree[path]) for path in paths if path in tree]
        folders = [path for path in paths if any(each.startswith(f"{path}/") for each in tree)]
        found += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
        handler.reply_json(found)

    @route("GET HEAD", r"/datasets/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")
    def resolve(self, handler: Handler, name: str, revision: str, path: str) -> None:
        repo = self.repo(handler, name)
        commit = self.commit_at(repo, revision)
        entry = commit.tree.get(path)
        if entry is None:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        if entry.sha256 is None:
            etag = f'"{entry.oid}"'
            handler.reply_file(self.blobs[entry.oid], ETag=etag, X_Repo_Commit=commit.oid, Accept_Ranges="bytes")
            return
        handler.reply(
            302,
            Location=f"{self.storage}/{entry.sha256}?signature=get",
            X_Linked_Etag=f'"{entry.sha256}"',
            X_Linked_Size=str(entry.size),
            X_Repo_Commit=commit.oid,
        )

    # Sending

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, handler: Handler) -> None:
        asked = handler.json()
        errors = judge_card(asked["content"]) if asked["repoType"] == "dataset" else ["repoType must be dataset"]
        if errors:
            found = {"errors": [{"message": each} for each in errors], "warnings": []}
            handler.reply(400, json.dumps(found).encode(), Content_Type="application/json")
            return
        handler.reply_json({"errors": [], "warnings": []})

    @route("POST", REPO + "/preupload/([^/]+)")
    def preupload(self, handler: Handler, name: str, revision: str) -> None:
        repo = self.repo(handler, name, write=True, pull="create_pr" in handler.query)
        tree = self.commit_at(repo, revision).tree
        files = []
        for each in handler.json()["files"]:
            head = base64.b64decode(each["sample"], validate=True)
            if not PATHS.fullmatch(each["path"]) or len(head) != min(each["size"], 512):
                raise RefusedError(400, f"{each['path']}: wrong path or sample")
            entry = tree.get(each["path"])
            large = each["path"].endswith(".parquet") or each["size"] > 10 << 20 or b"\0" in head
            oid = (entry.sha256 if large else entry.oid) if entry else None
            files.append(
                {"path": each["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
            )
        handler.reply_json({"files": files, "commitOid": repo.branches["main"]})

    @route("POST", r"/datasets/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch")
    def lfs_batch(self, handler: Handler, name: str) -> None:
        asked = handler.json("application/vnd.git-lfs+json")
        self.repo(handler, name, write=True, pull="ref" not in asked)
        if asked["operation"] != "upload" or asked["hash_algo"] != "sha256" or "basic" not in asked["transfers"]:
            raise RefusedError(422, "unknown operation, hash or transfers")
        objects = []
        for each in asked["objects"]:
            oid, size = each["oid"], each["size"]
            if not re.fullmatch("[0-9a-f]{64}", oid) or size < 1:
                raise RefusedError(422, "not an object")
            found: dict = {"oid": oid, "size": size}
            if not (self.folder / oid).exists():
                upload: dict = {"href": f"{self.storage}/{oid}?signature=put"}
                if self.chunk and size > self.chunk:
                    parts = range(1, ceil(size / self.chunk) + 1)
                    header = {f"{part:05}": f"{self.storage}/{oid}/{part}?signature=put" for part in parts}
                    upload = {
                        "href": f"{self.url}/api/complete_multipart?oid={oid}",
                        "header": header | {"chunk_size": str(self.chunk)},
                    }
                verify = {"href": f"{self.url}/datasets/{name}.git/info/lfs/objects/verify"}
                found["actions"] = {"upload": upload, "verify": verify}
            objects.append(found)
        handler.reply_json({"transfer": "basic", "objects": objects})

    def receive_file(self, handler: Handler, name: str) -> str:
        """Store a body as a file, and return its sha256. The URL is signed, so the client must not send its token."""
        if handler.headers.get("Authorization") or handler.query.get("signature") != "put":
            raise RefusedError(400, "Only one auth mechanism allowed")
        if handler.headers.get("Content-Length") is None:
            raise RefusedError(411, "You must provide the Content-Length HTTP header.")
        part = self.folder / f"{name}.{id(handler)}.part"
        digest = hashlib.sha256()
        with part.open("wb") as stream:
            while block := handler.receive(BLOCK):
                stream.write(block)
                digest.update(block)
                with self.lock:
                    self.sent["lfs"] += len(block)
        part.replace(self.folder / name)
        return digest.hexdigest()

    @route("PUT", "/([0-9a-f]{64})", storage=True)
    def put(self, handler: Handler, oid: str) -> None:
        sha256 = self.receive_file(handler, f"{oid}.whole")
        if sha256 != oid:
            raise RefusedError(400, "The Content-SHA256 you specified did not match what we received.")
        (self.folder / f"{oid}.whole").replace(self.folder / oid)
        handler.reply(200, ETag=f'"{sha256[:32]}"')

    @route("PUT", "/([0-9a-f]{64})/([0-9]+)", storage=True)
    def put_part(self, handler: Handler, oid: str, number: str) -> None:
        handler.reply(200, ETag=f'"{self.receive_file(handler, f"{oid}.{number}")[:32]}"')

    @route("POST", "/api/complete_multipart")
    def complete(self, handler: Handler) -> None:
        asked = handler.json("application/vnd.git-lfs+json")
        oid = asked["oid"]
        if oid != handler.query["oid"] or [each["partNumber"] for each in asked["parts"]] != list(
            range(1, len(asked["parts"]) + 1)
        ):
            raise RefusedError(400, "wrong parts")
        if (self.folder / oid).exists():
            raise RefusedError(404, "NoSuchUpload")
        whole = hashlib.sha256()
        target = self.folder / f"{oid}.whole"
        with target.open("wb") as stream:
            for each in asked["parts"]:
                part = hashlib.sha256()
                with (self.folder / f"{oid}.{each['partNumber']}").open("rb") as source:
                    while block := source.read(BLOCK):
                        stream.write(block)
                        part.update(block)
                        whole.update(block)
                if each["etag"] != f'"{part.hexdigest()[:32]}"':
                    raise RefusedError(400, "InvalidPart")
        if whole.hexdigest() != oid:
            raise RefusedError(400, "sha256 differs")
        target.replace(self.folder / oid)
        for each in asked["parts"]:
            (self.folder / f"{oid}.{each['partNumber']}").unlink(missing_ok=True)
        handler.reply(200)

    @route("POST", r"/datasets/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/verify")
    def verify(self, handler: Handler, name: str) -> None:
        self.repo(handler, name, write=True, pull=True)
        asked = handler.json()
        path = self.folder / asked["oid"]
        if not path.exists() or path.stat().st_size != asked["size"]:
            raise RefusedError(404, "no such object, or another size")
        handler.reply(200)

    @route("GET HEAD", "/([0-9a-f]{64})", storage=True)
    def download(self, handler: Handler, oid: str) -> None:
        if handler.headers.get("Authorization"):
            raise RefusedError(400, "Only one auth mechanism allowed")
        handler.reply_file(self.folder / oid, ETag=f'"{oid[:32]}"', Accept_Ranges="bytes")

    @route("POST", REPO + "/commit/([^/]+)")
    def commit(self, handler: Handler, name: str, revision: str) -> None:
        if handler.headers.get_content_type() != "application/x-ndjson":
            raise RefusedError(400, "Content-Type must be application/x-ndjson")
        header, *operations = (json.loads(line) for line in handler.whole().splitlines())
        if header["key"] != "header" or not header["value"]["summary"]:
            raise RefusedError(400, "the first line must be the header, with a summary")
        opens_pull = handler.query.get("create_pr") == "1"
        with self.lock:
            repo = self.repo(handler, name, write=True, pull=opens_pull)
            names = repo.pulls if revision in repo.pulls else repo.branches
            if revision not in names:
                raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            parent = header["value"].get("parentCommit") or names[revision]
            if parent != names[revision] and not opens_pull:
                raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
            before = self.commit_at(repo, parent).tree
            tree = self.apply(before, operations)
            if tree == before:
                raise RefusedError(400, "an empty commit, which a client must not send")
            title = header["value"]["summary"]
            oid = repo.add(parent, title, tree)
            url = f"{self.url}/datasets/{name}"
            done: dict = {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", "hookOutput": ""}
            if opens_pull:
                number = len(repo.pulls) + 1
                repo.pulls[f"refs/pr/{number}"], repo.titles[f"refs/pr/{number}"] = oid, title
                done["pullRequestUrl"] = f"{url}/discussions/{number}"
            else:
                names[revision] = oid
        handler.reply_json(done)

    def apply(self, before: dict[str, Entry], operations: list[dict]) -> dict[str, Entry]:
        """Return the tree after the operations of a commit. Raises RefusedError."""
        tree = dict(before)
        seen = set()
        for each in operations:
            key, value = each["key"], each["value"]
            path = value["path"]
            if not PATHS.fullmatch(path) or path in seen:
                raise RefusedError(400, f"{path}: a wrong path, or twice")
            seen.add(path)
            if key == "file":
                if value["encoding"] != "base64" or path.endswith(".parquet"):
                    raise RefusedError(400, f"{path}: Your push was rejected because it contains binary files.")
                content = base64.b64decode(value["content"], validate=True)
                self.sent["regular"] += len(content)
                tree[path] = self.keep(content)
            elif key == "lfsFile":
                stored = self.folder / value["oid"]
                if value["algo"] != "sha256" or not stored.exists() or stored.stat().st_size != value["size"]:
                    raise RefusedError(400, "Your push was rejected because an LFS pointer pointed to a file that "
                                            "does not exist")  # fmt: skip
                pointer = self.keep(
                    b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize %d\n"
                    % (value["oid"].encode(), value["size"])
                )
                tree[path] = Entry(value["size"], pointer.oid, value["oid"])
            elif key == "deletedFile":
                if path not in tree:
                    raise RefusedError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                del tree[path]
            else:
                raise RefusedError(400, f"unknown operation {key}")
        return tree


@contextlib.contextmanager
def fake_hub(folder: Path) -> Iterator[FakeHub]:
    """Serve a Hub that stores large files in `folder`. Fails if a request was unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = FakeHub(folder=folder)
    with serving(hub):
        yield hub
