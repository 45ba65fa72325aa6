"""--offline, and LLM_TRACES_OFFLINE=1: no command asks a server, and each says what it lacks."""

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


@pytest.mark.parametrize("by_environment", [False, True], ids=["option", "environment"])
@pytest.mark.parametrize("command", ["build", "pin", "get"])
def test_no_server_is_asked(
    published: tuple[Path, servers.Site], tmp_path: Path, command: str, by_environment: bool
) -> None:
    root, site = published
    git("clone", "--quiet", "--single-branch", root, "clone", cwd=tmp_path)
    options, environment = ([], {"LLM_TRACES_OFFLINE": "1"}) if by_environment else (["--offline"], {})
    cache = str(tmp_path / "cache")
    done = run_here(command, "demo", *options, cwd=tmp_path / "clone", LLM_TRACES_CACHE=cache, **environment)
    assert done.returncode == 1 and "not tried: offline" in done.stderr, done.stdout + done.stderr
    assert not site.requests
    mirror = root.parent / "mirror"
    done = run_here(
        command, "demo", "--mirror", mirror, *options, cwd=tmp_path / "clone", LLM_TRACES_CACHE=cache, **environment
    )
    assert done.returncode == 0 and not site.requests, done.stdout + done.stderr


def test_validate_deep_asks_no_server(published: tuple[Path, servers.Site], tmp_path: Path) -> None:
    root, site = published
    done = run_here("validate", "--deep", cwd=root, LLM_TRACES_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not site.requests
