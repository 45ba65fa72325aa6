"""The Hugging Face Hub: one commit a release with only what changed, compared with the bundle, then tagged.

Nothing is remembered between runs. Each looks what is there and does what is missing, so a killed run is run again.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ...core.archive import SUMS
from ...core.errors import BadUse, Problem
from ...upstream.http import Failed, Patience, permitted
from ..bundle.folder import Bundle
from ..differences import EXTRA, differences, told
from ..record import Listed, Release
from .errors import NEXT, Conflict, cause, forbidden, passes, problem, retry_after, status

if TYPE_CHECKING:
    import tenacity
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

REPO = "llm-trace-archive/llm-trace-archive"
DATASET = "dataset"
MAIN = "main"
KEPT = ".gitattributes"  # the Hub's own: which files it keeps as large ones
PATIENCE = Patience(longest_pause=300, read=120)  # a window of the Hub's limits; how late a large commit is answered
NAMED = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Hub:
    """One dataset repo, read and written with the token of HF_TOKEN or of the client's own store."""

    repo: str
    say: Callable[[str], None] = lambda line: None
    patience: Patience = PATIENCE

    @cached_property
    def api(self) -> HfApi:
        """The client. Raises BadUse if HF_ENDPOINT is no place to send a token to."""
        # What is tested is what is used: uploads by Git LFS. `HF_HUB_DISABLE_XET=0` takes the client's other way.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars, logging  # type: ignore[attr-defined]

        client = huggingface_hub.HfApi(library_name="llm-trace-archive")
        try:
            permitted(client.endpoint)
        except Failed as failed:
            raise BadUse(client.endpoint, f"HF_ENDPOINT {failed}", expected="https") from None
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings name signed URLs
        if not sys.stderr.isatty():
            disable_progress_bars()
        session = huggingface_hub.get_session()
        limits = {"connect": self.patience.connect, "read": self.patience.read, "write": self.patience.read}

        def limit(request: Any) -> None:  # the client itself waits for ever
            request.extensions["timeout"] = limits | {"pool": None}

        hooks = {"request": [*session.event_hooks["request"], limit]}
        kind = type(session)
        huggingface_hub.set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True))
        return client

    def ask(self, call: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
        """Call the client, again after what may pass. Raises Problem for what doesn't."""
        import tenacity

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: passes(error) and status(error) not in (409, 412)),
            stop=tenacity.stop_after_attempt(self.patience.tries),
            wait=self._seconds,
            before_sleep=lambda state: self._say_why(_error(state), self._seconds(state)),
            reraise=True,
        )
        try:
            return again(call, *arguments, **named)
        except Problem:
            raise
        except Exception as error:
            raise problem(error, self.repo, self.api.endpoint) from None

    def listing(self, revision: str) -> dict[str, Listed]:
        """The files at a branch, tag or commit, but .gitattributes: sha256 of large files, git's ids of the others."""
        from huggingface_hub.hf_api import RepoFile

        def read() -> dict[str, Listed]:
            found = {}
            for each in self.api.list_repo_tree(self.repo, repo_type=DATASET, revision=revision, recursive=True):
                if isinstance(each, RepoFile) and each.path != KEPT:
                    large = each.lfs
                    found[each.path] = (
                        Listed(large.size, "sha256", large.sha256)
                        if large
                        else Listed(each.size, "git_blob", each.blob_id)
                    )
            return found

        return self.ask(read)

    def tags(self) -> dict[str, str]:
        """All tags, and the commits they are at."""
        found = self.ask(self.api.list_repo_refs, self.repo, repo_type=DATASET)
        return {each.name: each.target_commit for each in found.tags}

    def head(self, revision: str) -> str:
        """The commit that a branch or a pull request is at."""
        return str(self.ask(self.api.repo_info, self.repo, repo_type=DATASET, revision=revision).sha)

    def pull_request(self, version: str) -> str:
        """The open pull request of a release, as refs/pr/<number>, or nothing."""
        open_ = self.ask(
            lambda: list(
                self.api.get_repo_discussions(
                    self.repo, repo_type=DATASET, discussion_type="pull_request", discussion_status="open"
                )
            )
        )
        numbers = [each.num for each in open_ if each.title == _title(version) and each.is_pull_request]
        return f"refs/pr/{max(numbers)}" if numbers else ""

    def private(self) -> bool | None:
        """Whether it is private; None if there is no such repo, or none that the token may see. Raises Problem."""
        from huggingface_hub.errors import RepositoryNotFoundError

        def look() -> bool | None:
            try:
                return bool(self.api.repo_info(self.repo, repo_type=DATASET).private)
            except RepositoryNotFoundError:
                return None

        return self.ask(look)

    def url(self, revision: str, path: str = "") -> str:
        """Where people look at a revision, or where a file of it is downloaded."""
        page = f"{self.api.endpoint}/datasets/{self.repo}"
        if path:
            return f"{page}/resolve/{quote(revision, safe='')}/{quote(path)}"
        pull = revision.removeprefix("refs/pr/")
        return f"{page}/tree/{revision}" if pull == revision else f"{page}/discussions/{pull}"

    def prepare(self, private: bool, pull: bool) -> bool:
        """Check the token, and create the repo if there is none. Returns whether it is private."""
        me = self.ask(self.api.whoami)
        if (me.get("auth") or {}).get("accessToken", {}).get("role") == "read":
            raise forbidden(self.repo, "its role is read")
        is_private = self.private()
        if is_private is None:
            if pull:
                raise BadUse(self.repo, "no such dataset repo, or the token may not see it", next="leave --pr out")
            self.ask(self.api.create_repo, self.repo, repo_type=DATASET, private=private or None, exist_ok=True)
            self.say(f"created the {'private ' if private else ''}dataset repo {self.repo}")
            return private
        if private and not is_private:
            raise BadUse(
                self.repo,
                "is public",
                expected="a private repo, or a new one",
                next=f"change it at {self.url(MAIN).removesuffix('/tree/main')}/settings, or leave --private out",
            )
        return is_private

    def bring(self, bundle: Bundle, pull: bool) -> tuple[str, str]:
        """Look, send what differs, look again, until the Hub has the bundle; returns the revision and its commit.

        That is main, or with `pull` the release's pull request, opened if there is none. Looking first is what makes
        a commit happen once: the answer to it may be lost. Raises Problem if someone else changed the branch meanwhile.
        """
        heads: dict[str, str] = {}
        error: Exception | None = None
        for attempt in range(self.patience.tries + 1):
            revision = (self.pull_request(bundle.version) if pull else "") or MAIN
            head = self.head(revision)
            there = self.listing(head)
            found = differences(bundle, there)
            if not found:
                return revision, head
            if heads.setdefault(revision, head) != head:
                raise Problem(
                    self.repo,
                    f"{revision} changed meanwhile, and not to the bundle",
                    found=told(found),
                    next=f"look what was done there; then {NEXT}",
                )
            if attempt == self.patience.tries:
                break
            self._require_ours(there, found)
            error = self._commit(bundle, found, revision, head, pull and revision == MAIN)
            if error is not None:
                seconds = self._pause(attempt + 1, error)
                self._say_why(error, seconds)
                time.sleep(seconds)
        raise Problem(self.repo, f"not taken in {self.patience.tries} tries", reason=_why(error), next=NEXT)

    def tag(self, version: str, head: str) -> None:
        """Tag a commit with the version. Raises Problem if the tag is elsewhere."""
        with contextlib.suppress(Conflict):  # it exists: an answer was lost, or someone was faster
            self.ask(self.api.create_tag, self.repo, tag=version, revision=head, repo_type=DATASET)
        there = self.tags().get(version)
        if there != head:
            raise Problem(self.repo, f"tag {version} is at another commit", expected=head, got=there or "no tag")

    def _commit(
        self, bundle: Bundle, found: dict[str, str], revision: str, head: str, opens_pull: bool
    ) -> Exception | None:
        """Send what differs as one commit on `head`. Returns an error after which it may have happened or not."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        sizes = {each.path: each.bytes for each in bundle.files}
        sent = [path for path in found if path in sizes]
        self.say(
            f"{revision}: {len(sent)} files to send ({sum(sizes[path] for path in sent):,} bytes), "
            f"{len(found) - len(sent)} to delete, {len(sizes) - len(sent)} unchanged"
        )
        try:
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                CommitOperationDelete(path, is_folder=False)
                if how == EXTRA
                else CommitOperationAdd(path, bundle.root / path)
                for path, how in found.items()
            ]
            done = self.api.create_commit(
                self.repo,
                operations,
                commit_message=_title(bundle.version),
                repo_type=DATASET,
                revision=None if opens_pull else revision,
                parent_commit=head,
                create_pr=opens_pull,
            )
        except Exception as error:
            if not passes(error):
                raise problem(error, self.repo, self.api.endpoint) from None
            return error
        self.say(f"{done.pr_url or revision}: commit {done.oid}")
        return None

    def _require_ours(self, there: dict[str, Listed], found: dict[str, str]) -> None:
        """Files are deleted only in a repo that holds a release of ours."""
        extra = {path: how for path, how in found.items() if how == EXTRA}
        if extra and SUMS not in there:
            raise BadUse(
                self.repo,
                "holds files that no release of this archive put there",
                found=told(extra),
                next="give another --repo, or delete them there",
            )

    def _seconds(self, state: tenacity.RetryCallState) -> float:
        return self._pause(state.attempt_number, _error(state))

    def _pause(self, attempt: int, error: BaseException | None) -> float:
        """Seconds until the next try: as the server asks, or twice the last."""
        own = self.patience.first_pause * 2.0 ** (attempt - 1)
        return min(max(own, retry_after(error)), self.patience.longest_pause)

    def _say_why(self, error: BaseException | None, seconds: float) -> None:
        self.say(f"{self.repo}: {_why(error)}; looking again in {seconds:.0f} s")


def release(
    bundle: Bundle,
    repo: str = "",
    *,
    private: bool = False,
    pull: bool = False,
    say: Callable[[str], None] = lambda line: None,
    patience: Patience = PATIENCE,
) -> Release:
    """Bring the bundle to a dataset repo and tag it; with `pull` as a pull request, which gets no tag.

    repo  "<owner>/<name>"; without, the one that the bundle's own URLs name

    Doing it twice changes nothing. Raises BadUse for what the user must mend first, Problem for the rest: a tag of this
    version with other bytes, a branch that someone else changed meanwhile, a server that fails for long.
    """
    repo = repo or named(bundle) or REPO
    if any(each.path == KEPT for each in bundle.files):
        raise BadUse(str(bundle.root), f"holds {KEPT}, which is the Hub's to write", next="llm-traces release bundle")
    hub = Hub(repo, say, patience)
    is_private = hub.prepare(private, pull)
    version = bundle.version
    if named(bundle) not in ("", repo):
        say(f"the bundle's own URLs name {named(bundle)}, not {repo}")
    if version in hub.tags():
        found = differences(bundle, hub.listing(version))
        if found:
            raise Problem(
                repo,
                f"{version} is released already, with other files",
                found=told(found),
                next="raise the version in CITATION.cff and CHANGELOG.md, and make the bundle again",
            )
        say(f"{repo}: {version} is released already: nothing to do")
    else:
        revision, head = hub.bring(bundle, pull)
        if pull:
            done = "is merged" if revision == MAIN else "waits to be merged"
            say(f"{hub.url(revision)}: the release {done}; then run this without --pr, which tags it")
            return Release("huggingface", version, repo, hub.url(revision), published=False)
        hub.tag(version, head)
        say(f"{repo}: {version} is {head}, {len(bundle.files)} files as in the bundle")
    urls = {} if is_private else {each.path: hub.url(version, each.path) for each in bundle.files}
    return Release("huggingface", version, repo, hub.url(version), published=not is_private, urls=urls)


def named(bundle: Bundle) -> str:
    """The repo that the bundle's own URLs name, or nothing."""
    urls = [url for each in bundle.package["resources"] for url in each.get("urls", ())]
    found = [match[1] for match in map(NAMED.search, urls) if match]
    return found[0] if found else ""


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _why(error: BaseException | None) -> str:
    return str(status(error) or type(cause(error)).__name__)


def _title(version: str) -> str:
    return f"Release {version}"
