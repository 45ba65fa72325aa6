"""--offline, and LLM_TRACES_OFFLINE=1: no command asks a server, and each reports what is not available."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import servers
from support.command import run_here
from support.programs import git
from support.small_archive import publish


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, servers.Site]]:
    home = tmp_path_factory.mktemp("offline")
    with servers.site() as site:
        archive, files = publish(home, site.url, {"few": ("few.csv", 50)})
        for name, content in files.items():
            site.scripts[f"/{name}"] = servers.plain(content)
        yield archive.root, site


@pytest.mark.parametrize("command", ["build", "pin", "get"])
def test_no_server_is_asked(published: tuple[Path, servers.Site], tmp_path: Path, command: str) -> None:
    root, site = published
    git("clone", "--quiet", "--single-branch", root, "clone", cwd=tmp_path)
    mirror = ["--mirror", str(root.parent / "mirror")]
    for sources, code in ([], 1), (mirror, 0):
        for options, environment in (["--offline"], {}), ([], {"LLM_TRACES_OFFLINE": "1"}):
            environment["LLM_TRACES_CACHE"] = str(tmp_path / "cache")
            done = run_here(command, "demo", *sources, *options, cwd=tmp_path / "clone", **environment)
            assert done.returncode == code, done.stdout + done.stderr
            assert ("not tried: offline" in done.stderr) == (code == 1)
    assert not site.requests


def test_validate_deep_asks_no_server(published: tuple[Path, servers.Site], tmp_path: Path) -> None:
    root, site = published
    done = run_here("validate", "--deep", cwd=root, LLM_TRACES_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not site.requests
