"""Serving tools in virtual environments of their own, made when they are first needed and kept.

`LLM_TRACES_TOOLS` is the folder of the environments; `make test-tools` sets it. What can't be installed is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from support.programs import ROOT

FOLDER = os.environ.get("LLM_TRACES_TOOLS")
READERS = ROOT / "tests" / "consumers" / "readers"


@dataclass(frozen=True)
class Tool:
    """What pip is told to install: `alone` without dependencies, and `needs` with theirs."""

    alone: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


TOOLS = {
    "aiperf": Tool(needs=("aiperf==0.13.0",)),
    "kavier": Tool(needs=("kavier==0.5.3",)),
    # Without PyTorch, which takes 5 GB.
    "guidellm": Tool(
        ("guidellm==0.8.1",),
        ("click~=8.4.0", "culsans~=0.10.0", "datasets>=5.0.1", "eval_type_backport", "faker", "ftfy", "httpx[http2]",
         "loguru", "msgpack", "protobuf", "pydantic-settings", "pyyaml", "rich", "sanic", "tabulate", "transformers",
         "more-itertools", "websockets"),
    ),
    # It asks for Python 3.12, which its reader of traces does without.
    "inference_perf": Tool(("inference-perf==0.7.0",), (), ("--ignore-requires-python",)),
    "kvcache": Tool(needs=("kvcache-simulator==0.1.3",)),
    "libcachesim": Tool(needs=("libcachesim==0.3.5",)),
    "vidur": Tool(("vidur==0.0.26",), ("pandas", "scipy", "scikit-learn")),
    "dynamo": Tool(
        ("ai-dynamo==1.6.1", "ai-dynamo-runtime==1.6.1"),
        ("typing_extensions", "msgspec", "transformers", "tqdm", "zstandard"),
    ),
}  # fmt: skip


def read_with(tool: str, *arguments: object) -> dict[str, Any]:
    """Run a tool's own parser, by tests/consumers/readers/<tool>_reader.py, and return what it understood."""
    python, reader = _install(tool), READERS / f"{tool}_reader.py"
    ran = subprocess.run(
        [python, reader, *map(str, arguments)], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"}
    )
    assert ran.returncode == 0, f"{tool}: {ran.stdout[-2000:]}{ran.stderr[-4000:]}"
    answer: dict[str, Any] = json.loads(ran.stdout[ran.stdout.index("{") :])
    return answer


@cache
def _install(name: str) -> Path:
    """Return the Python of a tool's environment; skip the test if it can't be made."""
    if not FOLDER:
        pytest.skip("serving tools: make test-tools")
    tool = TOOLS[name]
    digest = hashlib.sha256(f"{tool}{sys.version}".encode()).hexdigest()[:12]
    home = Path(FOLDER) / f"{name}-{digest}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_suffix(".lock")):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", home], check=True, capture_output=True)
            for packages in ([*tool.options, "--no-deps", *tool.alone] if tool.alone else [], tool.needs):
                pip = [home / "bin/python", "-m", "pip", "install", "--quiet", "--no-cache-dir", *packages]
                if packages and (ran := subprocess.run(pip, capture_output=True, text=True)).returncode:
                    pytest.skip(f"{name} can't be installed: {ran.stderr.strip().splitlines()[-1][:200]}")
            (home / "complete").touch()
    return home / "bin/python"
