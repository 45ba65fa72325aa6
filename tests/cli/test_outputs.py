"""Where users point outputs: at devices, links, folders, places that can't be written; and at a bundle, which stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llm_trace_archive.core.errors import BadUse
from llm_trace_archive.core.files import write_output
from support.programs import git, llm_traces
from support.small_archive import publish


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TRACES_CACHE", str(home / "cache"))
        publish(home, "http://127.0.0.1:9", {"few": ("few.csv", 3)})
    return home


def test_a_file_is_replaced_at_once_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_output(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real.json").read_text() == "new"
    write_output(tmp_path / "fresh.json", "new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["fresh.json", "link.json", "real.json"]


def test_a_device_is_written_to_and_stays(home: Path) -> None:
    done = llm_traces("validate", "demo/few", "--json", "/dev/stdout", cwd=home / "published")
    assert json.loads(done.stdout[done.stdout.index("\n{") :].rpartition("}")[0] + "}")["findings"] == 0, done.stderr
    assert llm_traces("validate", "demo/few", "--json", "/dev/null", cwd=home / "published").returncode == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("option", ["--json", "--junit"])
@pytest.mark.parametrize("place", ["/dev/full", "/proc/x.json", "."])
def test_what_can_not_be_written_is_told(home: Path, option: str, place: str) -> None:
    refused = llm_traces("validate", "demo/few", option, place, cwd=home / "published")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "can't be written: " in refused.stderr and "Traceback" not in refused.stderr


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(BadUse, match="can't be written: Is a directory"):
        write_output(tmp_path, "new")


@pytest.mark.parametrize("arguments", [("/proc/x", "--mirror", "y"), ("x", "--mirror", "/proc/y")])
def test_samples_that_can_not_be_written(home: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = llm_traces("--archive", home / "published", "samples", *arguments, cwd=tmp_path)
    assert refused.returncode == 2 and "can't be written: " in refused.stderr


@pytest.mark.parametrize("command", [["huggingface", "."], ["zenodo", "."], ["status"]])
def test_offline_no_target_is_asked(home: Path, command: list[str]) -> None:
    refused = llm_traces("release", *command, cwd=home / "published", LLM_TRACES_OFFLINE="1")
    assert refused.returncode == 2 and refused.stderr.startswith("LLM_TRACES_OFFLINE: is set")


def test_a_bundle_is_not_described_anew(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "published", tmp_path / "bundle", ignore=shutil.ignore_patterns(".git"), symlinks=False,
                    ignore_dangling_symlinks=True)  # fmt: skip
    (tmp_path / "bundle/SHA256SUMS").write_text("")
    refused = llm_traces("describe", cwd=tmp_path / "bundle")
    assert refused.returncode == 2 and "a released bundle, which must not change" in refused.stderr


def test_deep_rebuilds_without_the_upstream_and_finds_a_wrong_one(home: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", str(home / "published"), "clone", cwd=tmp_path)
    right = {"LLM_TRACES_CACHE": str(tmp_path / "cache"), "cwd": tmp_path / "clone"}
    llm_traces("get", "demo/few", "--mirror", home / "mirror", check=True, **right)
    without = llm_traces("validate", "--deep", "demo/few", **right)
    assert without.returncode == 0 and "rebuilt from" in without.stdout
    (tmp_path / "wrong/demo").mkdir(parents=True)
    (tmp_path / "wrong/demo/few.csv").write_text("<html>")
    wrong = llm_traces("validate", "--deep", "demo/few", "--mirror", tmp_path / "wrong", **right)
    assert wrong.returncode == 1 and "the local upstream: expected as pinned" in wrong.stdout
    whole = llm_traces("validate", "--deep", "demo/few", "--mirror", home / "mirror", **right)
    assert whole.returncode == 0 and "not checked" not in whole.stdout and "rebuilt from" in whole.stdout
