"""Opening workloads in a clone."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import llm_trace_archive as lta
from support.programs import Samples


@pytest.fixture(autouse=True)
def _in_samples(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)


def test_a_workload_opens_with_all_its_columns(samples: Samples) -> None:
    table = lta.open("azure-2023/code").arrow()
    assert table.equals(pq.read_table(samples.root / "data/azure-2023/code.parquet"))


def test_a_trace_opens_as_one_table_of_the_canonical_columns(samples: Samples) -> None:
    opened = lta.open("azure-2023")
    assert isinstance(opened, lta.Requests)
    names = opened.schema.names
    paths = [samples.root / f"data/azure-2023/{name}.parquet" for name in ("code", "conversation")]
    rows = [row for path in paths for row in pq.read_table(path, columns=names).to_pylist()]
    assert opened.arrow().to_pylist() == rows


def test_another_kind_of_table_opens_without_the_methods_of_requests(samples: Samples) -> None:
    opened = lta.open("kavier/utilisation")
    assert not isinstance(opened, lta.Requests)
    assert opened.head(3).num_rows == 3


def test_absent_content_is_one_error_that_names_each_workload(
    tmp_path: Path, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples.clone(tmp_path))
    with pytest.raises(lta.Absent) as caught:
        lta.open("azure-2023", "mooncake/conversation")
    assert caught.value.workloads == ("azure-2023/code", "azure-2023/conversation", "mooncake/conversation")
