"""`release status`: what is at both targets and what differs, by the command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release import status as status_module
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.zenodo import release as zenodo
from support.bundles import summed, tiny_bundle
from support.command import run_here
from support.fake_hub import WRITER, Entry, FakeHub, fake_hub
from support.fake_invenio import Fake, fake_invenio
from support.golden import assert_golden
from support.hub_runs import NAME, client_of, publish


class Everywhere:
    """Two targets, an archive and its bundle; `status` runs the command on them."""

    def __init__(self, hub: FakeHub, fake: Fake, archive: Archive, bundle: Bundle) -> None:
        self.hub, self.fake, self.archive, self.bundle = hub, fake, archive, bundle
        self.record()

    def record(self, **places: str) -> None:
        """Write the lock, with the releases at these places."""
        known = {"version": "1.0.0", "url": "https://example.org/"}
        releases = [{"target": target, "place": place, **known} for target, place in places.items()]
        licences = [{"name": "MIT", "path": "https://spdx.org/licenses/MIT.html"}]
        lock = {"name": "llm-trace-archive", "version": "1.0.0", "licenses": licences, "resources": []}
        lock["releases"] = releases
        (self.archive.root / "datapackage.json").write_text(json.dumps(lock))

    def status(self, *options: str | Path, token: str = WRITER, **more: str) -> subprocess.CompletedProcess[str]:
        with client_of(self.hub, token):
            return run_here("release", "status", *options, "--repo", NAME, cwd=self.archive.root, **more)

    def assert_prints(self, name: str, text: str) -> None:
        """Compare with a golden file, whatever the size of the archive's own schemas."""
        assert_golden(name, text, bytes=sum(each.bytes for each in self.bundle.files))

    def release_to_zenodo(self, publish: bool = True) -> str:
        """Release to Zenodo; return the record's id."""
        return zenodo.release(self.bundle, zenodo.make_client(), publish=publish).place


