"""The files of a draft: brought to be exactly the bundle's, sending only what is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...core.errors import Problem
from ..bundle.folder import Bundle, BundleFile
from ..differences import EXTRA, differences, told
from ..record import Listed
from .invenio import NEXT, Body, Invenio, encoded, listed

Progress = Callable[[str, int, int | None], None]  # path, bytes sent, bytes in all


def bring_files(bundle: Bundle, invenio: Invenio, draft: str, is_version: bool, progress: Progress) -> None:
    """Make the draft's files those of the bundle. Raises Problem.

    is_version  whether it is a draft of a new version: what the version before has is imported, not sent
    """
    deposit = f"/records/{draft}/draft"
    there = invenio.ask(partial(invenio.files, deposit))
    if is_version and not there:
        invenio.ask(partial(_import, invenio, deposit))
        there = invenio.ask(partial(invenio.files, deposit))
    found = differences(bundle, {path: each for path, each in there.items() if each})
    unwanted = [path for path, each in there.items() if each is None or found.get(path) == EXTRA]
    files = [each for each in bundle.files if each.path in found]
    invenio.say(
        f"{len(files)} files to send ({sum(each.bytes for each in files):,} bytes), {len(unwanted)} to delete, "
        f"{len(bundle.files) - len(files)} there already"
    )
    for path in unwanted:
        invenio.ask(partial(invenio.delete, f"{deposit}/files/{encoded(path)}"))
    for file in files:
        _Sending(bundle, invenio, deposit, file, progress, there.get(file.path) is not None).run()


def require_files(bundle: Bundle, invenio: Invenio, draft: str) -> None:
    """Raise Problem unless the draft has exactly the bundle's files, all complete."""
    there = invenio.ask(partial(invenio.files, f"/records/{draft}/draft"))
    found = differences(bundle, {path: each for path, each in there.items() if each})
    found |= {path: "not complete there" for path, each in there.items() if each is None}
    if found:
        raise Problem(invenio.host, f"draft {draft} is not the bundle; not published", found=told(found), next=NEXT)


def _import(invenio: Invenio, deposit: str) -> None:
    if not invenio.files(deposit):  # else it was done, and the answer lost
        invenio.call("POST", f"{deposit}/actions/files-import")


@dataclass
class _Sending:
    """One file on its way into a draft. `is_there`: there may be an entry of its name, which must go first."""

    bundle: Bundle
    invenio: Invenio
    deposit: str
    file: BundleFile
    progress: Progress
    is_there: bool

    def run(self) -> None:
        """Send it, and once more if the server has other bytes than were sent. Raises Problem."""
        entry = f"{self.deposit}/files/{encoded(self.file.path)}"
        for _ in range(2):
            sent = self.invenio.ask(partial(self._put, entry))
            # Committing twice answers the same, so a lost answer does no harm.
            got = listed(self.invenio.ask(partial(self.invenio.call, "POST", f"{entry}/commit")))
            if got == sent:
                return
            self.invenio.say(f"{self.file.path}: the server has other bytes than were sent")
        raise Problem(
            self.file.path,
            f"came to other bytes at {self.invenio.host}, twice",
            expected=f"{sent.bytes} bytes, {sent.kind} {sent.digest}",
            got=f"{got.bytes} bytes, {got.kind} {got.digest}" if got else "a file that is not complete",
            kept="the draft, not published",
            next=NEXT,
        )

    def _put(self, entry: str) -> Listed:
        """Send the content into a new entry; returns what the server should have.

        Never into one that exists: content that is put after a commit is lost.
        """
        if self.is_there:
            self.invenio.delete(entry)
        self.is_there = True
        self.invenio.call("POST", f"{self.deposit}/files", [{"key": self.file.path}])
        body = Body(self.bundle.root / self.file.path, self.file, self.progress)
        self.invenio.call("PUT", f"{entry}/content", body=body)
        return body.sent()
