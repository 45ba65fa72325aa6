"""Make the files of a draft exactly those of the bundle, sending only what is missing there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...core.errors import Problem
from ..bundle.folder import Bundle, BundleFile
from ..differences import EXTRA, compare_with_bundle, format_differences
from ..record import NEXT, RemoteFile
from .answers import read_entry
from .invenio import Body, Invenio, quote_key

Progress = Callable[[str, int, int | None], None]  # path, bytes sent, bytes in all


def send_files(bundle: Bundle, invenio: Invenio, draft: str, is_version: bool, progress: Progress) -> None:
    """Make the draft's files those of the bundle. Raises Problem.

    is_version  whether it is a draft of a new version: files of the version before are imported, not sent
    """
    deposit = f"/records/{draft}/draft"
    remote = invenio.ask(partial(invenio.list_files, deposit))
    if is_version and not remote:
        invenio.ask(partial(import_files, invenio, deposit))
        remote = invenio.ask(partial(invenio.list_files, deposit))
    differences = compare_with_bundle(bundle, {path: each for path, each in remote.items() if each})
    unwanted = [path for path, each in remote.items() if each is None or differences.get(path) == EXTRA]
    files = [each for each in bundle.files if each.path in differences]
    invenio.say(
        f"{len(files)} files to send ({sum(each.bytes for each in files):,} bytes), {len(unwanted)} to delete, "
        f"{len(bundle.files) - len(files)} already there"
    )
    for path in unwanted:
        invenio.ask(partial(invenio.delete, f"{deposit}/files/{quote_key(path)}"))
    for file in files:
        _Upload(bundle, invenio, deposit, file, progress, remote.get(file.path) is not None).run()


def require_files(bundle: Bundle, invenio: Invenio, draft: str) -> None:
    """Raise Problem unless the draft has exactly the bundle's files, all complete."""
    remote = invenio.ask(partial(invenio.list_files, f"/records/{draft}/draft"))
    differences = compare_with_bundle(bundle, {path: each for path, each in remote.items() if each})
    differences |= {path: "incomplete there" for path, each in remote.items() if each is None}
    if differences:
        raise Problem(
            invenio.host,
            f"draft {draft} differs from the bundle",
            found=format_differences(differences),
            kept="the draft, not published",
            next=NEXT,
        )


def import_files(invenio: Invenio, deposit: str) -> None:
    """Import the files of the version before, unless that is already done. `deposit` is the path of the draft."""
    if not invenio.list_files(deposit):
        invenio.call("POST", f"{deposit}/actions/files-import")


@dataclass
class _Upload:
    """The upload of one file to a draft. `is_there`: an entry of its name may exist, which must be deleted first."""

    bundle: Bundle
    invenio: Invenio
    deposit: str
    file: BundleFile
    progress: Progress
    is_there: bool

    def run(self) -> None:
        """Send the file, and once more if it arrives corrupt. Raises Problem."""
        entry = f"{self.deposit}/files/{quote_key(self.file.path)}"
        for _ in range(2):
            sent = self.invenio.ask(partial(self._put, entry))
            # A second commit gets the same answer, so a lost answer does no harm.
            got = self.invenio.ask(partial(self._commit, entry))
            if got == sent:
                return
            self.invenio.say(f"{self.file.path}: the file arrived corrupt")
        raise Problem(
            self.file.path,
            f"the file arrived corrupt at {self.invenio.host} twice",
            expected=f"{sent.bytes} bytes, {sent.kind} {sent.digest}",
            got=f"{got.bytes} bytes, {got.kind} {got.digest}" if got else "an incomplete file",
            kept="the draft, not published",
            next=NEXT,
        )

    def _commit(self, entry: str) -> RemoteFile | None:
        return self.invenio.read(read_entry, "POST", f"{entry}/commit")

    def _put(self, entry: str) -> RemoteFile:
        """Send the content to a new entry; return what the server should have.

        Never to an existing entry: the server drops content that comes after a commit.
        """
        if self.is_there:
            self.invenio.delete(entry)
        self.is_there = True
        self.invenio.call("POST", f"{self.deposit}/files", [{"key": self.file.path}])
        body = Body(self.bundle.root / self.file.path, self.file, self.progress)
        self.invenio.call("PUT", f"{entry}/content", body=body)
        return body.finish()
