"""The notebook runs from its first cell to its last, and keeps no outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.programs import ROOT

TOUR = ROOT / "docs/tour.ipynb"


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(TOUR, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    told = {cell["id"]: "".join(map(str, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"}
    every = "\n".join(told.values())
    assert "Traceback" not in every
    assert "1 workload, 0 findings" in every
    assert "image/png" in every
    assert "'unlimited'" in every


def test_the_tour_keeps_no_outputs() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    assert [cell["id"] for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
