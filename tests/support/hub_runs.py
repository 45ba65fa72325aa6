"""The command that releases to the Hub, run against the fake one."""

from __future__ import annotations

import os
import subprocess

from llm_trace_archive.release.bundle.folder import Bundle
from support.fake_hub import ORGANISATION, WRITER, FakeHub
from support.programs import BIN

NAME = f"{ORGANISATION}/llm-trace-archive"

# As the command, but it doesn't wait as long.
QUICK = """
import sys, time
from pathlib import Path
pause = time.sleep
time.sleep = lambda seconds: pause(min(seconds, 0.01))
from llm_trace_archive.upstream.http import Patience
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.release.hub import release as hub
from llm_trace_archive.release.bundle.folder import Bundle
try:
    hub.release(Bundle.open(Path(sys.argv[1])), sys.argv[2], say=print, patience=Patience(read=float(sys.argv[3])))
except Problem as problem:
    sys.exit(str(problem))
"""


def environment(hub: FakeHub, token: str = WRITER, **more: str) -> dict[str, str]:
    """No more than a user has: the client reads it once, at its import."""
    home = os.environ["HOME"]
    found = {"PATH": os.environ["PATH"], "HOME": home, "HF_HOME": f"{home}/hub", "HF_ENDPOINT": hub.url}
    return found | {"HF_TOKEN": token, "HF_HUB_DISABLE_TELEMETRY": "1"} | more


def send(
    hub: FakeHub, bundle: Bundle, *options: str, repo: str = NAME, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command; `requests`, `refused` and `sent` then tell of this run."""
    hub.requests, hub.refused, hub.sent = [], [], {"lfs": 0, "regular": 0}
    return subprocess.run(
        [BIN / "llm-traces", "release", "huggingface", bundle.root, *(["--repo", repo] if repo else []), *options],
        cwd=bundle.root.parent,  # no archive, so that no release is recorded
        env=environment(hub, **more),
        capture_output=True,
        text=True,
    )


def released(hub: FakeHub, bundle: Bundle, *options: str, **more: str) -> str:
    done = send(hub, bundle, *options, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