@pytest.fixture
def everywhere(tmp_path: Path, empty_archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    with fake_hub(tmp_path / "hub") as hub, fake_invenio() as fake:
        monkeypatch.setenv("LLM_TRACES_ZENODO_URL", fake.url)
        monkeypatch.setenv("ZENODO_TOKEN", "token-1")
        monkeypatch.setenv("LLM_TRACES_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(zenodo, "LAG", 0.0)
        monkeypatch.setattr(status_module, "PATIENCE", replace(status_module.PATIENCE, first_pause=0.01))
        yield Everywhere(hub, fake, empty_archive, tiny_bundle(tmp_path / "bundle"))
        assert fake.broken == []


def test_a_version_that_is_nowhere_a_draft_and_everywhere(everywhere: Everywhere, tmp_path: Path) -> None:
    root = everywhere.bundle.root
    ran = everywhere.status(root)
    assert (ran.returncode, ran.stderr) == (0, "")
    everywhere.assert_prints("status/not-released", ran.stdout)

    publish(everywhere.hub, everywhere.bundle)
    record = everywhere.release_to_zenodo(publish=False)
    ran = everywhere.status(root, "--record", record)
    assert (ran.returncode, ran.stderr) == (0, "")
    everywhere.assert_prints("status/draft", ran.stdout)

    assert everywhere.release_to_zenodo() == record
    everywhere.record(zenodo=record, huggingface=NAME)
    report = tmp_path / "status.json"
    for name, options in {"with-bundle": (root, "--download"), "downloaded": ("--download",), "listed": ()}.items():
        ran = everywhere.status(*options, "--json", report)
        assert (ran.returncode, ran.stderr) == (0, "")
        found = json.loads(report.read_text())
        assert (found["version"], found["wrong"]) == ("1.0.0", [])
        assert [(each["state"], each["differences"]) for each in found["targets"]] == [("published", {})] * 2
        everywhere.assert_prints(f"status/everywhere-{name}", ran.stdout)


def test_every_file_that_differs_is_named(everywhere: Everywhere) -> None:
    hub, bundle = everywhere.hub, everywhere.bundle
    publish(hub, bundle)
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    commit = hub.repos[NAME].history()[0]
    commit.tree["README.md"] = hub.keep(b"changed")
    commit.tree["extra.csv"] = hub.keep(b"a,b\n")
    del commit.tree["LICENSE.txt"]
    ran = everywhere.status(bundle.root)
    assert ran.returncode == 1
    everywhere.assert_prints("status/differs-from-bundle", ran.stdout)
    ran = everywhere.status()  # without the bundle the targets are compared with each other
    assert ran.returncode == 1
    everywhere.assert_prints("status/differs-from-each-other", ran.stdout)


def test_a_download_proves_that_the_server_has_what_it_reports(everywhere: Everywhere) -> None:
    hub, bundle = everywhere.hub, everywhere.bundle
    publish(hub, bundle)
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    assert everywhere.status(bundle.root).returncode == 0
    entry: Entry = hub.repos[NAME].history()[0].tree["data/demo/many.parquet"]
    assert entry.sha256
    stored = hub.folder / entry.sha256
    stored.write_bytes(b"x" * entry.size)
    assert everywhere.status(bundle.root).returncode == 0
    for options in ((bundle.root,), ()):
        ran = everywhere.status(*options, "--download")
        assert ran.returncode == 1
        assert "data/demo/many.parquet: different bytes" in ran.stdout


def test_a_missing_version_is_reported(everywhere: Everywhere, tmp_path: Path) -> None:
    publish(everywhere.hub, everywhere.bundle)
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    later = tiny_bundle(tmp_path / "later", "1.1.0")
    ran = everywhere.status(later.root)
    assert ran.returncode == 1
    everywhere.assert_prints("status/only-earlier-version", ran.stdout)
    publish(everywhere.hub, later, "--pr")
    ran = everywhere.status(later.root)
    assert ran.returncode == 1
    assert "pull request" in ran.stdout
    (later.root / "README.md").write_text("---\nlicense: mit\n---\n")
    ran = everywhere.status(summed(later.root).root)
    assert "README.md: different bytes" in ran.stdout


def test_nothing_is_asked_when_offline(everywhere: Everywhere) -> None:
    ran = everywhere.status(LLM_TRACES_OFFLINE="1")
    assert ran.returncode == 2
    assert "LLM_TRACES_OFFLINE: is set" in ran.stderr
    assert not everywhere.hub.requests


def test_one_target_alone_is_enough(everywhere: Everywhere) -> None:
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    root = everywhere.bundle.root
    assert everywhere.status(root).returncode == 1, "the Hub lacks it"
    everywhere.hub.url = "http://127.0.0.1:1"
    for options in ((root,), (), ("--download",)):
        ran = everywhere.status(*options, "--only", "zenodo")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "published" in ran.stdout and "huggingface" not in ran.stdout.partition("\n")[2]
    ran = everywhere.status(root, "--only", "figshare")
    assert (ran.returncode, ran.stderr) == (2, "figshare: no such target\n  there are  huggingface, zenodo\n")


@pytest.mark.parametrize(
    ("name", "settings"),
    {
        "hub-unreachable": {"url": "http://127.0.0.1:1"},
        "hub-wrong-token": {"token": "hf_nobody"},
        "zenodo-unreachable": {"LLM_TRACES_ZENODO_URL": "http://127.0.0.1:1"},
    }.items(),
)
def test_an_unreachable_target_is_reported(name: str, settings: dict[str, str], everywhere: Everywhere) -> None:
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    everywhere.hub.url = settings.get("url", everywhere.hub.url)
    ran = everywhere.status(everywhere.bundle.root, **{key: settings[key] for key in settings if key != "url"})
    assert (ran.returncode, ran.stderr) == (2, "")
    everywhere.assert_prints(f"status/{name}", ran.stdout)


def test_a_private_repo_is_reported_but_not_downloaded(everywhere: Everywhere) -> None:
    publish(everywhere.hub, everywhere.bundle, "--private")
    everywhere.record(zenodo=everywhere.release_to_zenodo())
    ran = everywhere.status(everywhere.bundle.root)
    assert ran.returncode == 0
    assert f"private, {NAME}" in ran.stdout
    ran = everywhere.status(everywhere.bundle.root, "--download")
    assert ran.returncode == 2
    assert "a private version can't be downloaded" in ran.stdout
    ran = everywhere.status(everywhere.bundle.root, token="")
    assert ran.returncode == 1
    assert "huggingface: 1.0.0 is missing" in ran.stdout
