"""The Hugging Face Hub: one commit per release with only what changed, compared with the bundle, then tagged.

Runs share no state. Each looks at the repo and does what is missing, so it also resumes one that was killed.
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
from ...upstream.http import Failure, Patience, require_https
from ..bundle.folder import Bundle
from ..bundle.verify import require_gated
from ..differences import EXTRA, compare_with_bundle, format_differences
from ..record import NEXT, Release, RemoteFile, require_newer
from .errors import (
    Conflict,
    explain,
    explain_forbidden,
    find_cause,
    find_retry_after,
    find_status,
    hide_token,
    may_pass,
)

if TYPE_CHECKING:
    import tenacity
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

REPO = "llm-trace-archive/llm-trace-archive"
DATASET = "dataset"
MAIN = "main"
ATTRIBUTES = ".gitattributes"  # the Hub's own: which files it stores as large ones
PATIENCE = Patience(longest_pause=300, read=120)  # the Hub's window of rate limits; the time of a large commit
REPO_IN_URL = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Hub:
    """One dataset repo, with the token in HF_TOKEN or in the client's own store."""

    repo: str
    say: Callable[[str], None] = lambda line: None
    patience: Patience = PATIENCE

    @cached_property
    def api(self) -> HfApi:
        """The client. Raises BadUse if HF_ENDPOINT is not a URL to send a token to."""
        # Uploads by Git LFS, as the tests do. HF_HUB_DISABLE_XET=0 in the environment allows the client its hf_xet.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        import huggingface_hub
        from huggingface_hub.utils import disable_progress_bars, logging  # type: ignore[attr-defined]

        client = huggingface_hub.HfApi(library_name="llm-trace-archive")
        try:
            require_https(client.endpoint)
        except Failure as failed:
            raise BadUse("HF_ENDPOINT", str(failed), expected="https://...", got=client.endpoint) from None
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings hold signed URLs
        if not sys.stderr.isatty():
            disable_progress_bars()
        session = huggingface_hub.get_session()
        limits = {"connect": self.patience.connect, "read": self.patience.read, "write": self.patience.read}

        def limit(request: Any) -> None:  # the client itself waits without end
            request.extensions["timeout"] = limits | {"pool": None}

        hooks = {"request": [*session.event_hooks["request"], limit]}
        kind = type(session)
        huggingface_hub.set_client_factory(lambda: kind(event_hooks=hooks, follow_redirects=True))
        return client

    def ask(self, call: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
        """Call the client, again after errors that may pass. Raises Problem for the others."""
        import tenacity

        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: may_pass(error) and find_status(error) not in (409, 412)),
            stop=tenacity.stop_after_attempt(self.patience.tries),
            wait=self._find_pause,
            before_sleep=lambda state: self._report_retry(_find_error(state), self._find_pause(state)),
            reraise=True,
        )
        try:
            return again(call, *arguments, **named)
        except Problem:
            raise
        except Exception as error:
            raise explain(error, self.repo, self.api.endpoint) from None

    def list_files(self, revision: str) -> dict[str, RemoteFile]:
        """Return the files at a revision except .gitattributes: large ones with sha256, the others with git's id."""
        from huggingface_hub.hf_api import RepoFile

        def read() -> dict[str, RemoteFile]:
            files = {}
            for each in self.api.list_repo_tree(self.repo, repo_type=DATASET, revision=revision, recursive=True):
                if isinstance(each, RepoFile) and each.path != ATTRIBUTES:
                    large = each.lfs
                    files[hide_token(each.path)] = (
                        RemoteFile(large.size, "sha256", large.sha256)
                        if large
                        else RemoteFile(each.size, "git_blob", each.blob_id)
                    )
            return files

        return self.ask(read)

    def list_tags(self) -> dict[str, str]:
        """Return the commit of every tag."""
        refs = self.ask(self.api.list_repo_refs, self.repo, repo_type=DATASET)
        return {hide_token(each.name): hide_token(each.target_commit) for each in refs.tags}

    def find_head(self, revision: str) -> str:
        """Return the newest commit of a branch or pull request."""
        return hide_token(str(self.ask(self.api.repo_info, self.repo, repo_type=DATASET, revision=revision).sha))

    def find_pull_request(self, version: str) -> str:
        """Return the open pull request of a release as refs/pr/<number>, or nothing."""
        open_ = self.ask(
            lambda: list(
                self.api.get_repo_discussions(
                    self.repo, repo_type=DATASET, discussion_type="pull_request", discussion_status="open"
                )
            )
        )
        numbers = [each.num for each in open_ if each.title == _make_title(version) and each.is_pull_request]
        return f"refs/pr/{max(numbers)}" if numbers else ""

    def is_private(self) -> bool | None:
        """Return whether the repo is private; None if it does not exist or the token can't read it. Raises Problem."""
        from huggingface_hub.errors import RepositoryNotFoundError

        def look() -> bool | None:
            try:
                return bool(self.api.repo_info(self.repo, repo_type=DATASET).private)
            except RepositoryNotFoundError:
                return None

        return self.ask(look)

    def make_url(self, revision: str, path: str = "") -> str:
        """Return the page of a revision, or the URL of a file in it."""
        page = f"{self.api.endpoint}/datasets/{self.repo}"
        if path:
            return f"{page}/resolve/{quote(revision, safe='')}/{quote(path)}"
        pull = revision.removeprefix("refs/pr/")
        return f"{page}/tree/{revision}" if pull == revision else f"{page}/discussions/{pull}"

    def prepare(self, private: bool, pull: bool) -> bool:
        """Check the token, and create the repo if it does not exist; return whether it is private."""
        if self.ask(self._find_role) == "read":
            raise explain_forbidden(self.repo, "the role of the token is read")
        is_private = self.is_private()
        if is_private is None:
            if pull:
                raise BadUse(
                    self.repo,
                    "the repo does not exist, or the token can't read it",
                    next="to create it, run without --pr",
                )
            self.ask(self.api.create_repo, self.repo, repo_type=DATASET, private=private or None, exist_ok=True)
            self.say(f"created the {'private ' if private else ''}dataset repo {self.repo}")
            return private
        if private and not is_private:
            raise BadUse(
                self.repo,
                "is public",
                expected="a private repo, or a new one",
                next=f"make it private at {self.make_url(MAIN).removesuffix('/tree/main')}/settings, or omit --private",
            )
        return is_private

    def _find_role(self) -> str:
        """Return the role of the token: "read", "write" or "fineGrained"; empty if the Hub does not say."""
        auth = self.api.whoami().get("auth") or {}
        return str((auth.get("accessToken") or {}).get("role", ""))

    def commit_bundle(self, bundle: Bundle, pull: bool) -> tuple[str, str]:
        """Commit what differs until the repo has the bundle; return the revision and its commit.

        The revision is main, or with `pull` the release's pull request, opened if there is none. Every try compares
        first, as the commit before it may have succeeded although the answer was lost. Raises Problem if someone else
        changes the branch during the release.
        """
        heads: dict[str, str] = {}
        error: Exception | None = None
        for attempt in range(self.patience.tries + 1):
            revision = (self.find_pull_request(bundle.version) if pull else "") or MAIN
            head = self.find_head(revision)
            remote = self.list_files(head)
            differences = compare_with_bundle(bundle, remote)
            if not differences:
                return revision, head
            if heads.setdefault(revision, head) != head:
                raise Problem(
                    self.repo,
                    f"someone else changed {revision} during the release",
                    found=format_differences(differences),
                    next=f"review that change, then {NEXT}",
                )
            if attempt == self.patience.tries:
                break
            self._require_ours(remote, differences)
            error = self._commit(bundle, differences, revision, head, pull and revision == MAIN)
            if error is not None:
                seconds = self._make_pause(attempt + 1, error)
                self._report_retry(error, seconds)
                time.sleep(seconds)
        tries = self.patience.tries
        raise Problem(self.repo, f"{tries} tries to commit failed", reason=_describe_error(error), next=NEXT)

    def tag(self, version: str, head: str) -> None:
        """Tag a commit with the version. Raises Problem if another commit has the tag."""
        with contextlib.suppress(Conflict):  # it exists: the answer to a try before was lost, or another run was faster
            self.ask(self.api.create_tag, self.repo, tag=version, revision=head, repo_type=DATASET)
        tagged = self.list_tags().get(version)
        if tagged != head:
            raise Problem(self.repo, f"tag {version} is at another commit", expected=head, got=tagged or "no tag")

    def _commit(
        self, bundle: Bundle, differences: dict[str, str], revision: str, head: str, opens_pull: bool
    ) -> Exception | None:
        """Send what differs as one commit on `head`. Returns the error if it is unknown whether that succeeded."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        sizes = {each.path: each.bytes for each in bundle.files}
        sent = [path for path in differences if path in sizes]
        self.say(
            f"{revision}: {len(sent)} files to send ({sum(sizes[path] for path in sent):,} bytes), "
            f"{len(differences) - len(sent)} to delete, {len(sizes) - len(sent)} unchanged"
        )
        try:
            operations: list[CommitOperationAdd | CommitOperationDelete] = [
                CommitOperationDelete(path, is_folder=False)
                if how == EXTRA
                else CommitOperationAdd(path, bundle.root / path)
                for path, how in differences.items()
            ]
            done = self.api.create_commit(
                self.repo,
                operations,
                commit_message=_make_title(bundle.version),
                repo_type=DATASET,
                revision=None if opens_pull else revision,
                parent_commit=head,
                create_pr=opens_pull,
            )
        except Exception as error:
            if not may_pass(error):
                raise explain(error, self.repo, self.api.endpoint) from None
            return error
        self.say(hide_token(f"{done.pr_url or revision}: commit {done.oid}"))
        return None

    def _require_ours(self, remote: dict[str, RemoteFile], differences: dict[str, str]) -> None:
        """Raise BadUse if files would be deleted in a repo that never had a release of ours."""
        extra = {path: how for path, how in differences.items() if how == EXTRA}
        if extra and SUMS not in remote:
            raise BadUse(
                self.repo,
                "contains files that are not from a release of this archive",
                found=format_differences(extra),
                next="give another --repo, or delete the files there",
            )

    def _find_pause(self, state: tenacity.RetryCallState) -> float:
        return self._make_pause(state.attempt_number, _find_error(state))

    def _make_pause(self, attempt: int, error: BaseException | None) -> float:
        """Return the seconds until the next try: what the server asks for, or twice the last pause if that is more."""
        own = self.patience.first_pause * 2.0 ** (attempt - 1)
        return min(max(own, find_retry_after(error)), self.patience.longest_pause)

    def _report_retry(self, error: BaseException | None, seconds: float) -> None:
        self.say(f"{self.repo}: {_describe_error(error)}; trying again in {seconds:.0f} s")


def release(
    bundle: Bundle,
    repo: str = "",
    *,
    private: bool = False,
    pull: bool = False,
    older: bool = False,
    say: Callable[[str], None] = lambda line: None,
    patience: Patience = PATIENCE,
) -> Release:
    """Commit the bundle to a dataset repo and tag it; with `pull`, open a pull request, which gets no tag.

    repo   OWNER/NAME; empty for the one in the bundle's own URLs
    older  also release a version lower than the last

    Idempotent. Raises BadUse for what the user must fix first, Problem for the rest: the bundle is not what the gate
    passed, this version is tagged with different files, someone else changes the branch during the release, the server
    keeps failing.
    """
    require_gated(bundle)
    repo = repo or find_repo(bundle) or REPO
    if any(each.path == ATTRIBUTES for each in bundle.files):
        raise BadUse(
            str(bundle.root),
            f"contains {ATTRIBUTES}, which only the Hub may write",
            next="llm-traces release bundle DIR",
        )
    hub = Hub(repo, say, patience)
    is_private = hub.prepare(private, pull)
    version = bundle.version
    if find_repo(bundle) not in ("", repo):
        say(f"the URLs in the bundle name {find_repo(bundle)}, not {repo}")
    tags = hub.list_tags()
    if version in tags:
        differences = compare_with_bundle(bundle, hub.list_files(version))
        if differences:
            raise Problem(
                repo,
                f"{version} is already released, with different files",
                found=format_differences(differences),
                next="raise the version in CITATION.cff and CHANGELOG.md, then llm-traces release bundle DIR",
            )
        say(f"{repo}: {version} is already released: nothing to do")
    else:
        if not older:
            require_newer(version, tags, repo)
        revision, head = hub.commit_bundle(bundle, pull)
        if pull:
            advice = "is merged: now" if revision == MAIN else "waits to be merged: then"
            say(f"{hub.make_url(revision)}: the release {advice} run without --pr, which tags it")
            return Release("huggingface", version, repo, hub.make_url(revision), published=False)
        hub.tag(version, head)
        say(f"{repo}: {version} is commit {head}, {len(bundle.files)} files as in the bundle")
    urls = {} if is_private else {each.path: hub.make_url(version, each.path) for each in bundle.files}
    return Release("huggingface", version, repo, hub.make_url(version), published=not is_private, urls=urls)


def find_repo(bundle: Bundle) -> str:
    """Return the repo in the bundle's own URLs, or nothing."""
    urls = [url for each in bundle.package["resources"] for url in each.get("urls", ())]
    return next((match[1] for match in map(REPO_IN_URL.search, urls) if match), "")


def _find_error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _describe_error(error: BaseException | None) -> str:
    return str(find_status(error) or type(find_cause(error)).__name__)


def _make_title(version: str) -> str:
    return f"Release {version}"
