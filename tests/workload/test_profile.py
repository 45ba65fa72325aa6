"""The figures of a profile, against the same computed by pandas, and against published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

import llm_trace_archive as lta
from llm_trace_archive.analysis.prefix import hit_ratios
from llm_trace_archive.core.archive import Archive
from llm_trace_archive.lock.build import build
from llm_trace_archive.upstream.sources import Sources
from llm_trace_archive.workload.profile import Profile, to_json
from support.command import run_here
from support.programs import ROOT, Samples

NAMES = ["azure-2023", "azure-2023/code", "burstgpt/1", "ragpulse/requests", "qwen-bailian/chat", "kavier/prefill"]


@pytest.fixture(scope="module")
def profiles(samples: Samples) -> dict[str, Profile]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(samples.root)
        return {name: lta.open(name).profile() for name in NAMES}  # type: ignore[attr-defined]


def frame(samples: Samples, name: str) -> pd.DataFrame:
    paths = [samples.root / f"data/{name}.parquet"]
    if "/" not in name:
        paths = sorted((samples.root / "data" / name).glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", ["input_tokens", "output_tokens", "cached_tokens", "latency_us", "ttft_us"])
def test_a_percentile_is_one_of_the_values(
    name: str, column: str, samples: Samples, profiles: dict[str, Profile]
) -> None:
    values = frame(samples, name)[column].dropna().astype(float)
    found = getattr(profiles[name], column)
    assert (found is None) == values.empty
    if found:
        ranks = np.quantile(values, [0.5, 0.9, 0.95, 0.99], method="inverted_cdf")
        assert [found.p50, found.p90, found.p95, found.p99] == ranks.tolist()
        assert (found.count, found.min, found.max) == (len(values), values.min(), values.max())
        assert found.mean == pytest.approx(values.mean())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "kavier/prefill"])
def test_arrivals_are_measured_within_segments(name: str, samples: Samples, profiles: dict[str, Profile]) -> None:
    runs = [
        np.sort(each.arrival_us.to_numpy())
        for _, each in frame(samples, name).groupby(["workload", "segment"], observed=True)
    ]
    found = profiles[name].arrivals
    assert found
    gaps = np.concatenate([np.diff(run) for run in runs])
    assert found.gap_cv == pytest.approx(gaps.std() / gaps.mean())
    assert found.seconds == pytest.approx(sum(run[-1] - run[0] for run in runs) / 1e6)
    for scale, index in found.dispersion.items():
        counts = np.concatenate([np.bincount((run - run[0]) // (int(scale) * 10**6)) for run in runs])
        assert index == pytest.approx(counts.var() / counts.mean()) if len(counts) > 1 else index is None
    busiest = max(np.unique(run // 60_000_000, return_counts=True)[1].max() for run in runs)
    assert found.busiest_minute.requests == busiest


def test_the_hours_of_the_day_are_means_over_all_hours(samples: Samples, profiles: dict[str, Profile]) -> None:
    rows = frame(samples, "ragpulse/requests")
    means: dict[int, list[int]] = {}
    for _, run in rows.groupby("segment"):
        hours = run.arrival_us // 3_600_000_000
        for hour in range(hours.min(), hours.max() + 1):
            means.setdefault(hour % 24, []).append(int((hours == hour).sum()))
    found = profiles["ragpulse/requests"].arrivals
    assert found and found.hours == pytest.approx([np.mean(means[hour]) for hour in range(24)])
    code = profiles["azure-2023/code"].arrivals
    assert code and code.hours is None


def test_sessions_turns_and_the_times_between_them(samples: Samples, profiles: dict[str, Profile]) -> None:
    rows = frame(samples, "ragpulse/requests")
    turns = rows.groupby("session_id").size()
    found = profiles["ragpulse/requests"].sessions
    assert found
    assert (found.sessions, found.single_turn, found.turns.max) == (len(turns), (turns == 1).sum(), turns.max())
    gaps = rows.sort_values(["arrival_us", "request_id"]).groupby(["segment", "session_id"]).arrival_us.diff().dropna()
    assert found.gap_us and (found.gap_us.count, found.gap_us.max) == (len(gaps), gaps.max())
    assert found.gap_us.mean == pytest.approx(gaps.mean())
    assert found.think_us is None  # no latency is recorded


def test_the_think_time_begins_with_the_end_of_the_answer(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(samples.root)
    requests = lta.open("azure-2023/code")
    talk = requests.derive(
        "SELECT * REPLACE ('one' AS session_id, 1000 AS latency_us) FROM rows LIMIT 3", "one session"
    )
    first, second, third = talk.arrow()["arrival_us"].to_pylist()
    found = talk.profile().sessions  # type: ignore[attr-defined]
    assert found and found.think_us and found.gap_us
    assert (found.think_us.count, found.think_us.mean) == (2, (third - first) / 2 - 1000)
    assert found.gap_us.min == min(second - first, third - second)


def test_failures_are_of_the_requests_that_have_a_record(samples: Samples, profiles: dict[str, Profile]) -> None:
    failed = frame(samples, "burstgpt/1").failed.dropna()
    found = profiles["burstgpt/1"].failures
    assert found and (found.recorded, found.failed) == (len(failed), failed.sum())
    assert profiles["azure-2023/code"].failures is None


def test_a_hit_ratio_is_of_prefixes_and_none_without_ids(samples: Samples, profiles: dict[str, Profile]) -> None:
    import pyarrow.parquet as pq

    ids = pq.read_table(samples.root / "data/qwen-bailian/chat.parquet", columns=["hash_ids"]).column(0)
    expected, found = hit_ratios(ids, [0.1]), profiles["qwen-bailian/chat"].prefix
    assert expected and found
    assert (found.unlimited, found.by_share["0.1"]) == (expected.unlimited, expected.by_share[0.1])
    assert profiles["azure-2023/code"].prefix is None


def test_segments_have_profiles_of_their_own(profiles: dict[str, Profile]) -> None:
    whole = profiles["ragpulse/requests"]
    assert [each.name for each in whole.segments] == ["segment 0", "segment 1"]
    assert sum(each.rows for each in whole.segments) == whole.rows
    assert profiles["azure-2023/code"].segments == ()


def test_without_arrivals_there_is_no_rate(profiles: dict[str, Profile]) -> None:
    found = profiles["kavier/prefill"]
    assert (found.arrivals, found.without_arrival) == (None, found.rows)


def test_the_json_follows_its_schema(profiles: dict[str, Profile]) -> None:
    schema = json.loads((ROOT / "schemas/profile.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(to_json(list(profiles.values()))), schema)


def test_the_command_shows_workloads_side_by_side(samples: Samples, tmp_path: Path) -> None:
    ran = run_here("profile", "azure-2023", "--json", tmp_path / "figures.json", cwd=samples.root)
    assert ran.returncode == 0, ran.stderr
    head, first, *_ = ran.stdout.splitlines()
    assert head.split() == ["azure-2023/code", "azure-2023/conversation"]
    written: list[dict[str, Any]] = json.loads((tmp_path / "figures.json").read_text())["profiles"]
    assert first.split() == ["requests", *(f"{each['rows']:,}" for each in written)]


# -- published figures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with real workloads, built from the mirror."""
    import shutil

    root = tmp_path_factory.mktemp("real")
    for name in ("recipes", "schemas"):
        shutil.copytree(ROOT / name, root / name)
    archive = Archive(root)
    for workload in archive.select(["azure-2023/code", "ragpulse/requests"]):
        build(archive, workload, Sources(cache=root / "cache", mirror=str(mirror), offline=True))
    return root


def test_azure_2023_code_is_as_bursty_as_published(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real)
    found = lta.open("azure-2023/code").profile().arrivals  # type: ignore[attr-defined]
    assert found and round(found.gap_cv, 1) == 13.2
    assert [round(found.dispersion[scale]) for scale in ("1", "10", "60")] == [13, 71, 161]


def test_the_busiest_hour_of_ragpulse_is_of_one_week(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real)
    requests = lta.open("ragpulse")
    assert requests.profile().arrivals.busiest_hour.requests == 107  # type: ignore[attr-defined]
    assert max(requests.rate("1h").arrow()["requests"].to_pylist()) == 107  # type: ignore[attr-defined]
