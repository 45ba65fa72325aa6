"""Fixtures of the tests of reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.programs import Samples
from support.reports import write_report


@pytest.fixture(scope="session")
def report(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of some look-alikes; don't change it."""
    return write_report(samples, tmp_path_factory.mktemp("report"))
