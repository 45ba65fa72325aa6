"""An archive that can be released, checked and bundled once for all tests of a worker. Change only copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llm_trace_archive.core.archive import Archive
from llm_trace_archive.release.bundle import pack
from llm_trace_archive.release.bundle.folder import Bundle
from llm_trace_archive.release.gate import check as gate
from support.releases import Release, releasable


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return releasable(tmp_path_factory.mktemp("releasable"))


@pytest.fixture(scope="session")
def report(original: Release, tmp_path_factory: pytest.TempPathFactory) -> gate.Report:
    return gate.check(original.archive, original.sources(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def bundle(report: gate.Report, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = pack.pack(report, tmp_path_factory.mktemp("out") / "llm-trace-archive")
    assert bundle
    return bundle


@pytest.fixture
def archive_copy(original: Release, tmp_path: Path) -> Release:
    """A copy to change."""
    shutil.copytree(original.root, tmp_path / "archive", symlinks=True)
    return Release(Archive(tmp_path / "archive"), original.mirror)
