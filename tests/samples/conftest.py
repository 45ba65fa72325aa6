"""Look-alikes of every trace, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_trace_archive.demo.lookalikes import sample_traces, write_upstream


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Look-alikes with 6000 rows in the largest table of each trace."""
    made = tmp_path_factory.mktemp("look-alikes")
    for trace in sample_traces():
        write_upstream(trace, made, 6000)
    return made
