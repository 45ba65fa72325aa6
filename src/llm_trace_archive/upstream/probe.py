"""Whether the upstream files of a workload are sure to come back, with one small request per URL at most.

git-annex asks before it drops the last copy. A file of the cache or of a mirror folder counts if its hash is the pinned
one. A server counts if it announces a file of the pinned size, with the ETag that came with the pinned bytes, where the
cache remembers it. Anything else is no promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.errors import Unavailable
from ..core.recipe import UpstreamFile, Workload
from . import pins
from .cache import Cache
from .http import (
    Failure,
    Patience,
    format_status,
    open_session,
    parse_total,
    redact,
    request,
    unreachable_hosts,
)
from .sources import NOT_FOUND, Sources

GONE = (404, 410)
Answer = tuple[bool | None, str]  # whether a place has the file as pinned (None if that is unknown), and why


@dataclass(frozen=True)
class Probe:
    """Asks the places that `sources` would fetch from; each answer holds as long as the probe."""

    sources: Sources
    # By URL, or by folder for the files of a list.
    _answers: dict[str, Answer] = field(default_factory=dict)
    # By path, size, time and inode of a local file, with its pin: a change is seen, and a large file hashed once.
    _looks: dict[tuple[object, ...], Answer] = field(default_factory=dict)

    def is_obtainable(self, workload: Workload) -> bool:
        """Return whether all upstream files are available; False if every server of one says that it has it no more.

        Raises Unavailable if no place promises one: offline, no server answers, or what they have is not as pinned.
        """
        for file in workload.files:
            answers = []
            for place, (has, why) in self._ask_all(file, workload):
                if has:
                    break
                answers.append((place, has, why))
            else:
                if all(has is False for _, has, _ in answers):
                    return False
                raise Unavailable(
                    str(workload),
                    f"no source promises {file.name}",
                    expected=pins.describe(file),
                    tried="\n".join(f"{place}: {why}" for place, _, why in answers),
                    kept="the content that is here",
                )
        return True

    def _ask_all(self, file: UpstreamFile, workload: Workload) -> Iterator[tuple[str, Answer]]:
        """Yield each place in the order in which it would be tried, with its answer."""
        yield "cache", self._look(file, Cache(self.sources.cache).content_path(file))
        if path := self.sources.mirror_path(file):
            yield f"mirror {self.sources.mirror}", self._look(file, path)
        mirror_url = self.sources.mirror_url(file)
        for url in (*([mirror_url] if mirror_url else []), file.url, *file.also):
            yield redact(url), self._answer(url, file, workload)

    @property
    def _patience(self) -> Patience:
        """The patience of `sources`, but for a small answer that git-annex waits for."""
        given = self.sources.patience
        return replace(given, connect=min(5, given.connect), read=min(10, given.read), headers=min(20, given.headers))

    def _look(self, file: UpstreamFile, path: Path) -> Answer:
        try:
            status = path.stat()
            key = (path, status.st_size, status.st_mtime_ns, status.st_ino, file.pin, file.bytes)
            if key not in self._looks:
                problem = pins.compare(file, path)
                self._looks[key] = (None, f"wrong bytes: {problem.details['got']}") if problem else (True, "")
            return self._looks[key]
        except (FileNotFoundError, NotADirectoryError):
            return False, NOT_FOUND
        except OSError as error:
            return None, f"not readable ({error.strerror})"

    def _answer(self, url: str, file: UpstreamFile, workload: Workload) -> Answer:
        # A list has hundreds of files in one folder: one stands for all.
        key = url.rpartition("/")[0] if workload.listed else url
        if key not in self._answers:
            try:
                offline = self.sources.is_offline
                self._answers[key] = (None, "not tried: offline") if offline else self._ask(url, file)
            except Failure as failure:
                self._answers[key] = None, str(failure)
        return self._answers[key]

    def _ask(self, url: str, file: UpstreamFile) -> Answer:
        if url.startswith("hf://"):
            raise Failure("not tried: on the Hugging Face Hub")
        with open_session() as session:
            try:
                # Not HEAD: some servers do not support it, or sign URLs for GET alone. The body is not read.
                response = request(session, url, {"Range": "bytes=0-0"}, self._patience)
            except Failure as failure:
                if failure.host:
                    unreachable_hosts[failure.host] = str(failure)
                raise
            response.close()
        status = format_status(response)
        if not response.ok:
            return False if response.status_code in GONE else None, status
        cache = Cache(self.sources.cache)
        size, is_same = parse_total(response), cache.has_tag(file, url, response.headers.get("ETag", ""))
        if is_same is False:
            return None, f"{status}, but the ETag is not that of the pinned bytes"
        if file.bytes is not None and size != file.bytes:
            return None, f"{status}, but {'an unknown number of' if size is None else size} bytes"
        if file.bytes is None and not is_same:
            return None, f"{status}, but neither size nor ETag show that the bytes are as pinned"
        return True, status
