"""A replay from its options to its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import BadUse
from ..core.extras import require
from ..core.files import real_path
from ..workload.requests import Requests
from ..workload.times import microseconds
from .drive import Drive, Settings
from .endpoints import ENDPOINTS
from .journal import ENDING, Journal, read_journal, write_workload
from .plan import Plan, make_plan
from .prompts import Prompts
from .summary import SLOS, summarise


@dataclass(frozen=True)
class Options:
    """What the command line says; see `llm-traces replay -h`."""

    url: str
    model: str
    endpoint: str = "completions"
    tokenizer: Path | None = None
    closed: bool = False
    keep_failed: bool = False
    at_once: int | None = None
    timeout: float = 600.0
    is_streamed: bool = True
    extras: bool = True
    template_tokens: int = 0
    slo: str = ""
    key: str = ""

    def about(self) -> dict[str, Any]:
        """Return what the file says of the run: no key, and of the URL no user and no query."""
        host = self.url.split("?")[0].split("@")[-1].removeprefix("http://").removeprefix("https://")
        left_out = {"key": None, "url": host, "tokenizer": self.tokenizer and self.tokenizer.name}
        return {name: value for name, value in (asdict(self) | left_out).items() if value not in (None, "")}


def run(requests: Requests, options: Options, output: Path, show: Callable[[str], object]) -> dict[str, Any]:
    """Send the requests, write the file, and return the figures. Raises BadUse."""
    require("aiohttp", "replay", "replaying a workload")  # before anything is written
    slos = read_slos(options.slo)
    _check(options, output)
    plan = make_plan(requests, closed=options.closed, keep_failed=options.keep_failed)
    prompts = Prompts(plan, options.tokenizer, options.template_tokens)
    endpoint = ENDPOINTS[options.endpoint](options.model, options.is_streamed, options.extras)
    settings = Settings(options.url, endpoint, options.at_once, options.timeout, options.key)
    journal = Journal(_journal_of(output), options.about() | {"plan": len(plan)})
    try:
        Drive(plan, prompts, settings, journal).run(lambda drive: show(_line(drive)))
    finally:
        journal.close()
    return _write(requests, plan, options, slos, output)


def finish_run(requests: Requests, options: Options, output: Path, show: Callable[[str], object]) -> dict[str, Any]:
    """Write the file of a run that was killed, from its journal, and return the figures. Raises BadUse."""
    plan = make_plan(requests, closed=options.closed, keep_failed=options.keep_failed)
    return _write(requests, plan, options, read_slos(options.slo), output)


def _write(requests: Requests, plan: Plan, options: Options, slos: dict[str, int], output: Path) -> dict[str, Any]:
    journal = _journal_of(output)
    outcomes, about = read_journal(journal)
    if about.get("plan") != len(plan):
        raise BadUse(
            str(journal),
            "is of another run",
            expected=f"{len(plan):,} requests, as this command would send",
            got=f"{about.get('plan'):,}",
            next="give the same workload and options as the run that was killed",
        )
    if not len(outcomes):
        journal.unlink()
        raise BadUse(str(output), "was not written: the run ended before any request did")
    write_workload(requests, plan.rows, outcomes, about, output)
    journal.unlink()
    return summarise(outcomes, plan.left_out, slos)


def _journal_of(output: Path) -> Path:
    return output.with_name(output.name + ENDING)


def _check(options: Options, output: Path) -> None:
    if output.suffix != ".parquet":
        raise BadUse(
            str(output), "the name does not end in .parquet, so that it would not open", next=f"-o {output}.parquet"
        )
    if not real_path(output).parent.is_dir():
        raise BadUse(str(output), "is in no folder that exists", next="make the folder, or give another file")
    if not options.url.startswith(("http://", "https://")):
        raise BadUse("--url", f"'{options.url[:100]}' is no URL", expected="http://HOST:PORT or https://...")


def read_slos(text: str) -> dict[str, int]:
    """Return the limits of "ttft=200ms,tpot=50ms" in microseconds. Raises BadUse."""
    limits = {}
    for part in filter(None, text.split(",")):
        name, _, limit = part.partition("=")
        if name not in SLOS or not limit:
            raise BadUse("--slo", f"'{part}' is no limit", expected="ttft=200ms,tpot=50ms,latency=10s")
        limits[name] = microseconds(limit, "--slo")
    return limits


def _line(drive: Drive) -> str:
    """Return the state of a run in one line."""
    recent = drive.recent
    ttft = [each.ttft / 1000 for each in recent if each.ttft is not None]
    drift = [(each.sent - each.scheduled) / 1000 for each in recent]
    parts = [f"{drive.done:,} of {len(drive.plan):,}", f"{len(recent)}/s", f"{drive.in_flight} in flight"]
    if ttft:
        parts.append("TTFT p50 {:.0f} ms, p99 {:.0f} ms".format(*np.percentile(ttft, [50, 99])))
    if drift:
        parts.append(f"drift p99 {np.percentile(drift, 99):.1f} ms")
    return "  ".join([*parts, f"{drive.failed} failed"])
