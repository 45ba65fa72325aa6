"""The demo: an archive of synthetic look-alikes, built, cloned, and its three doors opened, all on this machine."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ..core.archive import Archive
from ..core.errors import BadUse

NAME = "llm-trace-archive"
DRAWN = ("azure-2024/code", "burstgpt/2", "mooncake/conversation", "qwen-bailian/chat")  # all kinds of plots
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
    """Run the demo with the recipes of `archive`, which stays untouched, in a new folder; remove that after Ctrl-C.

    Raises BadUse if a step fails; the folder is then kept.
    """
    home = Path(tempfile.mkdtemp(prefix="llm-traces-demo-"))
    try:
        _run(archive, home)
    except Exception:
        raise
    except BaseException:
        _remove(home)
        raise


def _remove(home: Path) -> None:
    """Remove the folder with a program of its own, which goes on if this one is ended before."""
    # git-annex makes its folders read-only.
    remove = ["sh", "-c", 'chmod -R u+w "$0"; rm -rf "$0"', str(home)]
    subprocess.Popen(remove, stderr=subprocess.DEVNULL, start_new_session=True).wait()


def _run(archive: Archive, home: Path) -> None:
    from .lookalikes import make_archive

    maintainer, mirror, clone = home / "maintainer", home / "upstream", home / NAME
    environment = _environment(home)
    with _served(mirror) as base_url:
        _say("1. Write synthetic look-alikes of the upstream files and serve them on loopback")
        make_archive(archive, maintainer, mirror, base_url, rows=3000)
        print(f"   {base_url}  ({sum(1 for _ in mirror.rglob('*.*'))} files)")
        _say("2. Build the archive: fetch, verify, convert, prove, describe")
        _git_init(maintainer, environment)
        _step(["llm-traces", "build", "--jobs", "2"], maintainer, environment)
        _commit(maintainer, environment)
        _say("3. Clone the archive as a user does, and open its three doors: datalad, frictionless, datasets")
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
        _say("4. Export a workload for a serving benchmark; llm-traces export --list has the other tools")
        trace = str(home / "vllm.jsonl")
        export = ["llm-traces", "export", "mooncake/conversation", "--to", "vllm-timed-trace", "-o", trace]
        _step(export, clone, environment)
    _say("5. List its workloads (synthetic look-alikes, not the published data)")
    _step(["llm-traces", "list"], clone, environment)
    _say("5. Draw some of them: pages for a browser, without a server")
    _step(["llm-traces", "report", *DRAWN, "-o", str(home / "report")], clone, environment)
    _say(f"The demo's archive is {clone}. To remove it: chmod -R u+w {home} && rm -rf {home}")
    _say("Next, with the real data")
    print("   llm-traces list                           list the workloads")
    print("   llm-traces build azure-2023 mooncake      fetch from upstream, verify, build")
    print("   llm-traces build --mirror DIR             use files you have: DIR/<trace>/<file name>")


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _environment(home: Path) -> dict[str, str]:
    """Return the user's environment with the demo's own caches and git settings, and our commands on PATH."""
    found = {key: value for key, value in os.environ.items() if not key.startswith(("LLM_TRACES_", "GIT_"))}
    (home / "gitconfig").write_text(
        "[user]\n\tname = Demo\n\temail = demo@example.org\n[init]\n\tdefaultBranch = main\n"
        # git-annex refuses loopback addresses by default, and here one stands for the internet.
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


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on loopback while the block runs; yield its URL."""

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
    """Run a command and print its output. Raises BadUse if it fails."""
    print(f"   $ {shown or shlex.join(command)}", flush=True)
    step = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = step.communicate()
    except BaseException:
        os.killpg(step.pid, signal.SIGKILL)  # with all that it started, which would write on
        step.wait()
        raise
    if step.returncode == 0 and not quiet:
        for line in output.splitlines():
            print(f"     {line}")
    if step.returncode:
        raise BadUse(
            "demo",
            f"a command failed with exit code {step.returncode}",
            command=shlex.join(command),
            folder=str(folder),
            output=(output + errors).strip()[-3000:],
            next=f"cd {shlex.quote(str(folder))} && {shlex.join(command)}",
        )


def _git_init(folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, env=environment, check=True)


def _commit(folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(["git", "add", "--all"], cwd=folder, env=environment, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "Samples"], cwd=folder, env=environment, check=True)
