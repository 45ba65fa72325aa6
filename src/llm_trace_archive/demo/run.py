"""The demo: an archive of synthetic look-alikes, built, cloned, and opened by its three doors, all on this machine."""

from __future__ import annotations

import functools
import http.server
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse

NAME = "llm-trace-archive"
LOAD = """
from datasets import load_dataset
every = load_dataset("llm-trace-archive")["train"]
print(f"all traces: {every.num_rows:,} requests, columns {', '.join(every.column_names)}")
one = load_dataset("llm-trace-archive", "burstgpt")
print("burstgpt:  ", ", ".join(f"split {name}, {split.num_rows:,} rows" for name, split in one.items()))
first, *rest = load_dataset("llm-trace-archive", "burstgpt", split="3", streaming=True)
shown = {key: value for key, value in first.items() if value is not None}
print(f"streamed:   {len(rest) + 1:,} rows, the first {shown}")
"""


def run(archive: Archive) -> None:
    """Run the demo for the recipes of `archive`, which stays untouched. Raises BadUse if a step fails."""
    from .lookalikes import sample_archive

    home = Path(tempfile.mkdtemp(prefix="llm-traces-demo-"))
    maintainer, mirror, clone = home / "maintainer", home / "upstream", home / NAME
    environment = _environment(home)
    with _served(mirror) as base_url:
        _say("1. Look-alike upstream files, synthetic, served on loopback as if it were the internet")
        sample_archive(archive, maintainer, mirror, base_url, rows=3000)
        print(f"   {base_url}  ({sum(1 for _ in mirror.rglob('*.*'))} files)")
        _say("2. Build the archive: fetch, verify, canonicalise, prove, describe")
        _git_init(maintainer, environment)
        _step(["llm-traces", "build", "--jobs", "2"], maintainer, environment)
        _commit(maintainer, environment)
        _say("3. A user clones it and opens the three doors")
        _step(
            ["git", "clone", "--quiet", "--branch", "main", "--single-branch", str(maintainer), str(clone)],
            home,
            environment,
        )
        _step(["llm-traces", "setup"], clone, environment)
        _step(["datalad", "get", "data/burstgpt"], clone, environment)
        _step(["datalad", "get", "data"], clone, environment, quiet=True)
        _step(["frictionless", "validate", "datapackage.json"], clone, environment, quiet=True)
        print("   valid")
        _step([sys.executable, "-c", LOAD], home, environment, shown='load_dataset("llm-trace-archive") and "burstgpt"')
    _say("4. What is in it (synthetic look-alikes, not the published data)")
    _step(["llm-traces", "list"], clone, environment)
    _say("Next, with the real data")
    print(f"   The demo's archive stays at {clone}; delete {home} when you are done.")
    print("   llm-traces list                           what there is")
    print("   llm-traces build azure-2023 mooncake      fetch from upstream, verify, build")
    print("   llm-traces build --mirror DIR             use files you have: DIR/<trace>/<file name>")


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _environment(home: Path) -> dict[str, str]:
    """The user's environment, with caches and git's settings of the demo's own, and our commands on PATH."""
    found = {key: value for key, value in os.environ.items() if not key.startswith(("LLM_TRACES_", "GIT_"))}
    (home / "gitconfig").write_text(
        "[user]\n\tname = Demo\n\temail = demo@example.org\n[init]\n\tdefaultBranch = main\n"
        # The loopback server stands for the internet; git-annex talks to no such address unless it is told to.
        '[annex "security"]\n\tallowed-ip-addresses = all\n',
        encoding="utf-8",
    )
    return found | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "LLM_TRACES_CACHE": str(home / "cache"),
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "DATALAD_UI_PROGRESSBAR": "none",
    }


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A folder over HTTP on loopback, for as long as the block lasts."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    folder.mkdir(parents=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _step(command: list[str], folder: Path, environment: dict[str, str], shown: str = "", quiet: bool = False) -> None:
    print(f"   $ {shown or shlex.join(command)}", flush=True)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode == 0 and not quiet:
        for line in done.stdout.splitlines():
            print(f"     {line}")
    if done.returncode:
        raise BadUse(
            "demo",
            f"a step failed with exit code {done.returncode}",
            command=shlex.join(command),
            folder=str(folder),
            output=(done.stdout + done.stderr).strip()[-3000:],
            next="run the command in that folder by hand",
        )


def _git_init(folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, env=environment, check=True)


def _commit(folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(["git", "add", "--all"], cwd=folder, env=environment, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "Samples"], cwd=folder, env=environment, check=True)
