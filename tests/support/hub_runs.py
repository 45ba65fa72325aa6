"""Releases to the fake Hub by the real client, in this process or in a new one.

The client reads HF_ENDPOINT and other settings once, at its import. In this process they are therefore set as its
constants.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import huggingface_hub.constants
import pytest

from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.hub import release as hub_release
from llm_trace_archive.upstream.http import Patience
from support.command import run_here
from support.fake_hub import ORGANISATION, WRITER, FakeHub
from support.programs import BIN

NAME = f"{ORGANISATION}/llm-trace-archive"

# Like the command, but with short pauses.
QUICK = """
import sys, time
from pathlib import Path
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.01))
from llm_trace_archive.core.errors import Problem
from llm_trace_archive.release.hub import release as hub
from llm_trace_archive.release.bundle.folder import Bundle
try:
    hub.release(Bundle.open(Path(sys.argv[1])), sys.argv[2], say=print)
except Problem as problem:
    sys.exit(str(problem))
"""


def environment(hub: FakeHub, token: str = WRITER, **more: str) -> dict[str, str]:
    """The variables of a new process, which has no others."""
    home = os.environ["HOME"]
    variables = {"PATH": os.environ["PATH"], "HOME": home, "HF_HOME": f"{home}/hub", "HF_ENDPOINT": hub.url}
    return variables | {"HF_TOKEN": token, "HF_HUB_DISABLE_TELEMETRY": "1"} | more


@contextlib.contextmanager
def client_of(hub: FakeHub, token: str = WRITER) -> Iterator[pytest.MonkeyPatch]:
    """Let the client in this process use the fake Hub with this token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", token)
        patch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield patch


def forget(hub: FakeHub) -> None:
    """Forget what was asked, so that `requests`, `refused` and `sent` are those of the next run."""
    hub.requests, hub.refused, hub.sent = [], [], {"lfs": 0, "regular": 0}


def send(
    hub: FakeHub, bundle: Bundle, *options: str, repo: str = NAME, token: str = WRITER
) -> subprocess.CompletedProcess[str]:
    """Run the command outside an archive, so that no release is recorded."""
    forget(hub)
    named = ["--repo", repo] if repo else []
    with client_of(hub, token):
        return run_here("release", "huggingface", bundle.root, *named, *options, cwd=bundle.root.parent)


def send_by_process(
    hub: FakeHub, bundle: Bundle, *options: str, repo: str = NAME, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a new process."""
    forget(hub)
    return subprocess.run(
        [BIN / "llm-traces", "release", "huggingface", bundle.root, "--repo", repo, *options],
        cwd=bundle.root.parent,
        env=environment(hub, **more),
        capture_output=True,
        text=True,
    )


def publish(hub: FakeHub, bundle: Bundle, *options: str, repo: str = NAME, token: str = WRITER) -> str:
    """Run the command, which must succeed; return its output."""
    ran = send(hub, bundle, *options, repo=repo, token=token)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def release_quickly(hub: FakeHub, bundle: Bundle, read: float = 20, repo: str = NAME) -> list[str]:
    """Release with short pauses, and return the lines that it says. Raises Problem."""
    forget(hub)
    lines: list[str] = []
    sleep = time.sleep
    with client_of(hub) as patch:
        patch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
        hub_release.release(bundle, repo, say=lines.append, patience=Patience(read=read))
    return lines


def start_quickly(hub: FakeHub, bundle: Bundle) -> subprocess.Popen[str]:
    """Start a release with short pauses in a new process, which a fault of the hub may kill."""
    forget(hub)
    process = subprocess.Popen(
        [sys.executable, "-c", QUICK, bundle.root, NAME],
        env=environment(hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hub.client = process.pid
    return process
