"""`release status`: what is at both targets and what differs, asked through the command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.zenodo import release as zenodo
from support.bundles import summed, tiny_bundle
from support.fake_hub import Entry, FakeHub, fake_hub
from support.fake_invenio import Fake, fake_invenio
from support.golden import assert_golden
from support.hub_runs import NAME, environment, released
from support.programs import BIN


class Everywhere:
    """Two targets, an archive and its bundle; `status` runs the command on them."""

    def __init__(self, hub: FakeHub, fake: Fake, archive: Archive, bundle: Bundle) -> None:
        self.hub, self.fake, self.archive, self.bundle = hub, fake, archive, bundle
        self.settings = {"LLM_TRACES_ZENODO_URL": fake.url, "ZENODO_TOKEN": "token-1"}
        self.record()

    def record(self, **places: str) -> None:
        """Write the lock, with what was released."""
        releases = [{"target": target, "version": "1.0.0", "place": place} for target, place in places.items()]
        lock = {"name": "llm-trace-archive", "version": "1.0.0", "resources": [], "releases": releases}
        (self.archive.root / "datapackage.json").write_text(json.dumps(lock))

    def status(self, *options: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "llm-traces", "release", "status", *options, "--repo", NAME],
            cwd=self.archive.root,
            env=environment(self.hub, **self.settings) | more,
            capture_output=True,
            text=True,
        )

    def zenodo(self, publish: bool = True) -> str:
        """Release to Zenodo; the record's id."""
        return zenodo.release(self.bundle, zenodo.server(), publish=publish).place


@pytest.fixture
def everywhere(tmp_path: Path, empty_archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    with fake_hub(tmp_path / "hub") as hub, fake_invenio() as fake:
        made = Everywhere(hub, fake, empty_archive, tiny_bundle(tmp_path / "bundle"))
        for name, value in (made.settings | {"LLM_TRACES_CACHE": str(tmp_path / "cache")}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(zenodo, "LAG", 0.0)
        yield made
        assert fake.broken == []


def test_nothing_is_released_and_then_it_is_everywhere(everywhere: Everywhere, tmp_path: Path) -> None:
    root = everywhere.bundle.root
    done = everywhere.status(root)
    assert (done.returncode, done.stderr) == (0, "")
    assert_golden("status/nothing", done.stdout)

    released(everywhere.hub, everywhere.bundle)
    record = everywhere.zenodo(publish=False)
    done = everywhere.status(root, "--record", record)
    assert (done.returncode, done.stderr) == (0, "")
    assert_golden("status/draft", done.stdout)

    assert everywhere.zenodo() == record
    everywhere.record(zenodo=record, huggingface=NAME)
    report = tmp_path / "status.json"
    for name, options in {"with-bundle": (root, "--download"), "downloaded": ("--download",), "told": ()}.items():
        done = everywhere.status(*options, "--json", report)
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(report.read_text())
        assert (found["version"], found["wrong"]) == ("1.0.0", [])
        assert [(each["state"], each["differences"]) for each in found["targets"]] == [("published", {})] * 2
        assert_golden(f"status/everywhere-{name}", done.stdout)


def test_each_file_that_differs_is_named(everywhere: Everywhere) -> None:
    hub, bundle = everywhere.hub, everywhere.bundle
    released(hub, bundle)
    everywhere.record(zenodo=everywhere.zenodo())
    commit = hub.repos[NAME].history()[0]
    commit.tree["README.md"] = hub.keep(b"changed")
    commit.tree["extra.csv"] = hub.keep(b"a,b\n")
    del commit.tree["LICENSE.txt"]
    done = everywhere.status(bundle.root)
    assert done.returncode == 1
    assert_golden("status/differs", done.stdout)
    done = everywhere.status()  # without the bundle the targets are compared with each other
    assert done.returncode == 1
    assert_golden("status/differs-from-each-other", done.stdout)


def test_what_a_server_tells_is_not_all_that_is_compared(everywhere: Everywhere) -> None:
    hub, bundle = everywhere.hub, everywhere.bundle
    released(hub, bundle)
    everywhere.record(zenodo=everywhere.zenodo())
    assert everywhere.status(bundle.root).returncode == 0
    entry: Entry = hub.repos[NAME].history()[0].tree["data/demo/many.parquet"]
    assert entry.sha256
    stored = hub.folder / entry.sha256
    stored.write_bytes(b"x" * entry.size)
    assert everywhere.status(bundle.root).returncode == 0
    for options in ((bundle.root,), ()):
        done = everywhere.status(*options, "--download")
        assert done.returncode == 1
        assert "data/demo/many.parquet: other bytes" in done.stdout


def test_versions_that_are_missing_are_told(everywhere: Everywhere, tmp_path: Path) -> None:
    released(everywhere.hub, everywhere.bundle)
    everywhere.record(zenodo=everywhere.zenodo())
    later = tiny_bundle(tmp_path / "later", "1.1.0")
    done = everywhere.status(later.root)
    assert done.returncode == 1
    assert_golden("status/older-only", done.stdout)
    released(everywhere.hub, later, "--pr")
    done = everywhere.status(later.root)
    assert done.returncode == 1
    assert "pull request" in done.stdout
    (later.root / "README.md").write_text("---\nlicense: mit\n---\n")
    done = everywhere.status(summed(later.root).root)
    assert "README.md: other bytes" in done.stdout


@pytest.mark.parametrize(
    ("name", "settings"),
    {
        "hub-unreachable": {"HF_ENDPOINT": "http://127.0.0.1:1"},
        "hub-wrong-token": {"HF_TOKEN": "hf_nobody"},
        "zenodo-unreachable": {"LLM_TRACES_ZENODO_URL": "http://127.0.0.1:1"},
    }.items(),
)
def test_a_target_that_cannot_be_asked_is_told(name: str, settings: dict[str, str], everywhere: Everywhere) -> None:
    everywhere.record(zenodo=everywhere.zenodo())
    done = everywhere.status(everywhere.bundle.root, **settings)
    assert (done.returncode, done.stderr) == (2, "")
    assert_golden(f"status/{name}", done.stdout)


def test_a_private_repo_is_told_and_not_downloaded(everywhere: Everywhere) -> None:
    released(everywhere.hub, everywhere.bundle, "--private")
    everywhere.record(zenodo=everywhere.zenodo())
    done = everywhere.status(everywhere.bundle.root)
    assert done.returncode == 0
    assert f"private, {NAME}" in done.stdout
    done = everywhere.status(everywhere.bundle.root, "--download")
    assert done.returncode == 2
    assert "not downloaded: it is a private" in done.stdout
    done = everywhere.status(everywhere.bundle.root, HF_TOKEN="", HOME=os.environ["HOME"])
    assert done.returncode == 1
    assert "huggingface: 1.0.0 is not there" in done.stdout
