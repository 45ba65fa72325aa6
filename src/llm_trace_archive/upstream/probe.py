"""Whether the upstream files of a workload are available now, found out with one small request per URL at most.

git-annex asks before it drops the last copy: a file counts as available only if the cache, the mirror or a server
has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.errors import Unavailable
from ..core.recipe import UpstreamFile, Workload
from .cache import Cache
from .http import Failure, Patience, format_status, open_session, redact, request, unreachable_hosts
from .sources import Sources

PATIENCE = Patience(connect=5, read=10)
GONE = (404, 410)


@dataclass(frozen=True)
class Probe:
    """Asks the places that `sources` would fetch from; each answer holds as long as the probe."""

    sources: Sources
    # By URL (by folder for the files of a list): whether its server has the file (None if unknown), and why.
    _answers: dict[str, tuple[bool | None, str]] = field(default_factory=dict)

    def is_obtainable(self, workload: Workload) -> bool:
        """Return whether all upstream files are available; False if every server of one says that it has it no more.

        Raises Unavailable if that is unknown: offline, or no server answers.
        """
        for file in workload.files:
            if self._is_local(file):
                continue
            mirror_url = self.sources.mirror_url(file)
            urls = [*([mirror_url] if mirror_url else []), file.url, *file.also]
            answers = [(redact(url), *self._answer(url, workload)) for url in urls]
            if any(has for _, has, _ in answers):
                continue
            if all(has is False for _, has, _ in answers):
                return False
            tried = "\n".join(f"{url}: {why}" for url, _, why in answers)
            raise Unavailable(str(workload), f"cannot find out whether {file.name} is available", tried=tried)
        return True

    def _is_local(self, file: UpstreamFile) -> bool:
        places = [Cache(self.sources.cache).content_path(file), self.sources.mirror_path(file)]
        return any(path and path.is_file() and file.bytes in (None, path.stat().st_size) for path in places)

    def _answer(self, url: str, workload: Workload) -> tuple[bool | None, str]:
        # A list has hundreds of files in one folder: one stands for all.
        key = url.rpartition("/")[0] if workload.listed else url
        if key not in self._answers:
            try:
                self._answers[key] = (None, "not tried: offline") if self.sources.is_offline else _ask(url)
            except Failure as failure:
                self._answers[key] = None, str(failure)
        return self._answers[key]


def _ask(url: str) -> tuple[bool | None, str]:
    if url.startswith("hf://"):
        raise Failure("not tried: on the Hugging Face Hub")
    with open_session() as session:
        try:
            # Not HEAD: some servers do not support it, or sign URLs for GET alone. The body is not read.
            response = request(session, url, {"Range": "bytes=0-0"}, PATIENCE)
        except Failure as failure:
            if failure.host:
                unreachable_hosts[failure.host] = str(failure)
            raise
        response.close()
    return True if response.ok else False if response.status_code in GONE else None, format_status(response)
