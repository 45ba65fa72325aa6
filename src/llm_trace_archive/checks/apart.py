"""A file that is not the lock's is read in a process of its own, which Arrow may end over bytes that lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ..core.archive import Archive
from ..core.recipe import Workload
from .contents import contents
from .integrity import OWN, READABLE
from .result import Result

SECONDS = 600


def apart(archive: Archive, workload: Workload) -> Iterator[Result]:
    """What `contents` finds there, as far as it comes."""
    command = [sys.executable, "-m", __name__, str(archive.root), str(workload)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        told, end = ran.stdout, "" if ran.returncode == 0 else f"the reading process ended with {ran.returncode}"
    except subprocess.TimeoutExpired as error:
        told, end = str(error.stdout or b"", "utf-8"), f"not read within {SECONDS} s"
    for line in told.splitlines():
        fields = json.loads(line)
        yield Result(**fields | {"rows": tuple((row, value) for row, value in fields["rows"])})
    if end:
        yield Result("integrity", "content", READABLE, 0, end, OWN)


def _main() -> None:
    archive = Archive(Path(sys.argv[1]))
    (workload,) = archive.select([sys.argv[2]])
    for result in contents(archive, workload):
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    _main()
