"""Whether a workload could be built now, found out cheaply: a look at the disk, and at most a question a server.

git-annex asks it before it drops the last copy. So nothing is promised that neither the cache, the mirror nor a server
can give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from ..core.errors import Unavailable
from ..core.recipe import UpstreamFile, Workload
from .cache import Cache
from .http import AGENT, REDIRECTS, Failed, Patience, bare, dead, direct, permitted, status_line, told
from .sources import Sources

PATIENCE = Patience(connect=5, read=10)
GONE = (404, 410)


@dataclass(frozen=True)
class Probe:
    """Asks where `sources` would fetch from; what was found out holds as long as the probe."""

    sources: Sources
    # By URL (of a list's files: by their folder): whether its server has it, None if nobody can tell, and why.
    _answers: dict[str, tuple[bool | None, str]] = field(default_factory=dict)

    def is_obtainable(self, workload: Workload) -> bool:
        """Whether all its upstream files are at hand, or their servers have them; False if a server says it has not.

        Raises Unavailable if that can't be found out: offline, or nobody answers.
        """
        for file in workload.files:
            if self._is_at_hand(file):
                continue
            answers = [(bare(url), *self._answer(url, workload)) for url in self._urls(file)]
            if any(has for _, has, _ in answers):
                continue
            if all(has is False for _, has, _ in answers):
                return False
            tried = "\n".join(f"{url}: {why}" for url, _, why in answers)
            raise Unavailable(str(workload), f"nobody can tell whether {file.name} can be had again", tried=tried)
        return True

    def _is_at_hand(self, file: UpstreamFile) -> bool:
        places = [Cache(self.sources.cache).content(file)]
        if self.sources.mirror and "://" not in self.sources.mirror:
            places.append(Path(self.sources.mirror) / file.trace / file.name)
        return any(each.is_file() and file.bytes in (None, each.stat().st_size) for each in places)

    def _urls(self, file: UpstreamFile) -> list[str]:
        urls = [file.url, *file.also]
        if self.sources.mirror and "://" in self.sources.mirror:
            urls.insert(0, f"{self.sources.mirror.rstrip('/')}/{quote(file.trace)}/{quote(file.name)}")
        return urls

    def _answer(self, url: str, workload: Workload) -> tuple[bool | None, str]:
        # A list has hundreds of files in one folder: one stands for all.
        key = url.rpartition("/")[0] if workload.listed else url
        if key not in self._answers:
            try:
                self._answers[key] = (None, "not tried: offline") if self.sources.is_offline else _asked(url)
            except Failed as failure:
                self._answers[key] = None, str(failure)
        return self._answers[key]


def _asked(url: str) -> tuple[bool | None, str]:
    import requests

    if url.startswith("hf://"):
        raise Failed("not asked: a file of the hub")
    url = permitted(url)
    with requests.Session() as session:
        for _ in range(REDIRECTS + 1):
            host = urlsplit(url).netloc.rpartition("@")[2]
            if host in dead:
                raise Failed(dead[host])
            try:
                # Not HEAD: some servers know none, or sign URLs for GET alone. Of the body nothing is read.
                answer = session.get(
                    url,
                    headers={"User-Agent": AGENT, "Range": "bytes=0-0"},
                    timeout=(PATIENCE.connect, PATIENCE.read),
                    stream=True,
                    allow_redirects=False,
                    proxies=direct(url),
                )
                answer.close()
            except (requests.RequestException, ValueError) as error:
                why = told(error, PATIENCE)
                dead[host] = str(why)
                raise why from None
            if not answer.is_redirect:
                return (True if answer.ok else False if answer.status_code in GONE else None), status_line(answer)
            url = permitted(urljoin(url, answer.headers["Location"]), url)
    raise Failed(f"more than {REDIRECTS} redirects")
